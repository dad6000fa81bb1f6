//! A request for text, asynchronously.

use gllm_core::{GenerationResponse, Result};
use gllm_models::GenerateOptions;
use gllm_runtime::{AsyncGeneration, RequestOptions, TextRequest};

use crate::AsyncClient;
use crate::generate::{Input, generate_options};
use crate::options::request_options;

/// A request for text; [`AsyncGenerationBuilder::generate`] or [`AsyncGenerationBuilder::stream`] answers it.
#[derive(Clone, Debug)]
#[must_use = "nothing is computed before `generate` or `stream`"]
pub struct AsyncGenerationBuilder<'a> {
    client: &'a AsyncClient,
    input: Input,
    options: GenerateOptions,
    request: RequestOptions,
}

generate_options!(AsyncGenerationBuilder<'_>);
request_options!(AsyncGenerationBuilder<'_>);

impl<'a> AsyncGenerationBuilder<'a> {
    pub(crate) fn new(client: &'a AsyncClient, input: Input) -> Self {
        Self { client, input, options: GenerateOptions::default(), request: RequestOptions::default() }
    }

    /// As [`crate::GenerationBuilder::generate`]. Dropping the future ends the text.
    ///
    /// # Errors
    /// As [`crate::GenerationBuilder::generate`].
    pub async fn generate(self) -> Result<GenerationResponse> {
        self.stream()?.finish().await
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
        let (generator, has_template) = self.client.generator()?;
        let Self { input, options, request, .. } = self;
        Ok(generator.stream(TextRequest { options, request, ..input.into_prompt(has_template)?.into() }))
    }
}
