//! Decoders: from a `config.json`, or the metadata of a GGUF file, to the family and its configuration.

mod folder;
mod gguf;

use gllm_core::{Architecture, Result};
use gllm_quant::WeightFiles;

use super::Kind;
use crate::DecoderConfig;
use crate::config::read_json;
use crate::decoder_names::DecoderNames;

/// The `model_type`s that are decoders, for error messages.
pub(crate) const SUPPORTED: &str = "qwen2, qwen3, mistral, llama, gemma2, qwen3_moe, mixtral";

/// What a decoder's files say about it.
#[derive(Debug)]
pub(crate) struct DecoderFamily {
    pub(crate) architecture: Architecture,
    pub(crate) names: &'static DecoderNames,
    pub(crate) config: DecoderConfig,
}

/// Whether the files are a decoder's.
///
/// # Errors
/// [`gllm_core::LoadError`] for a `config.json` that is malformed, or metadata that don't name a network.
pub(crate) fn has(files: &WeightFiles) -> Result<bool> {
    if let Some(metadata) = files.metadata() {
        return Ok(gguf::ARCHITECTURES.contains(&metadata.require_string(gguf::ARCHITECTURE)?));
    }
    let kind: Option<Kind> = read_json(&files.folder().join("config.json"))?;
    let model_type = kind.and_then(|kind| kind.model_type).unwrap_or_default();
    Ok(SUPPORTED.split(", ").any(|name| name == model_type))
}

/// Whether a decoder's files say how its hidden states become a vector.
///
/// # Errors
/// [`gllm_core::LoadError`] for metadata of another type than they should be.
pub(crate) fn is_embedder(files: &WeightFiles) -> Result<bool> {
    match files.metadata() {
        Some(metadata) => {
            let architecture = metadata.require_string(gguf::ARCHITECTURE)?;
            Ok(metadata.u32(&format!("{architecture}.pooling_type"))?.is_some_and(|pooling| pooling > 0))
        }
        None => Ok(files.folder().join("modules.json").is_file()),
    }
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
