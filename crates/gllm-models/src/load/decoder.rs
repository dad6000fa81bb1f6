//! Decoders: from a `config.json`, or the metadata of a GGUF file, to the family and its configuration.

mod folder;
mod gguf;

use std::fs;

use gllm_core::{Architecture, ModelType, Result};
use gllm_quant::WeightFiles;

use super::gguf_file::ARCHITECTURE;
use super::{Kind, Task};
use crate::DecoderConfig;
use crate::config::read_json;
use crate::decoder_names::DecoderNames;
use crate::modules::Modules;

/// The `model_type`s that are decoders, for error messages.
pub(crate) const SUPPORTED: &str = "qwen2, qwen3, mistral, llama, gemma2, qwen3_moe, mixtral, codexembed2b";

/// What GGUF calls them: Mistral, Mixtral and SmolLM are Llama there.
pub(crate) const IN_GGUF: [&str; 5] = ["llama", "qwen2", "qwen3", "qwen3moe", "gemma2"];

/// GGUF's numbers for a pooling.
const NO_POOLING: u32 = 0;
const RANK_POOLING: u32 = 4;

/// What a decoder's files say about it.
#[derive(Debug)]
pub(crate) struct DecoderFamily {
    pub(crate) architecture: Architecture,
    pub(crate) names: &'static DecoderNames,
    pub(crate) config: DecoderConfig,
    /// The task that the checkpoint was saved for.
    pub(crate) task: Task,
}

/// Whether the files are a decoder's.
///
/// # Errors
/// [`gllm_core::LoadError`] for a `config.json` that is malformed, or metadata that don't name a network.
pub(crate) fn has(files: &WeightFiles) -> Result<bool> {
    if let Some(metadata) = files.metadata() {
        return Ok(IN_GGUF.contains(&metadata.require_string(ARCHITECTURE)?));
    }
    let kind: Option<Kind> = read_json(&files.folder().join("config.json"))?;
    let model_type = kind.and_then(|kind| kind.model_type).unwrap_or_default();
    Ok(SUPPORTED.split(", ").any(|name| name == model_type))
}

/// What a decoder is for, by the rule of [`super::model_type`].
///
/// # Errors
/// [`gllm_core::LoadError`] for files that are malformed.
pub(crate) fn model_type(files: &WeightFiles) -> Result<ModelType> {
    if let Some(metadata) = files.metadata() {
        let architecture = metadata.require_string(ARCHITECTURE)?;
        return Ok(match metadata.u32(&format!("{architecture}.pooling_type"))? {
            None | Some(NO_POOLING) => ModelType::Generator,
            Some(RANK_POOLING) => ModelType::Rerank,
            Some(_) => ModelType::Embedding,
        });
    }
    let folder = files.folder();
    let kind: Kind = read_json(&folder.join("config.json"))?.unwrap_or_default();
    if kind.task() == Task::Classification {
        return Ok(ModelType::Rerank);
    }
    if let Some(modules) = Modules::read(folder)? {
        return Ok(if modules.logit_score().is_some() { ModelType::Rerank } else { ModelType::Embedding });
    }
    let readme = fs::read(folder.join("README.md")).unwrap_or_default();
    let is_heading = |line: &str| line.starts_with('#') && line.to_lowercase().contains("# qwen3-reranker");
    let is_reranker = String::from_utf8_lossy(&readme).lines().any(is_heading);
    Ok(if is_reranker { ModelType::Rerank } else { ModelType::Generator })
}

/// Reads the metadata of GGUF files, or the `config.json` beside others.
///
/// # Errors
/// [`gllm_core::LoadError`] if there is no `config.json`, a field is out of range, or it names a network that isn't a
/// decoder that is supported.
pub(crate) fn read(files: &WeightFiles) -> Result<DecoderFamily> {
    match files.metadata() {
        Some(metadata) => gguf::read(files, metadata),
        None => folder::read(files.folder()),
    }
}
