//! The asynchronous client: the model lives on a thread of its own, the executor only waits.

use std::sync::Arc;

use gllm_core::{EmbeddingResponse, Message, ModelInfo, ModelType, RerankResponse, Result, Truncation};
use gllm_models::{EmbedOptions, RerankOptions};
use gllm_runtime::load::{About, look};
use gllm_runtime::{
    AsyncEmbedderHandle, AsyncGeneratorHandle, AsyncRerankerHandle, HandleConfig, RequestOptions, TextsConfig,
};

use crate::embeddings::embed_options;
use crate::generate::Input;
use crate::options::request_options;
use crate::rerank::rerank_options;
use crate::{AsyncGenerationBuilder, ClientConfig};

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
    handle: Handle,
    about: Arc<About>,
}

#[derive(Clone, Debug)]
enum Handle {
    Embedder(AsyncEmbedderHandle),
    Reranker(AsyncRerankerHandle),
    Generator(AsyncGeneratorHandle),
}

impl AsyncClient {
    /// As [`crate::Client::new`]; download and load happen on threads of their own.
    ///
    /// # Errors
    /// As [`crate::Client::new`].
    pub async fn new(model: &str) -> Result<Self> {
        Self::with_config(model, ClientConfig::from_env()?).await
    }

    /// As [`crate::Client::with_config`]; how requests are taken in may be told, too.
    ///
    /// # Errors
    /// As [`crate::Client::with_config`].
    pub async fn with_config(model: &str, config: impl Into<HandleConfig>) -> Result<Self> {
        let HandleConfig { client, queue } = config.into();
        let found = look(model, client).await?;
        let (handle, about) = match found.model_type() {
            ModelType::Rerank => {
                let (handle, about) = AsyncRerankerHandle::from_found(found, queue).await?;
                (Handle::Reranker(handle), about)
            }
            ModelType::Generator => {
                let (handle, about) = AsyncGeneratorHandle::from_found(found, TextsConfig::from(&queue)).await?;
                (Handle::Generator(handle), about)
            }
            _ => {
                let (handle, about) = AsyncEmbedderHandle::from_found(found, queue).await?;
                (Handle::Embedder(handle), about)
            }
        };
        Ok(Self { handle, about: Arc::new(about) })
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
        let (options, request) = (EmbedOptions::default(), RequestOptions::default());
        AsyncEmbeddingsBuilder { client: self, texts, options, request }
    }

    /// Ranks documents by how well they answer a query: set what is needed, then [`AsyncRerankBuilder::generate`].
    pub fn rerank<I>(&self, query: impl Into<String>, documents: I) -> AsyncRerankBuilder<'_>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let documents = documents.into_iter().map(Into::into).collect();
        let (options, request) = (RerankOptions::default(), RequestOptions::default());
        AsyncRerankBuilder { client: self, query: query.into(), documents, options, request }
    }
}

impl AsyncClient {
    /// Answers a prompt, as [`crate::Client::generate`] does: set what is needed, then
    /// [`AsyncGenerationBuilder::generate`] or [`AsyncGenerationBuilder::stream`].
    pub fn generate(&self, prompt: impl Into<String>) -> AsyncGenerationBuilder<'_> {
        AsyncGenerationBuilder::new(self, Input::prompt(prompt))
    }

    /// Answers the last message of a conversation, as [`crate::Client::chat`] does.
    pub fn chat(&self, messages: impl IntoIterator<Item = Message>) -> AsyncGenerationBuilder<'_> {
        AsyncGenerationBuilder::new(self, Input::chat(messages))
    }

    /// The generator, and whether it has a chat template.
    pub(crate) fn generator(&self) -> Result<(&AsyncGeneratorHandle, bool)> {
        match &self.handle {
            Handle::Generator(generator) => Ok((generator, self.about.has_chat_template)),
            Handle::Embedder(_) | Handle::Reranker(_) => Err(self.about.refuse(ModelType::Generator)),
        }
    }
}

/// A request for embeddings; [`AsyncEmbeddingsBuilder::generate`] answers it.
#[derive(Debug)]
#[must_use = "nothing is computed before `generate`"]
pub struct AsyncEmbeddingsBuilder<'a> {
    client: &'a AsyncClient,
    texts: Vec<String>,
    options: EmbedOptions,
    request: RequestOptions,
}

embed_options!(AsyncEmbeddingsBuilder<'_>);
request_options!(AsyncEmbeddingsBuilder<'_>);

impl AsyncEmbeddingsBuilder<'_> {
    /// As [`crate::EmbeddingsBuilder::generate`].
    ///
    /// # Errors
    /// As [`crate::EmbeddingsBuilder::generate`].
    pub async fn generate(self) -> Result<EmbeddingResponse> {
        let Handle::Embedder(embedder) = &self.client.handle else {
            return Err(self.client.about.refuse(ModelType::Embedding));
        };
        embedder.embed_with(self.texts, self.options, &self.request).await
    }
}

/// A request for a ranking; [`AsyncRerankBuilder::generate`] answers it.
#[derive(Debug)]
#[must_use = "nothing is computed before `generate`"]
pub struct AsyncRerankBuilder<'a> {
    client: &'a AsyncClient,
    query: String,
    documents: Vec<String>,
    options: RerankOptions,
    request: RequestOptions,
}

rerank_options!(AsyncRerankBuilder<'_>);
request_options!(AsyncRerankBuilder<'_>);

impl AsyncRerankBuilder<'_> {
    /// As [`crate::RerankBuilder::generate`].
    ///
    /// # Errors
    /// As [`crate::RerankBuilder::generate`].
    pub async fn generate(self) -> Result<RerankResponse> {
        let Handle::Reranker(reranker) = &self.client.handle else {
            return Err(self.client.about.refuse(ModelType::Rerank));
        };
        reranker.rerank_with(self.query, self.documents, self.options, &self.request).await
    }
}
