//! The asynchronous client: the model lives on a thread of its own, the executor only waits.

use gllm_core::{EmbeddingResponse, InferenceError, ModelInfo, Result, Truncation};
use gllm_models::EmbedOptions;
use gllm_runtime::EmbedderHandle;
use tokio::sync::oneshot;

use crate::ClientConfig;
use crate::embeddings::embed_options;
use crate::load::{About, Loaded, load};

/// A loaded model on a thread of its own. Works on any executor; clones share the model.
///
/// ```no_run
/// # async fn example() -> gllm::Result<()> {
/// let client = gllm::AsyncClient::new("all-MiniLM-L6-v2").await?;
/// let response = client.embeddings(["text1", "text2"]).generate().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AsyncClient {
    embedder: EmbedderHandle,
    about: std::sync::Arc<About>,
}

impl AsyncClient {
    /// As [`crate::Client::new`]; download and load happen on the model's thread.
    ///
    /// # Errors
    /// As [`crate::Client::new`].
    pub async fn new(model: &str) -> Result<Self> {
        Self::with_config(model, ClientConfig::from_env()?).await
    }

    /// As [`crate::Client::with_config`].
    ///
    /// # Errors
    /// As [`crate::Client::with_config`].
    pub async fn with_config(model: &str, config: ClientConfig) -> Result<Self> {
        let (ready, is_ready) = oneshot::channel();
        let model = model.to_owned();
        let load = move || load(&model, config, &mut ()).map(|Loaded { engine, about }| (engine, about));
        // If nobody waits any more, nobody needs the answer; this holds for each `send` below.
        let embedder = EmbedderHandle::spawn(load, |loaded| drop(ready.send(loaded)))?;
        let about = is_ready.await.map_err(|_| stopped())??;
        Ok(Self { embedder, about: about.into() })
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

    /// Embeds texts: set what is needed, then [`AsyncEmbeddingsBuilder::generate`].
    pub fn embeddings<I>(&self, input: I) -> AsyncEmbeddingsBuilder<'_>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let texts = input.into_iter().map(Into::into).collect();
        AsyncEmbeddingsBuilder { embedder: &self.embedder, texts, options: EmbedOptions::default() }
    }
}

fn stopped() -> InferenceError {
    InferenceError::Stopped { reason: "it ended without an answer".into() }
}

/// A request for embeddings; [`AsyncEmbeddingsBuilder::generate`] answers it.
#[derive(Debug)]
#[must_use = "nothing is computed before `generate`"]
pub struct AsyncEmbeddingsBuilder<'a> {
    embedder: &'a EmbedderHandle,
    texts: Vec<String>,
    options: EmbedOptions,
}

embed_options!(AsyncEmbeddingsBuilder<'_>);

impl AsyncEmbeddingsBuilder<'_> {
    /// As [`crate::EmbeddingsBuilder::generate`].
    ///
    /// # Errors
    /// As [`crate::EmbeddingsBuilder::generate`].
    pub async fn generate(self) -> Result<EmbeddingResponse> {
        let (answer, answered) = oneshot::channel();
        self.embedder.submit(self.texts, self.options, |response| drop(answer.send(response)));
        answered.await.map_err(|_| stopped())?
    }
}
