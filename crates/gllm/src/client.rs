//! The synchronous client.

use std::collections::BTreeMap;

use gllm_core::{Message, ModelInfo, ModelType, Result};
use gllm_hub::Progress;
use gllm_models::{EmbeddingEngine, GenerationEngine, RerankEngine};
use gllm_runtime::load::{About, find};

use crate::generate::Input;
use crate::{ClientConfig, EmbeddingsBuilder, GenerationBuilder, RerankBuilder};

/// A loaded model that answers on the caller's thread.
///
/// ```no_run
/// let client = gllm::Client::new("all-MiniLM-L6-v2")?;
/// let response = client.embeddings(["text1", "text2"]).generate()?;
/// assert_eq!(response.embeddings[1].embedding.len(), 384);
/// # Ok::<(), gllm::Error>(())
/// ```
#[derive(Debug)]
pub struct Client {
    engine: Engine,
    about: About,
}

#[derive(Debug)]
enum Engine {
    Embedder(Box<EmbeddingEngine>),
    Reranker(Box<RerankEngine>),
    Generator(Box<GenerationEngine>),
}

impl Client {
    /// Loads `model`, downloading it if it isn't in the store, as the environment and `~/.gllm/config.toml` say.
    ///
    /// `model` is an alias of the [registry](gllm_hub::ModelRegistry), `org/name` or `org/name:file.gguf`, each with
    /// `@revision` if need be, or the path of a folder with a model's files, of the weights in it, or of a GGUF file.
    ///
    /// # Errors
    /// [`gllm_core::ModelNotFound`], [`gllm_core::DownloadError`], or [`gllm_core::LoadError`] that names the file.
    pub fn new(model: &str) -> Result<Self> {
        Self::with_config(model, ClientConfig::from_env()?)
    }

    /// As [`Client::new`], with another store or device.
    ///
    /// # Errors
    /// As [`Client::new`]; [`gllm_core::InvalidConfig`] for a device that isn't there.
    pub fn with_config(model: &str, config: ClientConfig) -> Result<Self> {
        Self::with_progress(model, config, &mut ())
    }

    /// As [`Client::with_config`], telling `progress` about a download.
    ///
    /// # Errors
    /// As [`Client::with_config`].
    pub fn with_progress(model: &str, config: ClientConfig, progress: &mut dyn Progress) -> Result<Self> {
        let found = find(model, config, progress)?;
        let (engine, about) = match found.model_type() {
            ModelType::Rerank => {
                let (engine, about) = found.load_reranker()?;
                (Engine::Reranker(engine.into()), about)
            }
            ModelType::Generator => {
                let (engine, about) = found.load_generator()?;
                (Engine::Generator(engine.into()), about)
            }
            _ => {
                let (engine, about) = found.load_embedder()?;
                (Engine::Embedder(engine.into()), about)
            }
        };
        Ok(Self { engine, about })
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

    /// The model's prompts by name, for [`EmbeddingsBuilder::prompt_name`].
    #[must_use]
    pub fn prompts(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        match &self.engine {
            Engine::Embedder(engine) => engine.prompts(),
            Engine::Reranker(_) | Engine::Generator(_) => &NONE,
        }
    }

    /// Whether the model can answer a conversation: it comes with a chat template.
    #[must_use]
    pub fn has_chat_template(&self) -> bool {
        self.about.has_chat_template
    }

    /// The tokens of a text, without the special tokens that are added to it.
    ///
    /// # Errors
    /// [`gllm_core::InferenceError`] with what the tokenizer said.
    pub fn count_tokens(&self, text: &str) -> Result<usize> {
        let tokenizer = match &self.engine {
            Engine::Embedder(engine) => engine.tokenizer(),
            Engine::Reranker(engine) => engine.tokenizer(),
            Engine::Generator(engine) => engine.tokenizer(),
        };
        Ok(tokenizer.ids(text, false)?.len())
    }

    /// Embeds texts: set what is needed, then [`EmbeddingsBuilder::generate`].
    pub fn embeddings<I>(&self, input: I) -> EmbeddingsBuilder<'_>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        EmbeddingsBuilder::new(self, input.into_iter().map(Into::into).collect())
    }

    /// Ranks documents by how well they answer a query: set what is needed, then [`RerankBuilder::generate`].
    ///
    /// ```no_run
    /// let client = gllm::Client::new("bge-reranker-v2")?;
    /// let response = client.rerank("What is a panda?", ["A bear.", "A Python library."]).top_n(1).generate()?;
    /// println!("{}", response.results[0].index);
    /// # Ok::<(), gllm::Error>(())
    /// ```
    pub fn rerank<I>(&self, query: impl Into<String>, documents: I) -> RerankBuilder<'_>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        RerankBuilder::new(self, query.into(), documents.into_iter().map(Into::into).collect())
    }

    /// Answers a prompt: set what is needed, then [`GenerationBuilder::generate`] or [`GenerationBuilder::stream`]. The
    /// prompt goes through the model's chat template, if it has one, as what a user says.
    ///
    /// ```no_run
    /// let client = gllm::Client::new("qwen2.5-coder-0.5b-instruct")?;
    /// let response = client.generate("Write a haiku about Rust.").max_new_tokens(64).generate()?;
    /// println!("{} ({})", response.text, response.finish_reason);
    /// # Ok::<(), gllm::Error>(())
    /// ```
    pub fn generate(&self, prompt: impl Into<String>) -> GenerationBuilder<'_> {
        GenerationBuilder::new(self, Input::prompt(prompt))
    }

    /// Answers the last message of a conversation, by the model's own chat template.
    ///
    /// ```no_run
    /// use gllm::Message;
    /// let client = gllm::Client::new("qwen2.5-coder-0.5b-instruct")?;
    /// let messages = [Message::system("Answer in one word."), Message::user("What is the capital of France?")];
    /// assert_eq!(client.chat(messages).temperature(0.0).generate()?.text, "Paris");
    /// # Ok::<(), gllm::Error>(())
    /// ```
    pub fn chat(&self, messages: impl IntoIterator<Item = Message>) -> GenerationBuilder<'_> {
        GenerationBuilder::new(self, Input::chat(messages))
    }

    pub(crate) fn embedder(&self) -> Result<&EmbeddingEngine> {
        match &self.engine {
            Engine::Embedder(engine) => Ok(engine),
            Engine::Reranker(_) | Engine::Generator(_) => Err(self.about.refuse(ModelType::Embedding)),
        }
    }

    pub(crate) fn reranker(&self) -> Result<&RerankEngine> {
        match &self.engine {
            Engine::Reranker(engine) => Ok(engine),
            Engine::Embedder(_) | Engine::Generator(_) => Err(self.about.refuse(ModelType::Rerank)),
        }
    }

    pub(crate) fn generator(&self) -> Result<&GenerationEngine> {
        match &self.engine {
            Engine::Generator(engine) => Ok(engine),
            Engine::Embedder(_) | Engine::Reranker(_) => Err(self.about.refuse(ModelType::Generator)),
        }
    }
}
