//! From a GGUF file to another of another type: the same keys and tensors, the weights in fewer bits.
//!
//! Only floats are quantised: what is quantised already would lose twice. Source: `llama-quant.cpp` of llama.cpp.

use gllm_core::{LoadError, Result};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::Metadata;

use super::QUANTIZATION_VERSION;
use super::metadata::Entries;
use super::mixture::{FileType, ModelSize};
use super::tensors::{Planned, Rows};
use crate::config::unsupported;

/// What says how a file was quantised, or split, and what is written anew.
const OWN: [&str; 5] =
    ["general.file_type", "general.quantization_version", "split.no", "split.count", "split.tensors.count"];

/// The metadata and tensors to write for `files`, which are GGUF and say `metadata`.
///
/// # Errors
/// [`LoadError`] for a file that is quantised, or of a mixture of experts.
pub(super) fn read(files: &WeightFiles, metadata: &Metadata, of: FileType) -> Result<(Entries, Vec<Planned>)> {
    let arch = metadata.require_string("general.architecture")?;
    let size = |name: &str| metadata.usize(&format!("{arch}.{name}"));
    if size("expert_count")?.is_some_and(|experts| experts > 0) {
        let problem = unsupported("architecture", format!("{arch} with experts"), "dense models");
        return Err(LoadError::new(files.folder(), problem).into());
    }
    let heads = size("attention.head_count")?.unwrap_or(1);
    let model = ModelSize {
        layers: size("block_count")?.unwrap_or(0),
        heads,
        kv_heads: size("attention.head_count_kv")?.unwrap_or(heads),
        is_tied: !files.contains("output.weight"),
    };
    let planned = |name: &str| Planned::tensor(name.into(), name.into(), Rows::From(0), files, of, model);
    let tensors = files.names().map(planned).collect::<Result<_>>()?;
    let mut entries = Entries::default();
    for (key, value) in metadata.iter().filter(|(key, _)| !OWN.contains(key)) {
        entries.set(key, value.clone());
    }
    entries.u32("general.file_type", of.number());
    entries.u32("general.quantization_version", QUANTIZATION_VERSION);
    Ok((entries, tensors))
}
