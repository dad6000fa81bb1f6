//! What a model is: its name, its task, its architecture.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelType {
    /// Text to vector.
    Embedding,
    /// Query and document to score.
    Rerank,
    /// Text to text.
    Generator,
}

impl fmt::Display for ModelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedding => "embedding",
            Self::Rerank => "rerank",
            Self::Generator => "generator",
        })
    }
}

/// The network that a model's weights are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Architecture {
    /// BERT encoder, post-norm, learned positions. Source: <https://arxiv.org/abs/1810.04805>.
    Bert,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bert => "bert",
        })
    }
}

/// A model as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The short name, such as `all-MiniLM-L6-v2`; for a model outside the registry, what the caller gave.
    pub alias: String,
    /// The repository, `org/name`; for a local folder, its path.
    pub repo_id: String,
    /// What the model is for.
    pub model_type: ModelType,
    /// The network.
    pub architecture: Architecture,
    /// Length of an embedding, where known without loading the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// Longest input in tokens, special tokens included, where known without loading the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
}
