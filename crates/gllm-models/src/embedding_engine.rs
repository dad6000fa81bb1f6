//! From texts to embeddings: tokenizer, batches, encoder, pooling, in one object.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, TensorReadError};
use gllm_core::{
    Architecture, Embedding, EmbeddingResponse, InferenceError, InvalidConfig, Result, Truncated, Truncation, Usage,
};
use gllm_quant::WeightFiles;
use serde::Deserialize;

use crate::config::{BertConfig, read_architecture, read_json};
use crate::text::{Tokenizer, Tokens, plan_batches};
use crate::{BertEncoder, SentencePipeline, Weights};

/// A loaded embedding model.
#[derive(Debug)]
pub struct EmbeddingEngine {
    architecture: Architecture,
    tokenizer: Tokenizer,
    encoder: BertEncoder,
    pipeline: SentencePipeline,
    prompts: BTreeMap<String, String>,
    default_prompt: Option<String>,
    max_length: usize,
    vocab_size: usize,
    type_vocab_size: usize,
}

/// What a request may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedOptions {
    /// Longest input in tokens, special tokens included; at most, and by default, the model's limit.
    pub max_length: Option<usize>,
    /// What happens to a longer text.
    pub truncation: Truncation,
    /// Keep this many leading dimensions and scale the vector to length 1 again: for models trained so
    /// (Matryoshka, <https://arxiv.org/abs/2205.13147>).
    pub dimensions: Option<usize>,
    /// Put the model's prompt of this name before each text; by default, the one the model itself names.
    pub prompt_name: Option<String>,
    /// Most tokens computed at once, which bounds the memory; results don't depend on it.
    pub batch_tokens: usize,
}

impl EmbedOptions {
    /// Large enough to keep every core busy, small enough for activations to stay in cache.
    pub const DEFAULT_BATCH_TOKENS: usize = 4096;
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self {
            max_length: None,
            truncation: Truncation::default(),
            dimensions: None,
            prompt_name: None,
            batch_tokens: Self::DEFAULT_BATCH_TOKENS,
        }
    }
}

/// `config_sentence_transformers.json`.
#[derive(Default, Deserialize)]
struct SentenceConfig {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    #[serde(default)]
    default_prompt_name: Option<String>,
}

impl EmbeddingEngine {
    /// Loads the model in `folder` onto `device`.
    ///
    /// # Errors
    /// [`gllm_core::LoadError`] that names the file and what is wrong with it.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        // The only architecture so far; others are refused by name.
        let architecture = read_architecture(folder)?;
        let config = BertConfig::load(folder)?;
        let tokenizer = Tokenizer::load(folder)?;
        let files = WeightFiles::open(folder)?;
        let encoder = Weights::read(&files, device, |weights| BertEncoder::load(&config, weights, device))?;
        let pipeline = SentencePipeline::load(folder, config.hidden_size, device)?;
        let sentence: SentenceConfig =
            read_json(&folder.join("config_sentence_transformers.json"))?.unwrap_or_default();
        let positions = config.max_position_embeddings;
        Ok(Self {
            architecture,
            max_length: tokenizer.max_length().map_or(positions, |limit| limit.min(positions)),
            tokenizer,
            encoder,
            pipeline,
            prompts: sentence.prompts,
            default_prompt: sentence.default_prompt_name,
            vocab_size: config.vocab_size,
            type_vocab_size: config.type_vocab_size,
        })
    }

    /// The network, as the model's `config.json` names it.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Length of an embedding.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.pipeline.dimensions()
    }

    /// Longest input in tokens, special tokens included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The model's prompts, by name.
    #[must_use]
    pub fn prompts(&self) -> &BTreeMap<String, String> {
        &self.prompts
    }

    /// One vector for each text, in the order of `texts`.
    ///
    /// # Errors
    /// [`InvalidConfig`] for no texts or an option that the model can't meet; [`InferenceError`] for a text that
    /// can't be tokenized, or is too long where that is an error.
    pub fn embed<T: AsRef<str> + Sync>(&self, texts: &[T], options: &EmbedOptions) -> Result<EmbeddingResponse> {
        let max_length = self.check(texts.len(), options)?;
        let prompt = self.prompt(options.prompt_name.as_deref())?;
        let (tokens, prompt_tokens) = match prompt {
            Some(prompt) if !prompt.is_empty() => {
                let prompted: Vec<String> = texts.iter().map(|text| format!("{prompt}{}", text.as_ref())).collect();
                let tokens = self.tokenizer.encode(&prompted, max_length, options.truncation)?;
                (tokens, self.prompt_length(prompt, max_length)?)
            }
            _ => (self.tokenizer.encode(texts, max_length, options.truncation)?, 0),
        };
        self.check_ids(&tokens)?;

        let lengths: Vec<usize> = tokens.iter().map(|tokens| tokens.ids.len()).collect();
        let mut vectors = vec![Vec::new(); texts.len()];
        for places in plan_batches(&lengths, options.batch_tokens) {
            let batch: Vec<&Tokens> = places.iter().map(|&place| &tokens[place]).collect();
            for (place, vector) in places.into_iter().zip(self.forward(&batch, prompt_tokens)?) {
                vectors[place] = match options.dimensions {
                    Some(kept) => cut(vector, kept),
                    None => vector,
                };
            }
        }

        let truncated: Vec<Truncated> = (tokens.iter().enumerate())
            .filter(|(_, tokens)| tokens.total > tokens.ids.len())
            .map(|(index, tokens)| Truncated { index, tokens: tokens.total, kept: tokens.ids.len() })
            .collect();
        if !truncated.is_empty() {
            tracing::warn!(texts = truncated.len(), max_length, "texts were longer than the model reads and were cut");
        }
        let prompt_tokens = lengths.iter().sum();
        Ok(EmbeddingResponse {
            embeddings: vectors
                .into_iter()
                .enumerate()
                .map(|(index, embedding)| Embedding { index, embedding })
                .collect(),
            usage: Usage { prompt_tokens, total_tokens: prompt_tokens },
            truncated,
        })
    }

    /// The limit in force, if the options are such that the model can meet them.
    fn check(&self, texts: usize, options: &EmbedOptions) -> Result<usize> {
        if texts == 0 {
            return Err(InvalidConfig::new("input", "at least one text", "none").into());
        }
        if options.batch_tokens == 0 {
            return Err(InvalidConfig::new("batch_tokens", "at least 1", "0").into());
        }
        let size = self.dimensions();
        if let Some(kept) = options.dimensions.filter(|kept| !(1..=size).contains(kept)) {
            let expected = format!("1 to {size}, the size of this model's embeddings");
            return Err(InvalidConfig::new("dimensions", expected, kept.to_string()).into());
        }
        let shortest = self.tokenizer.added_tokens() + 1;
        let limit = options.max_length.unwrap_or(self.max_length);
        if !(shortest..=self.max_length).contains(&limit) {
            let expected = format!("{shortest} to {}, the most tokens that this model reads", self.max_length);
            return Err(InvalidConfig::new("max_length", expected, limit.to_string()).into());
        }
        Ok(limit)
    }

    fn prompt(&self, name: Option<&str>) -> Result<Option<&str>> {
        let Some(name) = name.or(self.default_prompt.as_deref()) else { return Ok(None) };
        if let Some(prompt) = self.prompts.get(name) {
            return Ok(Some(prompt));
        }
        let names = self.prompts.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let expected = if names.is_empty() { "none: this model has no prompts".into() } else { names };
        Err(InvalidConfig::new("prompt_name", expected, format!("`{name}`")).into())
    }

    /// Tokens that a prompt takes at the start of a sequence, leading special tokens included.
    fn prompt_length(&self, prompt: &str, max_length: usize) -> Result<usize> {
        let encode = |text| self.tokenizer.encode(&[text], max_length, Truncation::Cut);
        let ids = |tokens: Vec<Tokens>| tokens.into_iter().next().unwrap_or_default().ids;
        let (prompt, empty) = (ids(encode(prompt)?), ids(encode("")?));
        let ends_special = prompt.last().is_some_and(|last| empty.last() == Some(last));
        Ok(prompt.len() - usize::from(ends_special))
    }

    fn check_ids(&self, tokens: &[Tokens]) -> Result<()> {
        for (index, tokens) in tokens.iter().enumerate() {
            if let Some(&id) = tokens.ids.iter().find(|&&id| id as usize >= self.vocab_size) {
                return Err(InferenceError::TokenOutOfRange { index, id, vocab: self.vocab_size }.into());
            }
            if let Some(id) = tokens.type_ids.iter().find(|&&id| id as usize >= self.type_vocab_size) {
                let reason = format!("segment {id}, but the model knows {}", self.type_vocab_size);
                return Err(InferenceError::Tokenize { index, reason }.into());
            }
            if tokens.ids.is_empty() {
                let reason = "it has no tokens, and the tokenizer adds none".into();
                return Err(InferenceError::Tokenize { index, reason }.into());
            }
        }
        Ok(())
    }

    /// One vector for each sequence of the batch.
    fn forward(&self, batch: &[&Tokens], prompt_tokens: usize) -> Result<Vec<Vec<f32>>> {
        let (hidden, sequences) = self.encoder.forward(batch);
        let pooled = self.pipeline.forward(&hidden, &sequences, prompt_tokens);
        let failed = |e: TensorReadError| InferenceError::Device { reason: e.to_string() };
        let values = pooled.try_into_vec_as::<f32>().map_err(failed)?;
        Ok(values.chunks_exact(self.dimensions()).map(<[f32]>::to_vec).collect())
    }
}

/// The first `kept` dimensions, scaled to length 1.
fn cut(mut vector: Vec<f32>, kept: usize) -> Vec<f32> {
    vector.truncate(kept);
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    for x in &mut vector {
        *x /= norm;
    }
    vector
}
