//! What an embedding request returns.

use serde::{Deserialize, Serialize};

/// Tokens that a request cost, counted after truncation and with special tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the input.
    pub prompt_tokens: usize,
    /// Tokens of the input and of what was generated; equal to `prompt_tokens` for embeddings.
    pub total_tokens: usize,
}

/// The vector of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Place of the text in the request.
    pub index: usize,
    /// `[dimensions]`.
    pub embedding: Vec<f32>,
}

/// The vectors of a request, in the order of its texts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingResponse {
    /// One for each text, in input order.
    pub embeddings: Vec<Embedding>,
    /// Tokens computed.
    pub usage: Usage,
    /// The texts that were longer than the model reads, in input order; empty when nothing was cut.
    pub truncated: Vec<Truncated>,
}

/// A text that was cut to the longest input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// Place of the text in the request.
    pub index: usize,
    /// Tokens of the whole text, special tokens included.
    pub tokens: usize,
    /// Tokens that were read, special tokens included.
    pub kept: usize,
}

/// What happens to a text that is longer than the model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Truncation {
    /// Cut it, on the side the model's tokenizer says, and report it in [`EmbeddingResponse::truncated`].
    #[default]
    Cut,
    /// Refuse the request.
    Error,
}
