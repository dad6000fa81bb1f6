//! A handle to a thread that owns a model which writes texts.
//!
//! Texts that are asked for at the same time are written together ([`batch`]); a text is what it would be alone.

pub(crate) mod actor;
#[cfg(feature = "async")]
mod asynchronous;
mod batch;
mod config;
pub(crate) mod engine;
mod pieces;
mod request;
mod telemetry;

use std::sync::Arc;
use std::time::Instant;

use gllm_core::{GenerationResponse, Message, ModelInfo, Result};

use crate::load::{About, Found, find};
use crate::queue::inbox::{Inbox, deadline_exceeded, stopped};
use crate::queue::wait::wait;
use crate::{ClientConfig, Shutdown};

#[cfg(feature = "async")]
pub use asynchronous::{AsyncGeneration, AsyncGeneratorHandle};
pub use config::{GeneratorConfig, TextsConfig};
use pieces::Pieces;
use request::GenerateRequest;
pub use request::{TextInput, TextRequest};

/// A way to a thread that owns a model which writes texts. Clones share the thread, which ends with the last of them,
/// once the texts are written that were asked for.
///
/// ```no_run
/// use gllm_runtime::GeneratorHandle;
/// let generator = GeneratorHandle::new()?;
/// for piece in generator.stream("Write a haiku about Rust.")? {
///     print!("{}", piece?);
/// }
/// # Ok::<(), gllm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GeneratorHandle {
    inbox: Inbox<GenerateRequest>,
    about: Arc<About>,
}

/// A text that is being written by its model's thread: an iterator over its pieces, each of whole characters, none of
/// them empty. What is written while nobody asks waits, as one piece; nothing is held up by it.
///
/// Dropping it ends the text.
#[derive(Debug)]
pub struct GenerationStream {
    pieces: Pieces,
    deadline: Option<Instant>,
    asked: Instant,
}

impl GeneratorHandle {
    /// The model of [`GeneratorHandle::new`].
    pub const DEFAULT_MODEL: &str = "qwen2.5-coder-0.5b-instruct";

    /// Loads [`GeneratorHandle::DEFAULT_MODEL`], downloading it if it isn't in the store.
    ///
    /// # Errors
    /// As [`GeneratorHandle::with_config`].
    pub fn new() -> Result<Self> {
        Self::with_model(Self::DEFAULT_MODEL)
    }

    /// Loads `model`, as the environment and `~/.gllm/config.toml` say.
    ///
    /// # Errors
    /// As [`GeneratorHandle::with_config`].
    pub fn with_model(model: &str) -> Result<Self> {
        Self::with_config(model, ClientConfig::from_env()?)
    }

    /// Loads `model`, with another store or device, or other limits, and waits until it is ready.
    ///
    /// # Errors
    /// [`gllm_core::ModelNotFound`], [`gllm_core::DownloadError`], or [`gllm_core::LoadError`] that names the file;
    /// [`gllm_core::InvalidConfig`] for a model that is for something else, a device that isn't there, or a limit of 0.
    pub fn with_config(model: &str, config: impl Into<GeneratorConfig>) -> Result<Self> {
        let GeneratorConfig { client, texts } = config.into();
        Ok(Self::from_found(find(model, client, &mut ())?, texts)?.0)
    }

    /// Loads a model that was found, and waits until it is ready.
    ///
    /// # Errors
    /// As [`GeneratorHandle::with_config`].
    pub fn from_found(found: Found, texts: TextsConfig) -> Result<(Self, About)> {
        let handle = wait(Self::start(found, texts), None).ok_or_else(|| stopped("it can't be waited for"))??;
        let about = About::clone(&handle.about);
        Ok((handle, about))
    }

    /// Loads a model that was found.
    pub(crate) async fn start(found: Found, texts: TextsConfig) -> Result<Self> {
        let (inbox, is_ready) = actor::start(|| Ok(found), texts)?;
        Ok(Self { inbox, about: Arc::new(is_ready.await?) })
    }

    /// A way to a thread that was started otherwise.
    #[cfg(test)]
    pub(crate) fn to(inbox: Inbox<GenerateRequest>, about: About) -> Self {
        Self { inbox, about: Arc::new(about) }
    }

    /// Ends the thread.
    pub(crate) async fn close(&self, how: Shutdown) {
        self.inbox.close(how).await;
    }

    /// What the model is.
    #[must_use]
    pub fn info(&self) -> &ModelInfo {
        &self.about.info
    }

    /// The device that was taken, for people: `cpu (flex)`.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.about.device
    }

    /// Whether the model can answer a conversation: it comes with a chat template.
    #[must_use]
    pub fn has_chat_template(&self) -> bool {
        self.about.has_chat_template
    }

    /// Writes a text, and waits for its end.
    ///
    /// # Errors
    /// [`gllm_core::InvalidConfig`] for an option that is out of range or a prompt that has no text;
    /// [`gllm_core::InferenceError`] for a prompt that is too long for the context, or that the model's chat template
    /// refuses, for a request that was called back or came too late, and if the computation fails;
    /// [`gllm_core::Error::Busy`] if the queue is full and the request doesn't wait; [`gllm_core::Error::Oom`] for a
    /// text that there is no memory for.
    pub fn generate(&self, request: impl Into<TextRequest>) -> Result<GenerationResponse> {
        self.stream(request)?.finish()
    }

    /// Answers the last message of a conversation, as [`GeneratorHandle::generate`] does.
    ///
    /// # Errors
    /// As [`GeneratorHandle::generate`].
    pub fn chat(&self, messages: impl IntoIterator<Item = Message>) -> Result<GenerationResponse> {
        self.generate(messages.into_iter().collect::<Vec<_>>())
    }

    /// Writes a text piece by piece. Waits for a place in the queue; what is wrong with the prompt is the iterator's
    /// first item.
    ///
    /// # Errors
    /// As [`GeneratorHandle::generate`], for what comes before the text has a place.
    pub fn stream(&self, request: impl Into<TextRequest>) -> Result<GenerationStream> {
        let asked = Instant::now();
        let (request, options, pieces) = request.into().parts(self.has_chat_template());
        let deadline = options.deadline;
        wait(self.inbox.send(request, &options), deadline).unwrap_or_else(|| Err(deadline_exceeded(asked)))?;
        Ok(GenerationStream { pieces, deadline, asked })
    }

    /// Ends the thread, and waits for its end. Requests that come later are answered with
    /// [`gllm_core::InferenceError::Stopped`].
    pub fn shutdown(&self, how: Shutdown) {
        let _ = wait(self.inbox.close(how), None);
    }

    /// The same thread, for asynchronous callers.
    #[cfg(feature = "async")]
    #[must_use]
    pub fn into_async(self) -> AsyncGeneratorHandle {
        AsyncGeneratorHandle { inbox: self.inbox, about: self.about }
    }
}

impl GenerationStream {
    /// The whole text with what it cost, once the iterator is at its end.
    #[must_use]
    pub fn response(&self) -> Option<&GenerationResponse> {
        self.pieces.response()
    }

    /// Waits for the end of the text.
    ///
    /// # Errors
    /// As [`GeneratorHandle::generate`].
    pub fn finish(mut self) -> Result<GenerationResponse> {
        for piece in &mut self {
            piece?;
        }
        self.pieces.into_response().ok_or_else(|| stopped("it ended without an answer"))
    }
}

impl Iterator for GenerationStream {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let Self { pieces, deadline, asked } = self;
        let piece = wait(std::future::poll_fn(|context| pieces.poll_piece(context)), *deadline);
        piece.unwrap_or_else(|| {
            pieces.leave();
            Some(Err(deadline_exceeded(*asked)))
        })
    }
}

#[cfg(test)]
mod tests;
