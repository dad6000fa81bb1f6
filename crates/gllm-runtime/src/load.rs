//! From the name of a model to one that is ready: store or download, device, weights.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gllm_core::{
    Architecture, Device, Error, InvalidConfig, LoadError, LoadProblem, ModelInfo, ModelType, Precision, Result,
};
use gllm_hub::{ModelId, ModelRegistry, Progress, Settings, Store};
use gllm_models::device::{self, OpenDevice};
use gllm_models::{CacheType, EmbeddingEngine, GenerationEngine, RerankEngine, Target};

use crate::ClientConfig;

/// A model's files in place, and a device for them. What it loads, it can load again.
#[derive(Clone, Debug)]
pub struct Found {
    model_type: ModelType,
    name: String,
    id: ModelId,
    /// A folder, or a GGUF file.
    path: PathBuf,
    /// The device as it was asked for, and what it became.
    asked: Device,
    device: OpenDevice,
    precision: Precision,
    cache_type: CacheType,
    _held: Option<Held>,
}

/// What is dropped with the last [`Found`] of a model: where a thread owns the model, when that has ended.
pub(crate) type Held = Arc<dyn Any + Send + Sync>;

/// What is known about a loaded model.
#[derive(Clone, Debug)]
pub struct About {
    /// The model.
    pub info: ModelInfo,
    /// The device that was taken, for people: `cpu (flex)`.
    pub device: String,
    /// Whether it can answer a conversation.
    pub has_chat_template: bool,
}

/// Finds or downloads `model`, for a device as `config` says; the Hub's address, token and the like come from the
/// environment.
///
/// # Errors
/// [`gllm_core::ModelNotFound`], [`gllm_core::DownloadError`], [`LoadError`] for a folder that doesn't say what it is;
/// [`InvalidConfig`] for a device that isn't there.
pub fn find(model: &str, config: ClientConfig, progress: &mut dyn Progress) -> Result<Found> {
    let mut hub = Settings::from_env()?.hub;
    hub.models_dir.clone_from(&config.models_dir);
    let id = ModelId::parse(model)?;
    // Before a download: a device that isn't there is an error at once.
    let (asked, device) = (config.device, device::open(config.device)?);
    let path = loadable(Store::new(hub).fetch(&id, progress)?)?;
    // A decoder's files don't always say what it is for.
    let model_type = match known(&id) {
        Some(info) => info.model_type,
        None => gllm_models::model_type(&path)?,
    };
    let (name, ClientConfig { precision, cache_type, .. }) = (model.to_owned(), config);
    Ok(Found { model_type, name, id, path, asked, device, precision, cache_type, _held: None })
}

/// As [`find`], on a thread of its own.
///
/// # Errors
/// As [`find`].
pub async fn look(model: &str, config: ClientConfig) -> Result<Found> {
    look_holding(model, config, None).await
}

/// The same, of a model that holds something, from now on.
pub(crate) async fn look_holding(model: &str, config: ClientConfig, held: Option<Held>) -> Result<Found> {
    let (reply, answer) = crate::queue::reply::reply();
    let model = model.to_owned();
    let find = move || find(&model, config, &mut ()).map(|found| Found { _held: held, ..found });
    let look = move || reply.give(crate::failure::guarded(find));
    std::thread::Builder::new().name("gllm-fetch".into()).spawn(look)?;
    answer.await
}

/// What the registry says of a model.
fn known(id: &ModelId) -> Option<&'static ModelInfo> {
    match id {
        ModelId::Hub(id) => ModelRegistry::builtin().entry(id).map(|entry| &entry.info),
        _ => None,
    }
}

impl Found {
    /// What the model is for.
    #[must_use]
    pub fn model_type(&self) -> ModelType {
        self.model_type
    }

    /// The same files for a device that is opened again.
    pub(crate) fn reopened(&self) -> Result<Self> {
        self.on(self.asked)
    }

    /// The same files for another device.
    pub(crate) fn on(&self, asked: Device) -> Result<Self> {
        Ok(Self { asked, device: device::open(asked)?, ..self.clone() })
    }

    /// Whether the device is the CPU.
    pub(crate) fn is_on_cpu(&self) -> bool {
        self.device.is_cpu()
    }

    /// Reads an embedding model's weights onto the device.
    ///
    /// # Errors
    /// [`LoadError`] that names the file and what is wrong with it; [`InvalidConfig`] for a model that is for something
    /// else.
    pub fn load_embedder(&self) -> Result<(EmbeddingEngine, About)> {
        self.require(ModelType::Embedding)?;
        let engine = EmbeddingEngine::load(&self.path, self.target())?;
        let info = self.info(engine.architecture().clone(), engine.dimensions(), engine.max_length());
        Ok((engine, About { info, device: self.device.description.clone(), has_chat_template: false }))
    }

    /// As [`Found::load_embedder`], of a reranker.
    ///
    /// # Errors
    /// As [`Found::load_embedder`].
    pub fn load_reranker(&self) -> Result<(RerankEngine, About)> {
        self.require(ModelType::Rerank)?;
        let engine = RerankEngine::load(&self.path, self.target())?;
        let info = self.info(engine.architecture().clone(), None, engine.max_length());
        Ok((engine, About { info, device: self.device.description.clone(), has_chat_template: false }))
    }

    /// As [`Found::load_embedder`], of a model that writes text.
    ///
    /// # Errors
    /// As [`Found::load_embedder`].
    pub fn load_generator(&self) -> Result<(GenerationEngine, About)> {
        self.require(ModelType::Generator)?;
        let engine = GenerationEngine::load(&self.path, self.target())?.with_cache_type(self.cache_type);
        let info = self.info(engine.architecture().clone(), None, engine.max_length());
        let has_chat_template = engine.has_chat_template();
        Ok((engine, About { info, device: self.device.description.clone(), has_chat_template }))
    }

    fn target(&self) -> Target {
        Target::new(self.device.device.clone(), self.precision)
    }

    /// Bytes that the weights take when they are loaded: [`gllm_models::weight_bytes`].
    ///
    /// # Errors
    /// [`LoadError`] if there are no weights, or they are malformed.
    pub fn weight_bytes(&self) -> Result<u64> {
        gllm_models::weight_bytes(&self.path)
    }

    /// Refuses a model that is for something else.
    pub(crate) fn require(&self, expected: ModelType) -> Result<()> {
        if self.model_type == expected {
            return Ok(());
        }
        Err(refused(expected, &self.name, self.model_type))
    }

    fn info(&self, architecture: Architecture, dimensions: Option<usize>, max_length: usize) -> ModelInfo {
        let (alias, repo_id) = match known(&self.id) {
            Some(known) => (known.alias.clone(), known.repo_id.clone()),
            None => (self.name.clone(), self.id.to_string()),
        };
        let (model_type, max_length) = (self.model_type, Some(max_length));
        ModelInfo { alias, repo_id, model_type, architecture, dimensions, max_length }
    }
}

impl About {
    /// The error of a request for what this model isn't for.
    #[must_use]
    pub fn refuse(&self, expected: ModelType) -> Error {
        refused(expected, &self.info.alias, self.info.model_type)
    }
}

/// The error of asking a model that is for `found` for what one of `expected` does.
pub(crate) fn refused(expected: ModelType, name: &str, found: ModelType) -> Error {
    let expected = match expected {
        ModelType::Rerank => "a reranker",
        ModelType::Generator => "a model that writes text",
        _ => "an embedding model",
    };
    InvalidConfig::new("model", expected, format!("`{name}`, which is for {found}")).into()
}

/// What engines load: a folder, also where the caller named the weights in it, or a GGUF file, which needs none.
fn loadable(path: PathBuf) -> Result<PathBuf> {
    const WEIGHTS: [&str; 4] =
        ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
    let is_gguf = path.extension().is_some_and(|extension| extension == "gguf");
    if is_gguf || path.is_dir() {
        return Ok(path);
    }
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if WEIGHTS.contains(&name) => {
            Ok(path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")).to_path_buf())
        }
        name => {
            let (what, found) = ("file".into(), name.unwrap_or_default().to_owned());
            let supported = format!("a .gguf file, or {} beside config.json", WEIGHTS.join(", "));
            Err(LoadError::new(path, LoadProblem::Unsupported { what, found, supported }).into())
        }
    }
}
