//! What a handle is asked to write.

use gllm_core::Message;
use gllm_models::{GenerateOptions, Prompt};

use super::pieces::{Pieces, Writer, pieces};
use crate::RequestOptions;

/// A text to write: what it follows, how, and how urgent it is. A string goes through the model's chat template if it has
/// one; a [`Prompt`] says itself.
///
/// ```
/// use gllm_models::GenerateOptions;
/// use gllm_runtime::{Priority, RequestOptions, TextRequest};
/// let request = TextRequest {
///     options: GenerateOptions { max_new_tokens: Some(64), ..GenerateOptions::default() },
///     request: RequestOptions { priority: Priority::Low, ..RequestOptions::default() },
///     ..TextRequest::from("Write a haiku about Rust.")
/// };
/// ```
#[derive(Clone, Debug)]
pub struct TextRequest {
    /// What is to be continued.
    pub input: TextInput,
    /// How it is to be continued.
    pub options: GenerateOptions,
    /// How urgent it is, and how long it is wanted.
    pub request: RequestOptions,
}

/// What a text follows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TextInput {
    /// What a user asks, for a model with a chat template; goes to another one as it is.
    Text(String),
    /// As it is, or a conversation.
    Prompt(Prompt),
}

/// A text to write, on its way to the model's thread.
#[derive(Debug)]
pub(crate) struct GenerateRequest {
    pub(crate) prompt: Prompt,
    pub(crate) options: GenerateOptions,
    pub(crate) writer: Writer,
}

impl TextRequest {
    /// What goes to the model's thread, and what comes back.
    pub(crate) fn parts(self, has_chat_template: bool) -> (GenerateRequest, RequestOptions, Pieces) {
        let (writer, pieces) = pieces();
        let prompt = match self.input {
            TextInput::Text(text) if has_chat_template => Prompt::Chat(vec![Message::user(text)]),
            TextInput::Text(text) => Prompt::Raw(text),
            TextInput::Prompt(prompt) => prompt,
        };
        (GenerateRequest { prompt, options: self.options, writer }, self.request, pieces)
    }
}

impl From<TextInput> for TextRequest {
    fn from(input: TextInput) -> Self {
        Self { input, options: GenerateOptions::default(), request: RequestOptions::default() }
    }
}

impl From<Prompt> for TextRequest {
    fn from(prompt: Prompt) -> Self {
        TextInput::Prompt(prompt).into()
    }
}

impl From<Vec<Message>> for TextRequest {
    fn from(messages: Vec<Message>) -> Self {
        Prompt::Chat(messages).into()
    }
}

impl From<String> for TextRequest {
    fn from(text: String) -> Self {
        TextInput::Text(text).into()
    }
}

impl From<&str> for TextRequest {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}
