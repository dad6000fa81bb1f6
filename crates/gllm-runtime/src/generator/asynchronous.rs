//! [`GeneratorHandle`] for asynchronous callers: texts are streams, and nothing blocks.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use gllm_core::{GenerationResponse, Message, ModelInfo, Result};

use super::pieces::Pieces;
use super::{GenerateRequest, GeneratorConfig, GeneratorHandle, TextRequest, TextsConfig, actor};
use crate::load::{About, Found, find};
use crate::queue::inbox::{Inbox, stopped};
use crate::{ClientConfig, Shutdown};

/// [`GeneratorHandle`] for asynchronous callers, on any executor.
#[derive(Clone, Debug)]
pub struct AsyncGeneratorHandle {
    pub(super) inbox: Inbox<GenerateRequest>,
    pub(super) about: Arc<About>,
}

/// A text that is being written by its model's thread: a stream of its pieces, each of whole characters, none of them
/// empty. It is asked for when the stream is first polled; what is written while nobody polls waits, as one piece.
///
/// Dropping it ends the text.
pub struct AsyncGeneration {
    /// On its way to the model's thread.
    asking: Option<Asking>,
    pieces: Pieces,
}

type Asking = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

impl AsyncGeneratorHandle {
    /// As [`GeneratorHandle::new`].
    ///
    /// # Errors
    /// As [`GeneratorHandle::with_config`].
    pub async fn new() -> Result<Self> {
        Self::with_model(GeneratorHandle::DEFAULT_MODEL).await
    }

    /// As [`GeneratorHandle::with_model`].
    ///
    /// # Errors
    /// As [`GeneratorHandle::with_config`].
    pub async fn with_model(model: &str) -> Result<Self> {
        Self::with_config(model, ClientConfig::from_env()?).await
    }

    /// As [`GeneratorHandle::with_config`]; what takes time happens on the model's thread.
    ///
    /// # Errors
    /// As [`GeneratorHandle::with_config`].
    pub async fn with_config(model: &str, config: impl Into<GeneratorConfig>) -> Result<Self> {
        let (GeneratorConfig { client, texts }, model) = (config.into(), model.to_owned());
        let (inbox, is_ready) = actor::start(move || find(&model, client, &mut ()), texts)?;
        Ok(Self { inbox, about: Arc::new(is_ready.await?) })
    }

    /// As [`GeneratorHandle::from_found`].
    ///
    /// # Errors
    /// As [`GeneratorHandle::with_config`].
    pub async fn from_found(found: Found, texts: TextsConfig) -> Result<(Self, About)> {
        let GeneratorHandle { inbox, about } = GeneratorHandle::start(found, texts).await?;
        Ok((Self { inbox, about: Arc::clone(&about) }, About::clone(&about)))
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

    /// As [`GeneratorHandle::generate`]. Dropping the future ends the text.
    ///
    /// # Errors
    /// As [`GeneratorHandle::generate`].
    pub async fn generate(&self, request: impl Into<TextRequest>) -> Result<GenerationResponse> {
        self.stream(request).finish().await
    }

    /// As [`GeneratorHandle::chat`].
    ///
    /// # Errors
    /// As [`GeneratorHandle::generate`].
    pub async fn chat(&self, messages: impl IntoIterator<Item = Message>) -> Result<GenerationResponse> {
        self.generate(messages.into_iter().collect::<Vec<_>>()).await
    }

    /// Writes a text piece by piece. What is wrong with the request is the stream's first item.
    pub fn stream(&self, request: impl Into<TextRequest>) -> AsyncGeneration {
        let (request, options, pieces) = request.into().parts(self.has_chat_template());
        let inbox = self.inbox.clone();
        let asking = Box::pin(async move { inbox.send(request, &options).await });
        AsyncGeneration { asking: Some(asking), pieces }
    }

    /// As [`GeneratorHandle::shutdown`].
    pub async fn shutdown(&self, how: Shutdown) {
        self.inbox.close(how).await;
    }
}

impl AsyncGeneration {
    /// The whole text with what it cost, once the stream is at its end.
    #[must_use]
    pub fn response(&self) -> Option<&GenerationResponse> {
        self.pieces.response()
    }

    /// Waits for the end of the text.
    ///
    /// # Errors
    /// As [`GeneratorHandle::generate`].
    pub async fn finish(mut self) -> Result<GenerationResponse> {
        while let Some(piece) = poll_fn(|context| self.poll_piece(context)).await {
            piece?;
        }
        self.pieces.into_response().ok_or_else(|| stopped("it ended without an answer"))
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<String>>> {
        if let Some(asking) = &mut self.asking {
            let asked = ready!(asking.as_mut().poll(context));
            self.asking = None;
            if let Err(error) = asked {
                self.pieces.leave();
                return Poll::Ready(Some(Err(error)));
            }
        }
        self.pieces.poll_piece(context)
    }
}

impl Stream for AsyncGeneration {
    type Item = Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_piece(context)
    }
}

impl fmt::Debug for AsyncGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_asked = self.asking.is_none();
        f.debug_struct("AsyncGeneration").field("is_asked", &is_asked).field("pieces", &self.pieces).finish()
    }
}
