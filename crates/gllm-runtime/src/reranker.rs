//! A handle to a thread that owns a reranker.

use std::fmt;

use crossbeam_channel::Sender;
use gllm_core::{Error, RerankResponse, Result};
use gllm_models::{RerankEngine, RerankOptions};

use crate::actor::{self, Request, guarded};

/// A way to a thread that owns a reranker. Clones share the thread.
#[derive(Clone, Debug)]
pub struct RerankerHandle {
    inbox: Sender<RerankRequest>,
}

struct RerankRequest {
    query: String,
    documents: Vec<String>,
    options: RerankOptions,
    respond: Box<dyn FnOnce(Result<RerankResponse>) + Send>,
}

impl Request for RerankRequest {
    type Engine = RerankEngine;

    fn answer(self, engine: &RerankEngine) {
        (self.respond)(guarded(|| engine.rerank(&self.query, &self.documents, &self.options)));
    }

    fn refuse(self, error: Error) {
        (self.respond)(Err(error));
    }
}

impl fmt::Debug for RerankRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RerankRequest").field("documents", &self.documents.len()).finish_non_exhaustive()
    }
}

impl RerankerHandle {
    /// Starts a thread that loads a model and then answers requests, as [`crate::EmbedderHandle::spawn`] does.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no thread to give.
    pub fn spawn<T: Send + 'static>(
        load: impl FnOnce() -> Result<(RerankEngine, T)> + Send + 'static,
        ready: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<Self> {
        Ok(Self { inbox: actor::spawn("gllm-reranker", load, ready)? })
    }

    /// Hands a query and documents to the model's thread, which calls `respond` with the answer. Waits while 64
    /// requests are before it.
    pub fn submit(
        &self,
        query: String,
        documents: Vec<String>,
        options: RerankOptions,
        respond: impl FnOnce(Result<RerankResponse>) + Send + 'static,
    ) {
        actor::submit(&self.inbox, RerankRequest { query, documents, options, respond: Box::new(respond) });
    }
}
