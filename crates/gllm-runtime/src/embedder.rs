//! Handles to a thread that owns an embedding model.

use gllm_core::{EmbeddingResponse, Result};
use gllm_models::{EmbedOptions, EmbeddingEngine};

use crate::engine::EmbedRequest;
use crate::handle::{Handle, loaded};
use crate::load::{About, Found, find};
use crate::queue::reply::Answer;
use crate::{ClientConfig, HandleConfig, QueueConfig, RequestOptions, Shutdown};

/// A way to a thread that owns an embedding model: requests that wait together are computed together. Clones share the thread; it ends
/// when the last one is gone and what was asked is answered.
///
/// ```no_run
/// let embedder = gllm_runtime::EmbedderHandle::new()?;
/// std::thread::scope(|scope| {
///     for text in ["text1", "text2"] {
///         let embedder = embedder.clone();
///         scope.spawn(move || embedder.embed(text));
///     }
/// });
/// # Ok::<(), gllm_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EmbedderHandle {
    handle: Handle<EmbeddingEngine>,
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
    /// As [`EmbedderHandle::with_config`].
    pub fn from_found(found: Found, queue: QueueConfig) -> Result<(Self, About)> {
        let (handle, is_ready) = Self::start(found, queue)?;
        Ok((handle, loaded(is_ready)?))
    }

    /// Loads a model that was found; the handle can be used when the answer is there.
    pub(crate) fn start(found: Found, queue: QueueConfig) -> Result<(Self, Answer<About>)> {
        let (handle, is_ready) = Handle::start(|| Ok(found), Found::load_embedder, queue)?;
        Ok((Self { handle }, is_ready))
    }

    /// Ends the thread.
    pub(crate) async fn close(&self, how: Shutdown) {
        self.handle.close(how).await;
    }

    /// The vector of a text.
    ///
    /// # Errors
    /// As [`EmbedderHandle::embed_with`].
    pub fn embed(&self, text: &str) -> Result<Vec<f32>> {
        self.embed_batch(&[text]).map(|mut vectors| vectors.pop().unwrap_or_default())
    }

    /// The vector of each text, in their order.
    ///
    /// # Errors
    /// As [`EmbedderHandle::embed_with`].
    pub fn embed_batch<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<f32>>> {
        let texts = texts.iter().map(|text| text.as_ref().into()).collect();
        self.embed_with(texts, EmbedOptions::default(), &RequestOptions::default()).map(vectors)
    }

    /// The vectors of each text, as `options` say. Waits for the answer, at most until the deadline in `request`.
    ///
    /// # Errors
    /// As [`EmbeddingEngine::embed`]; [`gllm_core::Busy`] for a full queue, where that is an error;
    /// [`gllm_core::OutOfMemory`] for a text that is too long for the device by itself;
    /// [`gllm_core::InferenceError`] for a request that is called back or late, a computation that panics, or a thread
    /// that has ended.
    pub fn embed_with(
        &self,
        texts: Vec<String>,
        options: EmbedOptions,
        request: &RequestOptions,
    ) -> Result<EmbeddingResponse> {
        self.handle.ask_and_wait(EmbedRequest { texts, options }, request)
    }

    /// Ends the thread, and waits for its end. Requests that come later are answered with
    /// [`gllm_core::InferenceError::Stopped`].
    pub fn shutdown(&self, how: Shutdown) {
        self.handle.close_and_wait(how);
    }

    /// The same thread, for asynchronous callers.
    #[cfg(feature = "async")]
    #[must_use]
    pub fn into_async(self) -> AsyncEmbedderHandle {
        AsyncEmbedderHandle { handle: self.handle }
    }
}

/// [`EmbedderHandle`] for asynchronous callers, on any executor: its answers are futures, and nothing blocks.
#[cfg(feature = "async")]
#[derive(Clone, Debug)]
pub struct AsyncEmbedderHandle {
    handle: Handle<EmbeddingEngine>,
}

#[cfg(feature = "async")]
impl AsyncEmbedderHandle {
    /// As [`EmbedderHandle::new`].
    ///
    /// # Errors
    /// As [`EmbedderHandle::with_config`].
    pub async fn new() -> Result<Self> {
        Self::with_model(EmbedderHandle::DEFAULT_MODEL).await
    }

    /// As [`EmbedderHandle::with_model`].
    ///
    /// # Errors
    /// As [`EmbedderHandle::with_config`].
    pub async fn with_model(model: &str) -> Result<Self> {
        Self::with_config(model, ClientConfig::from_env()?).await
    }

    /// As [`EmbedderHandle::with_config`]; what takes time happens on the model's thread.
    ///
    /// # Errors
    /// As [`EmbedderHandle::with_config`].
    pub async fn with_config(model: &str, config: impl Into<HandleConfig>) -> Result<Self> {
        let (HandleConfig { client, queue }, model) = (config.into(), model.to_owned());
        let (handle, is_ready) = Handle::start(move || find(&model, client, &mut ()), Found::load_embedder, queue)?;
        is_ready.await?;
        Ok(Self { handle })
    }

    /// As [`EmbedderHandle::from_found`].
    ///
    /// # Errors
    /// As [`EmbedderHandle::with_config`].
    pub async fn from_found(found: Found, queue: QueueConfig) -> Result<(Self, About)> {
        let (handle, is_ready) = EmbedderHandle::start(found, queue)?;
        Ok((handle.into_async(), is_ready.await?))
    }

    /// The vector of a text.
    ///
    /// # Errors
    /// As [`AsyncEmbedderHandle::embed_with`].
    pub async fn embed(&self, text: &str) -> Result<Vec<f32>> {
        let mut vectors = self.embed_batch(&[text]).await?;
        Ok(vectors.pop().unwrap_or_default())
    }

    /// The vector of each text, in their order.
    ///
    /// # Errors
    /// As [`AsyncEmbedderHandle::embed_with`].
    pub async fn embed_batch<T: AsRef<str>>(&self, texts: &[T]) -> Result<Vec<Vec<f32>>> {
        let texts = texts.iter().map(|text| text.as_ref().into()).collect();
        self.embed_with(texts, EmbedOptions::default(), &RequestOptions::default()).await.map(vectors)
    }

    /// The vectors of each text, as `options` say. Dropping the future calls the request back.
    ///
    /// # Errors
    /// As [`EmbeddingEngine::embed`]; [`gllm_core::Busy`] for a full queue, where that is an error;
    /// [`gllm_core::OutOfMemory`] for a text that is too long for the device by itself;
    /// [`gllm_core::InferenceError`] for a request that is called back or late, a computation that panics, or a thread
    /// that has ended.
    pub async fn embed_with(
        &self,
        texts: Vec<String>,
        options: EmbedOptions,
        request: &RequestOptions,
    ) -> Result<EmbeddingResponse> {
        self.handle.ask(EmbedRequest { texts, options }, request).await
    }

    /// As [`EmbedderHandle::shutdown`].
    pub async fn shutdown(&self, how: Shutdown) {
        self.handle.close(how).await;
    }
}

fn vectors(response: EmbeddingResponse) -> Vec<Vec<f32>> {
    response.embeddings.into_iter().map(|embedding| embedding.embedding).collect()
}
