//! From prompts to texts: chat template, tokenizer, decoder, sampler, in one object.

mod advance;
mod generation;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use gllm_core::{Architecture, GenerationResponse, InferenceError, InvalidConfig, Result};
use gllm_quant::WeightFiles;

use crate::chat_template::{ChatOptions, ChatTemplate};
use crate::load::decoder;
use crate::prefix_cache::PrefixCache;
use crate::text::{StopStrings, TextStream, TokenBytes, Tokenizer};
use crate::text_sequence::{Chooser, Ends, TextSequence};
use crate::{
    CacheType, Constraint, GenerateOptions, GenerationDefaults, GeneratorModel, KvCache, Prompt, Sampler,
    SamplingOptions, Target, TextFormat, TokenVocabulary,
};

pub use generation::Generation;

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
    /// As [`GenerationEngine::begin`].
    pub fn start(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<Generation<'_>> {
        Ok(Generation::new(self, self.begin(prompt, options)?))
    }

    /// Begins a text that [`GenerationEngine::advance`] writes, alone or beside others; at its end it goes to
    /// [`GenerationEngine::keep`]. What an earlier text has read of the same prompt isn't read again.
    ///
    /// # Errors
    /// [`InvalidConfig`] for an option that is out of range or a prompt that has no text, [`InferenceError`] for one
    /// that is too long, or that the chat template refuses.
    pub fn begin(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<TextSequence> {
        let started = Instant::now();
        let sampling = options.sampling.clone().or(&self.defaults);
        options.check()?;
        let vocab = self.model.config().vocab_size;
        sampling.check(vocab)?;
        let strings = StopStrings::new(options.stop.iter().cloned())?;
        let constraint = options.format.as_ref().map(|format| self.constraint(format)).transpose()?;
        let tokens = self.tokens(prompt, options)?;
        // Here, where it is this text's alone; in a step it would be that of all.
        if let Some(&id) = tokens.iter().find(|id| **id as usize >= vocab) {
            return Err(InferenceError::TokenOutOfRange { index: 0, id, vocab }.into());
        }
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
        let cache = cache.unwrap_or_else(|| self.new_cache());
        let chooser = Chooser { sampler: Sampler::new(&sampling, &tokens), constraint };
        Ok(TextSequence::new(tokens, cache, chooser, stream, bytes, ends, started))
    }

    /// Keeps what `text` has read for the next one that begins in the same way. Not for a text of which a step failed.
    pub fn keep(&self, text: &TextSequence) {
        self.prefixes().give(text.cache().clone());
    }

    /// Gives back the memory of what `text` has read, which is read again before the text goes on as it was. The text may
    /// be of another engine of the same model.
    pub fn set_back(&self, text: &mut TextSequence) {
        text.read_again(self.new_cache());
    }

    /// Forgets what was kept of finished texts, and gives back its memory.
    pub fn forget(&self) {
        *self.prefixes() = PrefixCache::default();
    }

    fn new_cache(&self) -> KvCache {
        self.model.cache_of(self.cache_type, self.max_length())
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
}
