//! What a request for embeddings or for a ranking returns.

use serde::{Deserialize, Serialize};

use crate::{MultiVector, SparseVector};

/// Tokens that a request cost, counted after truncation and with special tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the input.
    pub prompt_tokens: usize,
    /// Tokens of the input and of what was generated; equal to `prompt_tokens` where nothing is generated.
    pub total_tokens: usize,
}

/// The vectors of one text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// Place of the text in the request.
    pub index: usize,
    /// `[dimensions]`; empty for a model that has only sparse vectors.
    pub embedding: Vec<f32>,
    /// The weights of the text's tokens, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparse: Option<SparseVector>,
    /// A vector for each token, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multi_vector: Option<MultiVector>,
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

/// The score of one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RerankResult {
    /// Place of the document in the request.
    pub index: usize,
    /// How well it answers the query: larger is better. In 0 to 1 for most models, a logit where raw scores were
    /// asked for or the model says so.
    pub score: f32,
    /// The document, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

/// A ranking of documents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RerankResponse {
    /// The best first; documents of equal score in input order.
    pub results: Vec<RerankResult>,
    /// Tokens computed: of each pair, so the query counts once for each document.
    pub usage: Usage,
    /// The documents that were cut because the model doesn't read them whole beside the query, in input order.
    pub truncated: Vec<Truncated>,
    /// Whether the query alone is longer than the model reads, and was cut too.
    pub query_truncated: bool,
}

/// A text that was cut to the longest input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncated {
    /// Place of the text in the request.
    pub index: usize,
    /// Tokens of the whole text (in a ranking: of the pair), special tokens included.
    pub tokens: usize,
    /// Tokens that were read, special tokens included.
    pub kept: usize,
}

/// What happens to a text that is longer than the model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Truncation {
    /// Cut it, on the side the model's tokenizer says, and report it in the response.
    #[default]
    Cut,
    /// Refuse the request.
    Error,
}
