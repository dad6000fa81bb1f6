//! Decoders: from a `config.json`, or the metadata of a GGUF file, to the family and its configuration.

mod folder;
mod gguf;

use gllm_core::{Architecture, Result};
use gllm_quant::WeightFiles;

use crate::DecoderConfig;
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

/// Whether a `config.json` with this `model_type` is a decoder's.
pub(crate) fn is_decoder(model_type: &str) -> bool {
    SUPPORTED.split(", ").any(|name| name == model_type)
}

/// Whether a GGUF file with this `general.architecture` is a decoder's.
pub(crate) fn is_gguf_decoder(architecture: &str) -> bool {
    gguf::ARCHITECTURES.contains(&architecture)
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
