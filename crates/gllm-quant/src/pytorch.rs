//! One PyTorch checkpoint: a pickled state dict, validated, over the mapping of its tensors' data.
//!
//! Opening a file executes nothing and copies no tensor: its pickle goes through an interpreter of our
//! own, because the readers that exist either skip over what they don't know or copy every tensor, and
//! this one refuses by name and hands out slices of the mapping. Only a tensor that isn't contiguous is
//! copied, when it is asked for; such copies together are never larger than the file.
//!
//! Source: `torch/serialization.py` of PyTorch 2, for the zip archive that `torch.save` writes since 1.6
//! and for the sequence of pickles that it wrote before. Checksums within the archive aren't compared:
//! `torch.save` can be told to leave them out, and comparing them would read the whole file.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gllm_core::{LoadError, LoadProblem, Result};

use crate::mapped::Mapping;
use crate::memory::{self, Memory};
use crate::named::Named;
use crate::{RawTensor, TensorInfo};

mod archive;
mod globals;
mod layout;
mod legacy;
mod objects;
mod pickle;
mod state_dict;
mod zip;

use archive::Archive;
use layout::Layout;
use objects::Storage;

/// What the modules below return: the problem alone, since only this file knows the path.
type Outcome<T> = std::result::Result<T, LoadProblem>;

fn corrupt(reason: impl Into<String>) -> LoadProblem {
    LoadProblem::Corrupt { format: "PyTorch".into(), reason: reason.into() }
}

fn unsupported(what: &str, found: impl Into<String>, supported: &str) -> LoadProblem {
    LoadProblem::Unsupported { what: what.into(), found: found.into(), supported: supported.into() }
}

/// A mapped PyTorch checkpoint.
pub struct PytorchFile {
    path: PathBuf,
    mapping: Mapping,
    bytes: Bytes,
    tensors: Named<Layout>,
}

impl PytorchFile {
    /// Maps the file at `path` and validates all of it but the values of its tensors.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::from_mapping(path, Mapping::open(path)?)
    }

    /// As [`PytorchFile::open`], of a file that is mapped already.
    pub(crate) fn from_mapping(path: &Path, mapping: Mapping) -> Result<Self> {
        let bytes = mapping.bytes();
        match read(&bytes) {
            Ok(tensors) => Ok(Self { path: path.into(), mapping, bytes, tensors }),
            Err(problem) => Err(LoadError::new(path, problem).into()),
        }
    }

    pub(crate) fn release(&self) {
        self.mapping.release();
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors' names, in the order of the state dict.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.get(name).is_some()
    }

    pub(crate) fn describe(&self, name: &str) -> Option<TensorInfo> {
        let layout = self.tensors.get(name)?;
        Some(TensorInfo { shape: layout.shape().to_vec(), dtype: layout.dtype().into(), bytes: layout.bytes() })
    }

    /// The tensor called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<RawTensor> {
        let layout = self.tensors.get(name)?;
        let bytes = match layout.gather(&self.bytes) {
            Cow::Borrowed(slice) => self.bytes.slice_ref(slice),
            Cow::Owned(copy) => Bytes::from(copy),
        };
        Some(RawTensor { shape: layout.shape().to_vec(), dtype: layout.dtype().into(), bytes })
    }
}

// Derived, it would print the file's content.
impl fmt::Debug for PytorchFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PytorchFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Finds every tensor of the file.
fn read(bytes: &[u8]) -> Outcome<Named<Layout>> {
    let mut memory = Memory::of_file(bytes.len());
    charge(&mut memory, 1, pickle::STACK_BYTES)?;
    if zip::is_archive(bytes) {
        let archive = Archive::parse(bytes, &mut memory)?;
        let pickle = pickle::parse(&bytes[archive.pickle()], 0, &mut memory)?;
        state_dict::layouts(&pickle, bytes.len(), &mut memory, |storage| archive.storage(storage))
    } else if legacy::is_pickle(bytes) {
        let file = legacy::parse(bytes, &mut memory)?;
        state_dict::layouts(&file.state_dict, bytes.len(), &mut memory, |storage| file.storage(storage))
    } else {
        Err(corrupt("it opens neither as a zip archive nor as a pickle"))
    }
}

/// Takes what `count` parts of so many `bytes` are.
fn charge(memory: &mut Memory, count: usize, bytes: usize) -> Outcome<()> {
    memory.take(count, bytes).ok_or_else(|| corrupt(memory::EXCEEDED))
}

/// `range`, if it is as long as the storage's elements are.
fn of_declared_size(storage: &Storage<'_>, range: Range<usize>) -> Outcome<Range<usize>> {
    if storage.bytes() == Some(range.len()) {
        return Ok(range);
    }
    let Storage { key, elements, .. } = storage;
    let size = storage.element_size();
    Err(corrupt(format!(
        "storage `{key}` is declared as {elements} elements of {size} bytes, and the file holds {} bytes of it",
        range.len()
    )))
}
