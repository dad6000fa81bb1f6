//! A handle to a thread that owns a reranker.

use std::fmt;

use crossbeam_channel::{Sender, bounded};
use gllm_core::{Error, RerankResponse, Result};
use gllm_models::{RerankEngine, RerankOptions};

use crate::ClientConfig;
use crate::actor::{self, Request, guarded};
use crate::load::find;

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
    /// The model of [`RerankerHandle::new`].
    pub const DEFAULT_MODEL: &str = "ms-marco-MiniLM-L-6-v2";

    /// Loads [`RerankerHandle::DEFAULT_MODEL`], downloading it if it isn't in the store.
    ///
    /// # Errors
    /// As [`RerankerHandle::with_config`].
    pub fn new() -> Result<Self> {
        Self::with_model(Self::DEFAULT_MODEL)
    }

    /// Loads `model`, as the environment and `~/.gllm/config.toml` say.
    ///
    /// # Errors
    /// As [`RerankerHandle::with_config`].
    pub fn with_model(model: &str) -> Result<Self> {
        Self::with_config(model, ClientConfig::from_env()?)
    }

    /// Loads `model`, with another store or device, and waits until it is ready.
    ///
    /// # Errors
    /// [`gllm_core::ModelNotFound`], [`gllm_core::DownloadError`], or [`gllm_core::LoadError`] that names the file;
    /// [`gllm_core::InvalidConfig`] for a model that is for something else, or a device that isn't there.
    pub fn with_config(model: &str, config: ClientConfig) -> Result<Self> {
        let found = find(model, config, &mut ())?;
        let (ready, is_ready) = bounded(1);
        let handle = Self::spawn(move || found.load_reranker(), move |loaded| drop(ready.send(loaded)))?;
        actor::loaded(&is_ready)?;
        Ok(handle)
    }

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
