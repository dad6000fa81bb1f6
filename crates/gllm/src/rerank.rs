//! A request for a ranking.

use gllm_core::{RerankResponse, Result, Truncation};
use gllm_models::RerankOptions;

use crate::Client;

/// A request for a ranking; [`RerankBuilder::generate`] answers it.
#[derive(Debug)]
#[must_use = "nothing is computed before `generate`"]
pub struct RerankBuilder<'a> {
    client: &'a Client,
    query: String,
    documents: Vec<String>,
    options: RerankOptions,
}

impl<'a> RerankBuilder<'a> {
    pub(crate) fn new(client: &'a Client, query: String, documents: Vec<String>) -> Self {
        Self { client, query, documents, options: RerankOptions::default() }
    }

    /// Scores each document by how well it answers the query, the best first.
    ///
    /// A pair that is too long loses the end of its document, which the response says. The query is cut only where it
    /// leaves no room for a document; the response says that too.
    ///
    /// # Errors
    /// [`gllm_core::InvalidConfig`] for no documents, an option that the model can't meet, or a model that isn't a
    /// reranker; [`gllm_core::InferenceError`] for a pair that is too long, where that is an error;
    /// [`gllm_core::OutOfMemory`] where the device has too little for a batch.
    pub fn generate(self) -> Result<RerankResponse> {
        self.client.reranker()?.rerank(&self.query, &self.documents, &self.options)
    }
}

/// The options of a request, the same for both clients.
macro_rules! rerank_options {
    ($builder:ty) => {
        crate::options::input_options!($builder);

        impl $builder {
            /// Return only the best this many.
            pub fn top_n(mut self, documents: usize) -> Self {
                self.options.top_n = Some(documents);
                self
            }

            /// Return the documents' text with their scores.
            pub fn return_documents(mut self, yes: bool) -> Self {
                self.options.return_documents = yes;
                self
            }

            /// What makes a document a good one, such as "Given a question about code, find the function that answers it".
            /// Only models that are told, such as Qwen3-Reranker, take one; without it, they have their own.
            pub fn instruction(mut self, instruction: impl Into<String>) -> Self {
                self.options.instruction = Some(instruction.into());
                self
            }

            /// Return the model's logits instead of what the model says should become of them, most often their sigmoid.
            pub fn raw_scores(mut self, yes: bool) -> Self {
                self.options.raw_scores = yes;
                self
            }
        }
    };
}

#[cfg(feature = "async")]
pub(crate) use rerank_options;

rerank_options!(RerankBuilder<'_>);
