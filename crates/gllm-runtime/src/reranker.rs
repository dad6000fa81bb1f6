//! Handles to a thread that owns a reranker.

use gllm_core::{RerankResponse, Result};
use gllm_models::{RerankEngine, RerankOptions};

use crate::engine::RerankRequest;
use crate::handle::{Handle, loaded};
use crate::load::{About, Found, find};
use crate::queue::reply::Answer;
use crate::{ClientConfig, HandleConfig, QueueConfig, RequestOptions, Shutdown};

/// A way to a thread that owns a reranker: requests that wait together are computed together. Clones share the thread; it ends
/// when the last one is gone and what was asked is answered.
///
/// ```no_run
/// let reranker = gllm_runtime::RerankerHandle::new()?;
/// let response = reranker.rerank("What is a panda?", &["A bear.", "A Python library."])?;
/// # Ok::<(), gllm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RerankerHandle {
    handle: Handle<RerankEngine>,
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

    /// Loads `model`, with another store, device or queue, and waits until it is ready.
    ///
    /// # Errors
    /// [`gllm_core::ModelNotFound`], [`gllm_core::DownloadError`], or [`gllm_core::LoadError`] that names the file;
    /// [`gllm_core::InvalidConfig`] for a model that is for something else, a device that isn't there, or a setting that
    /// is out of range.
    pub fn with_config(model: &str, config: impl Into<HandleConfig>) -> Result<Self> {
        let HandleConfig { client, queue } = config.into();
        Ok(Self::from_found(find(model, client, &mut ())?, queue)?.0)
    }

    /// Loads a model that was found, and waits until it is ready.
    ///
    /// # Errors
    /// As [`RerankerHandle::with_config`].
    pub fn from_found(found: Found, queue: QueueConfig) -> Result<(Self, About)> {
        let (handle, is_ready) = Self::start(found, queue)?;
        Ok((handle, loaded(is_ready)?))
    }

    /// Loads a model that was found; the handle can be used when the answer is there.
    pub(crate) fn start(found: Found, queue: QueueConfig) -> Result<(Self, Answer<About>)> {
        let (handle, is_ready) = Handle::start(|| Ok(found), Found::load_reranker, queue)?;
        Ok((Self { handle }, is_ready))
    }

    /// Ends the thread.
    pub(crate) async fn close(&self, how: Shutdown) {
        self.handle.close(how).await;
    }

    /// Scores each of `documents` by how well it answers `query`, the best first.
    ///
    /// # Errors
    /// As [`RerankerHandle::rerank_with`].
    pub fn rerank<T: AsRef<str>>(&self, query: &str, documents: &[T]) -> Result<RerankResponse> {
        let documents = documents.iter().map(|text| text.as_ref().into()).collect();
        self.rerank_with(query.into(), documents, RerankOptions::default(), &RequestOptions::default())
    }

    /// The same, as `options` say. Waits for the answer, at most until the deadline in `request`.
    ///
    /// # Errors
    /// As [`RerankEngine::rerank`]; [`gllm_core::Busy`] for a full queue, where that is an error;
    /// [`gllm_core::OutOfMemory`] for a pair that is too long for the device by itself;
    /// [`gllm_core::InferenceError`] for a request that is called back or late, a computation that panics, or a thread
    /// that has ended.
    pub fn rerank_with(
        &self,
        query: String,
        documents: Vec<String>,
        options: RerankOptions,
        request: &RequestOptions,
    ) -> Result<RerankResponse> {
        self.handle.ask_and_wait(RerankRequest { query, documents, options }, request)
    }

    /// Ends the thread, and waits for its end. Requests that come later are answered with
    /// [`gllm_core::InferenceError::Stopped`].
    pub fn shutdown(&self, how: Shutdown) {
        self.handle.close_and_wait(how);
    }

    /// The same thread, for asynchronous callers.
    #[cfg(feature = "async")]
    #[must_use]
    pub fn into_async(self) -> AsyncRerankerHandle {
        AsyncRerankerHandle { handle: self.handle }
    }
}

/// [`RerankerHandle`] for asynchronous callers, on any executor: its answers are futures, and nothing blocks.
#[cfg(feature = "async")]
#[derive(Clone, Debug)]
pub struct AsyncRerankerHandle {
    handle: Handle<RerankEngine>,
}

#[cfg(feature = "async")]
impl AsyncRerankerHandle {
    /// As [`RerankerHandle::new`].
    ///
    /// # Errors
    /// As [`RerankerHandle::with_config`].
    pub async fn new() -> Result<Self> {
        Self::with_model(RerankerHandle::DEFAULT_MODEL).await
    }

    /// As [`RerankerHandle::with_model`].
    ///
    /// # Errors
    /// As [`RerankerHandle::with_config`].
    pub async fn with_model(model: &str) -> Result<Self> {
        Self::with_config(model, ClientConfig::from_env()?).await
    }

    /// As [`RerankerHandle::with_config`]; what takes time happens on the model's thread.
    ///
    /// # Errors
    /// As [`RerankerHandle::with_config`].
    pub async fn with_config(model: &str, config: impl Into<HandleConfig>) -> Result<Self> {
        let (HandleConfig { client, queue }, model) = (config.into(), model.to_owned());
        let (handle, is_ready) = Handle::start(move || find(&model, client, &mut ()), Found::load_reranker, queue)?;
        is_ready.await?;
        Ok(Self { handle })
    }

    /// As [`RerankerHandle::from_found`].
    ///
    /// # Errors
    /// As [`RerankerHandle::with_config`].
    pub async fn from_found(found: Found, queue: QueueConfig) -> Result<(Self, About)> {
        let (handle, is_ready) = RerankerHandle::start(found, queue)?;
        Ok((handle.into_async(), is_ready.await?))
    }

    /// Scores each of `documents` by how well it answers `query`, the best first.
    ///
    /// # Errors
    /// As [`AsyncRerankerHandle::rerank_with`].
    pub async fn rerank<T: AsRef<str>>(&self, query: &str, documents: &[T]) -> Result<RerankResponse> {
        let documents = documents.iter().map(|text| text.as_ref().into()).collect();
        self.rerank_with(query.into(), documents, RerankOptions::default(), &RequestOptions::default()).await
    }

    /// The same, as `options` say. Dropping the future calls the request back.
    ///
    /// # Errors
    /// As [`RerankEngine::rerank`]; [`gllm_core::Busy`] for a full queue, where that is an error;
    /// [`gllm_core::OutOfMemory`] for a pair that is too long for the device by itself;
    /// [`gllm_core::InferenceError`] for a request that is called back or late, a computation that panics, or a thread
    /// that has ended.
    pub async fn rerank_with(
        &self,
        query: String,
        documents: Vec<String>,
        options: RerankOptions,
        request: &RequestOptions,
    ) -> Result<RerankResponse> {
        self.handle.ask(RerankRequest { query, documents, options }, request).await
    }

    /// As [`RerankerHandle::shutdown`].
    pub async fn shutdown(&self, how: Shutdown) {
        self.handle.close(how).await;
    }
}
