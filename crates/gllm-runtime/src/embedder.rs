//! A handle to a thread that owns an embedding model.

use std::fmt;

use crossbeam_channel::{Sender, bounded};
use gllm_core::{EmbeddingResponse, Error, Result};
use gllm_models::{EmbedOptions, EmbeddingEngine};

use crate::ClientConfig;
use crate::actor::{self, Request, guarded};
use crate::load::find;

/// A way to a thread that owns an embedding model. Clones share the thread.
#[derive(Clone, Debug)]
pub struct EmbedderHandle {
    inbox: Sender<EmbedRequest>,
}

struct EmbedRequest {
    texts: Vec<String>,
    options: EmbedOptions,
    respond: Box<dyn FnOnce(Result<EmbeddingResponse>) + Send>,
}

impl Request for EmbedRequest {
    type Engine = EmbeddingEngine;

    fn answer(self, engine: &EmbeddingEngine) {
        (self.respond)(guarded(|| engine.embed(&self.texts, &self.options)));
    }

    fn refuse(self, error: Error) {
        (self.respond)(Err(error));
    }
}

impl fmt::Debug for EmbedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbedRequest").field("texts", &self.texts.len()).finish_non_exhaustive()
    }
}

impl EmbedderHandle {
    /// The model of [`EmbedderHandle::new`].
    pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

    /// Loads [`EmbedderHandle::DEFAULT_MODEL`], downloading it if it isn't in the store.
    ///
    /// # Errors
    /// As [`EmbedderHandle::with_config`].
    pub fn new() -> Result<Self> {
        Self::with_model(Self::DEFAULT_MODEL)
    }

    /// Loads `model`, as the environment and `~/.gllm/config.toml` say.
    ///
    /// # Errors
    /// As [`EmbedderHandle::with_config`].
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
        let handle = Self::spawn(move || found.load_embedder(), move |loaded| drop(ready.send(loaded)))?;
        actor::loaded(&is_ready)?;
        Ok(handle)
    }

    /// Starts a thread that loads a model and then answers requests. `ready` gets what `load` returns beside
    /// the model, or why it failed; then requests are answered with [`gllm_core::InferenceError::Stopped`].
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no thread to give.
    pub fn spawn<T: Send + 'static>(
        load: impl FnOnce() -> Result<(EmbeddingEngine, T)> + Send + 'static,
        ready: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<Self> {
        Ok(Self { inbox: actor::spawn("gllm-embedder", load, ready)? })
    }

    /// Hands `texts` to the model's thread, which calls `respond` with the answer. Waits while 64 requests are
    /// before it.
    pub fn submit(
        &self,
        texts: Vec<String>,
        options: EmbedOptions,
        respond: impl FnOnce(Result<EmbeddingResponse>) + Send + 'static,
    ) {
        actor::submit(&self.inbox, EmbedRequest { texts, options, respond: Box::new(respond) });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use gllm_core::{InferenceError, InvalidConfig};

    use super::*;

    fn assert_send_sync<T: Send + Sync + Clone>(_: &T) {}

    #[test]
    fn a_model_that_fails_to_load_is_reported_and_refuses_requests() {
        let (ready, is_ready) = mpsc::channel();
        let load = || Err::<(EmbeddingEngine, ()), _>(InvalidConfig::new("device", "a", "b").into());
        let handle = EmbedderHandle::spawn(load, move |r| ready.send(r).expect("heard")).expect("a thread");
        assert_send_sync(&handle);
        let error = is_ready.recv().expect("an answer").expect_err("no model");
        assert!(matches!(error, Error::InvalidConfig(_)), "{error}");

        let (answer, answered) = mpsc::channel();
        handle.submit(vec!["x".into()], EmbedOptions::default(), move |r| answer.send(r).expect("heard"));
        let error = answered.recv().expect("an answer").expect_err("no thread");
        assert!(matches!(error, Error::InferenceError(InferenceError::Stopped { .. })), "{error}");
    }
}
