//! What a client may be told.

use std::path::PathBuf;

use gllm_core::{Device, Precision, Result};
use gllm_hub::Settings;
use gllm_models::CacheType;

/// Where models are stored, and what they run on.
///
/// ```
/// use gllm_core::Device;
/// use gllm_runtime::ClientConfig;
/// let config = ClientConfig { device: Device::Cpu, ..ClientConfig::default() };
/// assert!(config.models_dir.ends_with("models"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// The folder of the store, `~/.gllm/models` unless configured otherwise.
    pub models_dir: PathBuf,
    /// The device to run on.
    pub device: Device,
    /// The numbers that the linear layers of a model in floats are multiplied in.
    pub precision: Precision,
    /// How a model that writes text keeps what it has read: in half precision it takes half of the memory.
    pub cache_type: CacheType,
}

impl ClientConfig {
    /// What the environment and `~/.gllm/config.toml` say, else the defaults.
    ///
    /// # Errors
    /// [`gllm_core::InvalidConfig`] that names the variable or key which is out of range.
    pub fn from_env() -> Result<Self> {
        let Settings { hub, device, precision, .. } = Settings::from_env()?;
        Ok(Self { models_dir: hub.models_dir, device, precision, cache_type: CacheType::default() })
    }
}

impl Default for ClientConfig {
    /// `models` in `GLLM_HOME`, else in `~/.gllm`; [`Device::Auto`], [`Precision::Auto`]. What `config.toml` and other
    /// variables say is in [`ClientConfig::from_env`].
    fn default() -> Self {
        let models_dir = gllm_hub::home().unwrap_or_else(|| ".gllm".into()).join("models");
        Self { models_dir, device: Device::Auto, precision: Precision::Auto, cache_type: CacheType::default() }
    }
}
