//! From a model's folder to a GGUF file that llama.cpp loads: metadata, tokenizer and tensors, of any type.
//!
//! Invariants: a file appears whole, by one rename, or not at all; a tensor passes through in pieces, so that memory
//! doesn't grow with the model; what llama.cpp would compute in another way is refused by name. Source:
//! `convert_hf_to_gguf.py` and `llama-quant.cpp` of llama.cpp, whose keys, names and types these are.
//!
//! No tensor library is needed here, but the families' configurations and names are.

mod card;
mod decoder;
mod file;
mod metadata;
mod mixture;
mod model_name;
mod origin;
mod requantize;
mod special_tokens;
mod tensors;
mod tokenizer;

use std::path::Path;

use gllm_core::{LoadError, Result};
use gllm_quant::WeightFiles;
use serde::Deserialize;

pub use file::{ExportProgress, Exported, TypeTotal};
pub use mixture::FileType;

use crate::config::{require_config, unsupported};
use crate::load::{self, Family, Task};
use crate::names::{self, Names};
use decoder::Decoder;
use metadata::Entries;
use tensors::{Encoder, Planned};

/// The encoders that llama.cpp has: what gllm calls the family, what it does, and where it keeps the tensors.
const ENCODERS: [(&str, &str, &Names); 5] = [
    ("bert", "bert", &names::GGUF_BERT),
    ("roberta", "bert", &names::GGUF_BERT),
    ("xlm-roberta", "bert", &names::GGUF_BERT),
    ("distilbert", "bert", &names::GGUF_BERT),
    ("nomic_bert", "nomic-bert", &names::GGUF_NOMIC_BERT),
];

/// Blocks have this layout since 2023. Source: `GGML_QNT_VERSION`.
const QUANTIZATION_VERSION: u32 = 2;

/// Writes the model at `path` to the GGUF file `out`, its tensors of the type `of`, replacing a file that is there.
///
/// `path` is a model's folder, or a GGUF file of floats.
///
/// ```no_run
/// use gllm_models::{FileType, export_gguf};
/// let written = export_gguf("./model".as_ref(), "model-q8.gguf".as_ref(), FileType::Q8_0, &mut ())?;
/// println!("{} bytes", written.bytes);
/// # Ok::<(), gllm_core::Error>(())
/// ```
///
/// # Errors
/// [`LoadError`] for a model that is malformed, or that GGUF has no place for; [`gllm_core::Error::Io`] if `out` can't
/// be written, or `progress` was cancelled. There is no file then, or the one that was there before.
pub fn export_gguf(path: &Path, out: &Path, of: FileType, progress: &mut dyn ExportProgress) -> Result<Exported> {
    if path.is_file() && path.extension().is_none_or(|extension| extension != "gguf") {
        let problem = unsupported("file", path.display().to_string(), "a model's folder, or a GGUF file");
        return Err(LoadError::new(path, problem).into());
    }
    let files = WeightFiles::open(path)?;
    let (entries, tensors) = match files.metadata() {
        Some(metadata) => requantize::read(&files, metadata, of)?,
        None => checkpoint(path, &files, of)?,
    };
    file::write(out, entries, &tensors, &files, progress)
}

/// `config.json`, as far as it says which model it is of.
#[derive(Deserialize)]
struct Kind {
    #[serde(default)]
    model_type: String,
}

fn checkpoint(folder: &Path, files: &WeightFiles, of: FileType) -> Result<(Entries, Vec<Planned>)> {
    let (path, Kind { model_type }) = require_config(folder)?;
    let mut entries = Entries::default();
    let (vocab_size, tensors) = if let Some(decoder) = Decoder::read(folder, &model_type)? {
        let tensors = decoder.tensors(files, of)?;
        start(decoder.arch, folder, &tensors, &mut entries)?;
        decoder.metadata(folder, &mut entries)?;
        (decoder.vocab_size(), tensors)
    } else {
        let Family { architecture, names: from, config, task } = load::read(files)?;
        let name = architecture.to_string();
        let Some((_, arch, to)) = ENCODERS.into_iter().find(|(family, ..)| *family == name) else {
            let supported = format!("{}, {}", ENCODERS.map(|(family, ..)| family).join(", "), Decoder::supported());
            return Err(LoadError::new(path, unsupported("architecture in GGUF", name, &supported)).into());
        };
        let tensors = Encoder { config: &config, task, from, to }.plan(files, of)?;
        start(arch, folder, &tensors, &mut entries)?;
        metadata::encoder(folder, arch, &config, &mut entries)?;
        match task {
            Task::Classification => metadata::labels(folder, arch, &mut entries)?,
            Task::MaskedLm | Task::CausalLm | Task::None => metadata::pooling(folder, arch, &mut entries)?,
        }
        (config.vocab_size, tensors)
    };
    entries.u32("general.file_type", of.number());
    entries.u32("general.quantization_version", QUANTIZATION_VERSION);
    tokenizer::write(folder, vocab_size, &mut entries)?;
    Ok((entries, tensors))
}

/// Writes what comes first: what the file is, and where it is from.
fn start(arch: &str, folder: &Path, tensors: &[Planned], entries: &mut Entries) -> Result<()> {
    entries.text("general.architecture", arch);
    entries.text("general.type", "model");
    origin::write(folder, tensors.iter().map(Planned::len).sum(), entries)
}
