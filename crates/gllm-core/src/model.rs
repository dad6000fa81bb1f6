//! What a model is: its name, its task, its architecture.

use std::borrow::Cow;
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

/// The network that a model's weights are for, by the name that transformers gives it: the `model_type` of its
/// `config.json`, such as `bert` or `xlm-roberta`; where that name is ambiguous (JinaBERT calls itself `bert`), one of
/// its own.
///
/// A name rather than an enum: which networks exist is for the crate that computes them to say.
///
/// ```
/// let architecture = gllm_core::Architecture::from("xlm-roberta");
/// assert_eq!(architecture.as_str(), "xlm-roberta");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Architecture(Cow<'static, str>);

impl Architecture {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Architecture {
    fn from(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
