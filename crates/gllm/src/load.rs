//! From the name of a model to one that is ready: store or download, device, weights.

use std::path::{Path, PathBuf};

use gllm_core::{LoadError, LoadProblem, ModelInfo, ModelType, Result};
use gllm_hub::{ModelId, ModelRegistry, Progress, Settings, Store};
use gllm_models::{EmbeddingEngine, device};

use crate::ClientConfig;

/// A model that is ready, and what is known about it.
pub(crate) struct Loaded {
    pub(crate) engine: EmbeddingEngine,
    pub(crate) about: About,
}

/// What is known about a loaded model.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) info: ModelInfo,
    pub(crate) device: String,
}

/// Finds or downloads `model` and loads it as `config` says; the Hub's address, token and the like come from the
/// environment.
pub(crate) fn load(model: &str, config: ClientConfig, progress: &mut dyn Progress) -> Result<Loaded> {
    let mut hub = Settings::from_env()?.hub;
    hub.models_dir = config.models_dir;
    let id = ModelId::parse(model)?;
    // Before a download: a device that isn't there is an error at once.
    let opened = device::open(config.device)?;
    let folder = folder_of(Store::new(hub).fetch(&id, progress)?)?;
    let engine = EmbeddingEngine::load(&folder, &opened.device)?;
    let known = match &id {
        ModelId::Hub(id) => ModelRegistry::builtin().get(id.repo_id()),
        ModelId::Local(_) => None,
    };
    let (alias, repo_id) = match known {
        Some(entry) => (entry.info.alias.clone(), entry.info.repo_id.clone()),
        None => (model.to_owned(), id.to_string()),
    };
    let info = ModelInfo {
        alias,
        repo_id,
        model_type: ModelType::Embedding,
        architecture: engine.architecture(),
        dimensions: Some(engine.dimensions()),
        max_length: Some(engine.max_length()),
    };
    Ok(Loaded { engine, about: About { info, device: opened.description } })
}

/// The model's folder, where the caller named the weights in it.
fn folder_of(path: PathBuf) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(path);
    }
    match path.file_name().and_then(|name| name.to_str()) {
        Some("model.safetensors" | "model.safetensors.index.json") => {
            Ok(path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new(".")).to_path_buf())
        }
        name => {
            let (what, found) = ("file".into(), name.unwrap_or_default().to_owned());
            let supported = "model.safetensors or model.safetensors.index.json, beside its config.json".into();
            Err(LoadError::new(path, LoadProblem::Unsupported { what, found, supported }).into())
        }
    }
}
