//! What a request for text says.

use gllm_core::{InvalidConfig, Message};
use serde_json::{Map, Value};

use crate::SamplingOptions;

/// What is to be continued.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Prompt {
    /// Goes to the model as it is, with the special tokens that its tokenizer adds to every text.
    Raw(String),
    /// Goes through the model's chat template, which leads up to the answer.
    Chat(Vec<Message>),
}

/// A form that a text has to keep to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TextFormat {
    /// JSON that this schema describes.
    JsonSchema(Value),
    /// A text that this regular expression matches as a whole, in the syntax of the crate `regex`.
    Regex(String),
}

/// What a request may choose.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerateOptions {
    /// Most tokens of the answer; by default, as many as the context has room for.
    pub max_new_tokens: Option<usize>,
    /// How tokens are chosen; by default as the model's `generation_config.json` says, else the most likely one.
    pub sampling: SamplingOptions,
    /// Strings that end the text before them.
    pub stop: Vec<String>,
    /// A form that the text keeps to.
    pub format: Option<TextFormat>,
    /// Variables of the chat template, such as `enable_thinking` or `tools`.
    pub template: Map<String, Value>,
}

impl GenerateOptions {
    /// Whether the options make sense, but for those of sampling.
    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        match self.max_new_tokens {
            Some(0) => Err(InvalidConfig::new("max_new_tokens", "at least 1", "0")),
            _ => Ok(()),
        }
    }
}
