//! The file itself: written beside its place, and put there by one rename.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use gllm_core::{Error, Result};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::Writer;

use super::metadata::Entries;
use super::tensors::Planned;

/// Who wants to know how far an export is; `()` doesn't.
pub trait ExportProgress {
    /// So many tensors will be written, of so many bytes.
    fn started(&mut self, tensors: usize, bytes: u64) {
        let _ = (tensors, bytes);
    }

    /// The next tensor.
    fn tensor(&mut self, name: &str) {
        let _ = name;
    }

    /// So many bytes are written.
    fn advanced(&mut self, done_bytes: u64) {
        let _ = done_bytes;
    }

    /// Whether to stop; the file is deleted then.
    fn cancelled(&self) -> bool {
        false
    }
}

impl ExportProgress for () {}

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exported {
    /// How many tensors it has.
    pub tensors: usize,
    /// Its size.
    pub bytes: u64,
    /// What its tensors take, by their type, the largest first.
    pub types: Vec<TypeTotal>,
}

/// The tensors of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeTotal {
    /// As GGUF calls it: `Q4_K`.
    pub name: String,
    /// How many there are.
    pub tensors: usize,
    /// How many values they have.
    pub values: u64,
    /// What they take.
    pub bytes: u64,
}

/// Writes `tensors` of `files` and the metadata to `out`.
pub(super) fn write(
    out: &Path,
    entries: Entries,
    tensors: &[Planned],
    files: &WeightFiles,
    progress: &mut dyn ExportProgress,
) -> Result<Exported> {
    let mut writer = Writer::new();
    for (key, value) in entries.into_inner() {
        writer.add(&key, value)?;
    }
    for tensor in tensors {
        writer.add_tensor(&tensor.name, &tensor.shape, tensor.dtype)?;
    }
    let failed = |e: io::Error| Error::io("cannot write", out, &e);
    let staged = Staged::beside(out);
    let mut file = File::create(&staged.path).map_err(failed)?;

    progress.started(tensors.len(), tensors.iter().map(Planned::bytes).sum());
    let (mut done, mut next) = (0, tensors.iter());
    writer.write(BufWriter::new(&mut file), |name, sink| {
        progress.tensor(name);
        // The writer asks for them in the order in which they were added.
        let Some(tensor) = next.next() else { return Ok(()) };
        tensor.write(files, |piece| {
            if progress.cancelled() {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "cancelled").into());
            }
            sink.write_all(piece).map_err(failed)?;
            done += piece.len() as u64;
            progress.advanced(done);
            Ok(())
        })
    })?;
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    staged.publish(out)?;
    Ok(Exported { tensors: tensors.len(), bytes, types: totals(tensors) })
}

/// What the tensors of each type take, the largest first.
fn totals(tensors: &[Planned]) -> Vec<TypeTotal> {
    let mut types: BTreeMap<String, TypeTotal> = BTreeMap::new();
    for tensor in tensors {
        let name = tensor.dtype.to_string();
        let none = TypeTotal { name: name.clone(), tensors: 0, values: 0, bytes: 0 };
        let total = types.entry(name).or_insert(none);
        total.tensors += 1;
        total.values += tensor.len() as u64;
        total.bytes += tensor.bytes();
    }
    let mut types: Vec<_> = types.into_values().collect();
    types.sort_by_key(|total| std::cmp::Reverse(total.bytes));
    types
}

/// A file under another name, deleted unless it is put into its place.
struct Staged {
    path: PathBuf,
    is_done: bool,
}

impl Staged {
    fn beside(out: &Path) -> Self {
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        Self { path: out.with_file_name(name), is_done: false }
    }

    fn publish(mut self, out: &Path) -> Result<()> {
        fs::rename(&self.path, out).map_err(|e| Error::io("cannot write", out, &e))?;
        self.is_done = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_done {
            // If it was never made, there is nothing to delete.
            let _ = fs::remove_file(&self.path);
        }
    }
}
