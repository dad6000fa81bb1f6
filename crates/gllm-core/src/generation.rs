//! What a request for generated text says and returns.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Usage;

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Sets the rules for the conversation.
    System,
    /// Asks.
    User,
    /// The model.
    Assistant,
    /// The result of something that the model asked to be run.
    Tool,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        })
    }
}

/// A turn of a conversation.
///
/// ```
/// use gllm_core::{Message, Role};
/// let said = Message::user("Hello");
/// assert_eq!((said.role, said.content.as_str()), (Role::User, "Hello"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// What the model must keep to.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// What is asked.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// What the model answered.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// Why a text ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FinishReason {
    /// The model ended it, or a stop string came.
    Stop,
    /// It has as many tokens as were asked for, or the context is full.
    Length,
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Length => "length",
        })
    }
}

/// A token that stood to choose, and how likely it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenCandidate {
    /// Its id.
    pub id: u32,
    /// Its text; the replacement character stands for bytes that aren't UTF-8 by themselves.
    pub token: String,
    /// Natural logarithm of its probability, before temperature, penalties and the like.
    pub logprob: f32,
}

/// A token that was generated, and how likely it and others were in its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// Its id.
    pub id: u32,
    /// Its text, as [`TokenCandidate::token`].
    pub token: String,
    /// Natural logarithm of its probability, before temperature, penalties and the like.
    pub logprob: f32,
    /// The most likely tokens in its place, as many as were asked for, the most likely first.
    pub top: Vec<TokenCandidate>,
}

/// How long a request took, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GenerationTimings {
    /// To read the prompt, up to the choice of the first token.
    pub first_token_ms: f64,
    /// From the first token to the last.
    pub decode_ms: f64,
    /// Tokens of the prompt that an earlier request had read already.
    pub cached_tokens: usize,
}

/// A generated text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerationResponse {
    /// Without special tokens, and without the stop string that ended it.
    pub text: String,
    /// The ids of all generated tokens, that which ended the text among them.
    pub tokens: Vec<u32>,
    /// Why the text ends.
    pub finish_reason: FinishReason,
    /// Tokens computed.
    pub usage: Usage,
    /// One for each token, where they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
    /// How long it took.
    pub timings: GenerationTimings,
}
