//! From prompts to texts: chat template, tokenizer, decoder, sampler, in one object.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use burn::tensor::Tensor;
use gllm_core::{Architecture, GenerationResponse, InferenceError, InvalidConfig, Result};
use gllm_quant::WeightFiles;

use crate::chat_template::{ChatOptions, ChatTemplate};
use crate::device::to_host;
use crate::load::decoder;
use crate::prefix_cache::PrefixCache;
use crate::text::{StopStrings, TextStream, TokenBytes, Tokenizer};
use crate::text_sequence::{Chooser, Ends, TextSequence};
use crate::{
    CacheType, Constraint, GenerateOptions, GenerationDefaults, GeneratorModel, Prompt, Sampler, SamplingOptions, Step,
    Target, TextFormat, TokenVocabulary,
};

/// Most tokens that are read at once, which bounds the memory; results don't depend on it on the CPU.
const READ_TOKENS: usize = 256;

/// A loaded model that writes texts.
#[derive(Debug)]
pub struct GenerationEngine {
    model: GeneratorModel,
    tokenizer: Tokenizer,
    bytes: Arc<TokenBytes>,
    template: Option<ChatTemplate>,
    defaults: SamplingOptions,
    ends: Arc<BTreeSet<u32>>,
    /// Made for the first text that has to keep to a form.
    vocabulary: OnceLock<Arc<TokenVocabulary>>,
    prefixes: Mutex<PrefixCache>,
    cache_type: CacheType,
}

/// A text that is being written: an iterator over its pieces, each of whole characters.
///
/// Nothing is computed but by [`Iterator::next`], which reads a part of the prompt or writes a token; dropping it ends
/// the text. A piece is empty where nothing can be shown yet: of a prompt that is still being read, or of a character
/// or stop string that isn't whole.
#[derive(Debug)]
pub struct Generation<'a> {
    engine: &'a GenerationEngine,
    sequence: TextSequence,
    has_failed: bool,
}

impl GenerationEngine {
    /// Loads the model at `path`, a folder or a GGUF file, onto a device, which alone means in `f32`.
    ///
    /// # Errors
    /// [`gllm_core::LoadError`] that names the file and what is wrong with it.
    pub fn load(path: &Path, target: impl Into<Target>) -> Result<Self> {
        let files = WeightFiles::open(path)?;
        let family = decoder::read(&files)?;
        let tokenizer = Tokenizer::of(&files)?;
        let bytes = Arc::new(tokenizer.token_bytes()?);
        let template = ChatTemplate::of(&files)?;
        let GenerationDefaults { sampling, eos } = GenerationDefaults::of(&files, &tokenizer)?;
        Ok(Self {
            model: GeneratorModel::read(&files, family, &target.into())?,
            tokenizer,
            bytes,
            template,
            defaults: sampling,
            ends: Arc::new(eos),
            vocabulary: OnceLock::new(),
            prefixes: Mutex::default(),
            cache_type: CacheType::default(),
        })
    }

    /// The same, which keeps what it reads as `cache_type` says.
    #[must_use]
    pub fn with_cache_type(self, cache_type: CacheType) -> Self {
        Self { cache_type, prefixes: Mutex::default(), ..self }
    }

    /// The network, as the model's `config.json` names it.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        self.model.architecture()
    }

    /// The most tokens that prompt and answer may have together.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.model.config().max_length
    }

    /// Whether the model comes with a chat template.
    #[must_use]
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The prompt that the model's chat template makes of a conversation.
    ///
    /// # Errors
    /// [`InferenceError::ChatTemplate`] if there is no template, or it refuses the conversation.
    pub fn render(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<String> {
        match prompt {
            Prompt::Raw(text) => Ok(text.clone()),
            Prompt::Chat(messages) => {
                let missing = "the model has none; give it a raw prompt instead";
                let template = self.template.as_ref();
                let template = template.ok_or_else(|| InferenceError::ChatTemplate { reason: missing.into() })?;
                let options = ChatOptions { add_generation_prompt: true, variables: options.template.clone() };
                template.render(messages, &options)
            }
        }
    }

    /// The tokens of a prompt.
    ///
    /// # Errors
    /// As [`GenerationEngine::render`]; [`InvalidConfig`] for a prompt without text.
    pub fn tokens(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<Vec<u32>> {
        let says_something = |text: &str| -> Result<bool> {
            Ok(self.tokenizer.ids(text, false)?.iter().any(|id| !self.bytes.is_special(*id)))
        };
        let has_text = match prompt {
            Prompt::Raw(text) => says_something(text)?,
            Prompt::Chat(messages) => match messages.last() {
                Some(message) => says_something(&message.content)?,
                None => false,
            },
        };
        if !has_text {
            let found = "none: there is nothing in it, or only special tokens";
            return Err(InvalidConfig::new("prompt", "some text", found).into());
        }
        let text = self.render(prompt, options)?;
        // A template writes the special tokens itself.
        self.tokenizer.ids(&text, matches!(prompt, Prompt::Raw(_)))
    }

    /// Writes a text.
    ///
    /// # Errors
    /// As [`GenerationEngine::start`]; [`InferenceError`] if the computation fails.
    pub fn generate(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<GenerationResponse> {
        let mut generation = self.start(prompt, options)?;
        for piece in generation.by_ref() {
            piece?;
        }
        Ok(generation.response())
    }

    /// Begins a text, of which the iterator that is returned gives the pieces.
    ///
    /// # Errors
    /// [`InvalidConfig`] for an option that is out of range, [`InferenceError`] for a prompt that has no text, or is too
    /// long, or that the chat template refuses.
    pub fn start(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<Generation<'_>> {
        let started = Instant::now();
        let sampling = options.sampling.clone().or(&self.defaults);
        options.check()?;
        sampling.check(self.model.config().vocab_size)?;
        let strings = StopStrings::new(options.stop.iter().cloned())?;
        let constraint = options.format.as_ref().map(|format| self.constraint(format)).transpose()?;
        let tokens = self.tokens(prompt, options)?;
        let room = self.max_length().saturating_sub(tokens.len());
        if room == 0 {
            return Err(InferenceError::ContextFull { tokens: tokens.len(), limit: self.max_length() }.into());
        }
        let max_new_tokens = options.max_new_tokens.map_or(room, |most| most.min(room));
        let ends = Ends { max_new_tokens, tokens: Arc::clone(&self.ends), strings };
        let bytes = Arc::clone(&self.bytes);
        // A form counts white space at the start, which an answer in a conversation doesn't show.
        let stream = match prompt {
            Prompt::Chat(_) if constraint.is_none() => TextStream::new(Arc::clone(&bytes)),
            _ => TextStream::continuing(Arc::clone(&bytes)),
        };
        let cache = self.prefixes().take(&tokens);
        let cache = cache.unwrap_or_else(|| self.model.cache_of(self.cache_type, self.max_length()));
        let chooser = Chooser { sampler: Sampler::new(&sampling, &tokens), constraint };
        let sequence = TextSequence::new(tokens, cache, chooser, stream, bytes, ends, started);
        Ok(Generation { engine: self, sequence, has_failed: false })
    }

    fn constraint(&self, format: &TextFormat) -> std::result::Result<Constraint, InvalidConfig> {
        let vocabulary = if let Some(vocabulary) = self.vocabulary.get() {
            vocabulary
        } else {
            let made = Arc::new(TokenVocabulary::new(&self.bytes, &self.ends)?);
            self.vocabulary.get_or_init(|| made)
        };
        match format {
            TextFormat::JsonSchema(schema) => Constraint::json_schema(schema, vocabulary),
            TextFormat::Regex(pattern) => Constraint::regex(pattern, vocabulary),
        }
    }

    fn prefixes(&self) -> std::sync::MutexGuard<'_, PrefixCache> {
        // What it keeps is whole even if a thread panicked with it.
        self.prefixes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads up to [`READ_TOKENS`] tokens of each sequence, and chooses the next token of those that are read.
    pub(crate) fn advance(&self, sequences: &mut [&mut TextSequence]) -> Result<()> {
        let wanted: Vec<_> = sequences.iter_mut().map(|sequence| sequence.next_tokens(READ_TOKENS)).collect();
        let (tokens, caches): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
        let mut steps: Vec<_> = tokens.iter().zip(caches).map(|(tokens, cache)| Step { tokens, cache }).collect();
        let hidden = self.model.forward(&mut steps)?;
        let width = hidden.dims()[1];
        let mut end = 0;
        let mut last = Vec::new();
        for (sequence, tokens) in sequences.iter().zip(&tokens) {
            end += tokens.len();
            if sequence.wants_logits() {
                last.push(hidden.clone().slice([end - 1..end, 0..width]));
            }
        }
        if last.is_empty() {
            return Ok(());
        }
        drop(hidden);
        let rows = if last.len() == 1 { last.swap_remove(0) } else { Tensor::cat(last, 0) };
        let mut logits = to_host(self.model.logits(rows))?;
        let wanting = sequences.iter_mut().filter(|sequence| sequence.wants_logits());
        for (sequence, logits) in wanting.zip(logits.chunks_exact_mut(self.model.config().vocab_size)) {
            sequence.accept(logits)?;
        }
        Ok(())
    }
}

impl Generation<'_> {
    /// What there is of the text so far; all of it, once the iterator is at its end.
    #[must_use]
    pub fn response(&self) -> GenerationResponse {
        self.sequence.response()
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let sequence = &mut self.sequence;
        if self.has_failed || sequence.finish_reason().is_some() {
            return None;
        }
        let advanced = self.engine.advance(&mut [sequence]);
        self.has_failed = advanced.is_err();
        Some(advanced.map(|()| sequence.take_piece()))
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        // After an error, it isn't certain which tokens the cache has whole.
        if !self.has_failed {
            self.engine.prefixes().give(self.sequence.cache.clone());
        }
    }
}
