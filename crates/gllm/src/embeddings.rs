//! A request for embeddings.

use gllm_core::{EmbeddingResponse, Result, Truncation};
use gllm_models::EmbedOptions;

use crate::Client;

/// A request for embeddings; [`EmbeddingsBuilder::generate`] answers it.
#[derive(Debug)]
#[must_use = "nothing is computed before `generate`"]
pub struct EmbeddingsBuilder<'a> {
    client: &'a Client,
    texts: Vec<String>,
    options: EmbedOptions,
}

impl<'a> EmbeddingsBuilder<'a> {
    pub(crate) fn new(client: &'a Client, texts: Vec<String>) -> Self {
        Self { client, texts, options: EmbedOptions::default() }
    }

    /// Computes the vectors, one for each text, in the order of the texts.
    ///
    /// # Errors
    /// [`gllm_core::InvalidConfig`] for no texts, an option that the model can't meet, or a model that isn't for
    /// embeddings; [`gllm_core::InferenceError`] for a text that is too long, where that is an error;
    /// [`gllm_core::OutOfMemory`] where the device has too little for a batch.
    pub fn generate(self) -> Result<EmbeddingResponse> {
        self.client.embedder()?.embed(&self.texts, &self.options)
    }
}

/// The options of a request, the same for both clients.
macro_rules! embed_options {
    ($builder:ty) => {
        crate::options::input_options!($builder);

        impl $builder {
            /// Keep this many leading dimensions, and scale to length 1 again: for models trained so
            /// (Matryoshka).
            pub fn dimensions(mut self, dimensions: usize) -> Self {
                self.options.dimensions = Some(dimensions);
                self
            }

            /// Put the model's prompt of this name, such as `query`, before each text.
            pub fn prompt_name(mut self, name: impl Into<String>) -> Self {
                self.options.prompt_name = Some(name.into());
                self
            }

            /// Return the weights of the text's tokens too, for lexical search: bge-m3 and SPLADE models have them.
            pub fn sparse(mut self, yes: bool) -> Self {
                self.options.sparse = yes;
                self
            }

            /// Return a vector for each token too, for late interaction: bge-m3 has them.
            pub fn multi_vector(mut self, yes: bool) -> Self {
                self.options.multi_vector = yes;
                self
            }
        }
    };
}

#[cfg(feature = "async")]
pub(crate) use embed_options;

embed_options!(EmbeddingsBuilder<'_>);
