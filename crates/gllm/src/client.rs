//! The synchronous client.

use std::collections::BTreeMap;

use gllm_core::{ModelInfo, Result};
use gllm_hub::Progress;
use gllm_models::EmbeddingEngine;

use crate::load::{About, Loaded, load};
use crate::{ClientConfig, EmbeddingsBuilder};

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
    engine: EmbeddingEngine,
    about: About,
}

impl Client {
    /// Loads `model`, downloading it if it isn't in the store, as the environment and `~/.gllm/config.toml` say.
    ///
    /// `model` is an alias of the [registry](gllm_hub::ModelRegistry), `org/name`, either with `@revision`, or the path
    /// of a folder with a model's files or of the weights in it.
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
        let Loaded { engine, about } = load(model, config, progress)?;
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
        self.engine.prompts()
    }

    /// Embeds texts: set what is needed, then [`EmbeddingsBuilder::generate`].
    pub fn embeddings<I>(&self, input: I) -> EmbeddingsBuilder<'_>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        EmbeddingsBuilder::new(&self.engine, input)
    }
}
