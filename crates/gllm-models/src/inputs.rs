//! From texts to sequences that a network can take: its tokenizer, its limits, and the checks between the two.

use gllm_core::{InferenceError, InvalidConfig, Result, Truncated, Truncation};
use gllm_quant::WeightFiles;

use crate::text::{Pairs, Tokenizer, Tokens};
use crate::{DecoderConfig, EncoderConfig};

/// A model's tokenizer with what its network can take.
#[derive(Debug)]
pub(crate) struct Inputs {
    pub(crate) tokenizer: Tokenizer,
    /// Longest input in tokens, special tokens included.
    pub(crate) max_length: usize,
    vocab_size: usize,
    /// Segments that the model tells apart, where it reads the tokenizer's.
    segments: Option<usize>,
}

impl Inputs {
    /// Reads the tokenizer that comes with `files`, for an encoder of this configuration.
    pub(crate) fn load(files: &WeightFiles, config: &EncoderConfig) -> Result<Self> {
        let segments = config.token_types.filter(|types| types.from_tokenizer).map(|types| types.rows);
        Self::new(files, config.max_length, config.vocab_size, segments)
    }

    /// Reads the tokenizer that comes with `files`, for a decoder of this configuration.
    pub(crate) fn of_decoder(files: &WeightFiles, config: &DecoderConfig) -> Result<Self> {
        Self::new(files, config.max_length, config.vocab_size, None)
    }

    fn new(files: &WeightFiles, max_length: usize, vocab_size: usize, segments: Option<usize>) -> Result<Self> {
        let tokenizer = Tokenizer::of(files)?;
        let max_length = tokenizer.max_length().map_or(max_length, |limit| limit.min(max_length));
        Ok(Self { tokenizer, max_length, vocab_size, segments })
    }

    /// The limit in force: what was asked for, if the model reads that much and it leaves room beside `added` special
    /// tokens, else the model's own.
    pub(crate) fn limit(&self, asked: Option<usize>, added: usize) -> Result<usize> {
        let (shortest, limit) = (added + 1, asked.unwrap_or(self.max_length));
        if !(shortest..=self.max_length).contains(&limit) {
            let expected = format!("{shortest} to {}, the most tokens that this model reads", self.max_length);
            return Err(InvalidConfig::new("max_length", expected, limit.to_string()).into());
        }
        Ok(limit)
    }

    /// Sequences of single texts, each of at most `limit` tokens.
    pub(crate) fn texts<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        limit: usize,
        truncation: Truncation,
    ) -> Result<Vec<Tokens>> {
        self.checked(self.tokenizer.encode(texts, limit, truncation)?)
    }

    /// Sequences of `query` with each of `documents`, each of at most `limit` tokens.
    pub(crate) fn pairs<T: AsRef<str> + Sync>(
        &self,
        query: &str,
        documents: &[T],
        limit: usize,
        truncation: Truncation,
    ) -> Result<Pairs> {
        let pairs = self.tokenizer.encode_pairs(query, documents, limit, truncation)?;
        Ok(Pairs { tokens: self.checked(pairs.tokens)?, ..pairs })
    }

    /// Sequences of texts between `start` and `end`, each of at most `limit` tokens.
    pub(crate) fn between<T: AsRef<str> + Sync>(
        &self,
        [start, end]: [&[u32]; 2],
        texts: &[T],
        limit: usize,
        truncation: Truncation,
    ) -> Result<Vec<Tokens>> {
        self.checked(self.tokenizer.encode_between([start, end], texts, limit, truncation)?)
    }

    fn checked(&self, tokens: Vec<Tokens>) -> Result<Vec<Tokens>> {
        for (index, tokens) in tokens.iter().enumerate() {
            if let Some(&id) = tokens.ids.iter().find(|&&id| id as usize >= self.vocab_size) {
                return Err(InferenceError::TokenOutOfRange { index, id, vocab: self.vocab_size }.into());
            }
            if let Some(known) = self.segments
                && let Some(id) = tokens.type_ids.iter().find(|&&id| id as usize >= known)
            {
                let reason = format!("segment {id}, but the model knows {known}");
                return Err(InferenceError::Tokenize { index, reason }.into());
            }
            if tokens.ids.is_empty() {
                let reason = "it has no tokens, and the tokenizer adds none".into();
                return Err(InferenceError::Tokenize { index, reason }.into());
            }
        }
        Ok(tokens)
    }
}

/// Those of `tokens` that were cut.
pub(crate) fn truncated(tokens: &[Tokens]) -> Vec<Truncated> {
    let cut = tokens.iter().enumerate().filter(|(_, tokens)| tokens.total > tokens.ids.len());
    cut.map(|(index, tokens)| Truncated { index, tokens: tokens.total, kept: tokens.ids.len() }).collect()
}

/// Checks the budget of [`crate::text::plan_batches`].
pub(crate) fn check_batch_tokens(batch_tokens: usize) -> Result<()> {
    match batch_tokens {
        0 => Err(InvalidConfig::new("batch_tokens", "at least 1", "0").into()),
        _ => Ok(()),
    }
}
