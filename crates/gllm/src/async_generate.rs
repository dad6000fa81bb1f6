//! A request for text, asynchronously.

use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use gllm_core::{GenerationResponse, Result};
use gllm_models::GenerateOptions;
use gllm_runtime::{GenerationEvent, GeneratorHandle};
use tokio::sync::mpsc::{self, UnboundedReceiver};

use crate::AsyncClient;
use crate::async_client::stopped;
use crate::generate::{Input, generate_options};

/// A request for text; [`AsyncGenerationBuilder::generate`] or [`AsyncGenerationBuilder::stream`] answers it.
#[derive(Clone, Debug)]
#[must_use = "nothing is computed before `generate` or `stream`"]
pub struct AsyncGenerationBuilder<'a> {
    client: &'a AsyncClient,
    input: Input,
    options: GenerateOptions,
}

generate_options!(AsyncGenerationBuilder<'_>);

/// A text that is being written: a stream of its pieces, each of whole characters, none of them empty.
///
/// Dropping it ends the text.
#[derive(Debug)]
pub struct AsyncGeneration {
    events: UnboundedReceiver<Result<GenerationEvent>>,
    response: Option<GenerationResponse>,
    is_over: bool,
}

impl<'a> AsyncGenerationBuilder<'a> {
    pub(crate) fn new(client: &'a AsyncClient, input: Input) -> Self {
        Self { client, input, options: GenerateOptions::default() }
    }

    /// As [`crate::GenerationBuilder::generate`]. Dropping the future ends the text.
    ///
    /// # Errors
    /// As [`crate::GenerationBuilder::generate`].
    pub async fn generate(self) -> Result<GenerationResponse> {
        let mut text = self.stream()?;
        while std::future::poll_fn(|context| text.poll_piece(context)).await.transpose()?.is_some() {}
        text.response.ok_or_else(|| stopped().into())
    }

    /// Writes the text piece by piece. What is wrong with the request is the stream's first item.
    ///
    /// ```no_run
    /// # async fn example(client: gllm::AsyncClient) -> gllm::Result<()> {
    /// use std::pin::pin;
    /// use std::future::poll_fn;
    /// use futures_core::Stream;
    /// let mut text = pin!(client.generate("Write a haiku about Rust.").stream()?);
    /// // Or `text.next().await`, with `StreamExt` of the crate `futures`.
    /// while let Some(piece) = poll_fn(|context| text.as_mut().poll_next(context)).await {
    ///     print!("{}", piece?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`gllm_core::InvalidConfig`] for a model that doesn't write text.
    pub fn stream(self) -> Result<AsyncGeneration> {
        let (generator, has_template): (&GeneratorHandle, bool) = self.client.generator()?;
        let (sender, events) = mpsc::unbounded_channel();
        let tell = move |event| match sender.send(event) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        };
        generator.submit(self.input.into_prompt(has_template), self.options, tell);
        Ok(AsyncGeneration { events, response: None, is_over: false })
    }
}

impl AsyncGeneration {
    /// The whole text with what it cost, once the stream is at its end.
    #[must_use]
    pub fn response(&self) -> Option<&GenerationResponse> {
        self.response.as_ref()
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<String>>> {
        while !self.is_over {
            match std::task::ready!(self.events.poll_recv(context)) {
                Some(Ok(GenerationEvent::Piece(piece))) if piece.is_empty() => {}
                Some(Ok(GenerationEvent::Piece(piece))) => return Poll::Ready(Some(Ok(piece))),
                Some(Ok(GenerationEvent::End(response))) => {
                    self.response = Some(response);
                    self.is_over = true;
                }
                Some(Err(error)) => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.is_over = true;
                    return Poll::Ready(Some(Err(stopped().into())));
                }
            }
        }
        Poll::Ready(None)
    }
}

impl Stream for AsyncGeneration {
    type Item = Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_piece(context)
    }
}
