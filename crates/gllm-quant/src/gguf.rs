//! One GGUF file: its metadata and its tensors' places, validated, over the mapping of their data; and how one is
//! written.
//!
//! Everything is checked when a file is opened, and what follows is only slicing. Versions 2 and 3 are read, in either
//! byte order. Whatever the file states, reading its header takes at most one and a half times the file's size and
//! 16 MiB more. Source: `docs/gguf.md` of ggml (<https://github.com/ggml-org/ggml>), and `gguf.cpp` there for what that
//! page leaves open.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gllm_core::{LoadError, LoadProblem, Result};

use crate::mapped::Mapping;
use crate::named::Named;
use crate::{RawTensor, TensorInfo};

mod cursor;
mod metadata;
mod shards;
mod tensors;
mod value;
mod writer;

pub use metadata::Metadata;
pub use value::{Array, Value};
pub use writer::Writer;

use cursor::Cursor;
use tensors::Tensor;

pub(crate) use shards::{EXTENSION, open_folder, open_set};

const MAGIC: &[u8] = b"GGUF";
/// Where a file doesn't say.
const DEFAULT_ALIGNMENT: usize = 32;
const ALIGNMENT: &str = "general.alignment";

/// What the modules below return: the problem alone, since only this file knows the path.
type Outcome<T> = std::result::Result<T, LoadProblem>;

fn corrupt(reason: impl Into<String>) -> LoadProblem {
    LoadProblem::Corrupt { format: "GGUF".into(), reason: reason.into() }
}

fn unsupported(what: impl Into<String>, found: impl Into<String>, supported: &str) -> LoadProblem {
    LoadProblem::Unsupported { what: what.into(), found: found.into(), supported: supported.into() }
}

/// Whether `bytes` open as a GGUF file does.
pub(crate) fn is_gguf(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// A mapped GGUF file.
pub struct GgufFile {
    path: PathBuf,
    mapping: Mapping,
    bytes: Bytes,
    version: u32,
    is_big_endian: bool,
    alignment: usize,
    metadata: Metadata,
    tensors: Named<Tensor>,
}

/// What the header holds.
struct Header {
    version: u32,
    is_big_endian: bool,
    alignment: usize,
    metadata: Named<Value>,
    tensors: Named<Tensor>,
}

impl GgufFile {
    /// Maps the file at `path` and validates all of it but the values of its tensors.
    ///
    /// ```no_run
    /// # fn main() -> gllm_core::Result<()> {
    /// use gllm_quant::gguf::GgufFile;
    /// let file = GgufFile::open("model-q4_k_m.gguf".as_ref())?;
    /// println!("{}", file.metadata().require_string("general.architecture")?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`gllm_core::Error::Io`] if it can't be read; [`LoadError`] that names the key, tensor or byte where the file
    /// isn't GGUF of version 2 or 3, is cut, contradicts itself, or has tensors of a type that isn't supported.
    pub fn open(path: &Path) -> Result<Self> {
        Self::from_mapping(path, Mapping::open(path)?)
    }

    /// As [`GgufFile::open`], of a file that is mapped already.
    pub(crate) fn from_mapping(path: &Path, mapping: Mapping) -> Result<Self> {
        let bytes = mapping.bytes();
        let header = Header::parse(&bytes).map_err(|problem| LoadError::new(path, problem))?;
        let Header { version, is_big_endian, alignment, metadata, tensors } = header;
        let metadata = Metadata::new(path, metadata);
        Ok(Self { path: path.into(), mapping, bytes, version, is_big_endian, alignment, metadata, tensors })
    }

    pub(crate) fn release(&self) {
        self.mapping.release();
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The version of the format, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether numbers lie in the file with their highest byte first.
    #[must_use]
    pub fn is_big_endian(&self) -> bool {
        self.is_big_endian
    }

    /// What the tensors' places are multiples of, in bytes.
    #[must_use]
    pub fn alignment(&self) -> usize {
        self.alignment
    }

    /// What the file says of the model.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors' names, in file order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.get(name).is_some()
    }

    pub(crate) fn describe(&self, name: &str) -> Option<TensorInfo> {
        let tensor = self.tensors.get(name)?;
        Some(TensorInfo { shape: tensor.shape().to_vec(), dtype: tensor.dtype(), bytes: tensor.extent().len() })
    }

    /// The tensor called `name`: a slice of the mapping, or a copy where numbers of more than a byte are big-endian.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<RawTensor> {
        let tensor = self.tensors.get(name)?;
        let bytes = self.bytes.slice(tensor.extent());
        let bytes = if self.is_big_endian { tensor.to_little_endian(bytes) } else { bytes };
        Some(RawTensor { shape: tensor.shape().to_vec(), dtype: tensor.dtype(), bytes })
    }
}

// Derived, it would print the file's content.
impl fmt::Debug for GgufFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GgufFile")
            .field("path", &self.path)
            .field("version", &self.version)
            .field("tensors", &self.tensors.iter().len())
            .finish_non_exhaustive()
    }
}

impl Header {
    fn parse(bytes: &[u8]) -> Outcome<Self> {
        if !is_gguf(bytes) {
            return Err(corrupt("it doesn't start with `GGUF`"));
        }
        let version = bytes.get(4..8).and_then(|field| field.try_into().ok());
        let version = version.ok_or_else(|| corrupt("it ends within its version"))?;
        let (version, is_big_endian) = read_version(version)?;
        let mut cursor = Cursor::new(bytes, 8, is_big_endian);

        let n_tensors = cursor.count(format_args!("tensors"), tensors::MIN_INFO_BYTES)?;
        let n_keys = cursor.count(format_args!("metadata keys"), value::MIN_ENTRY_BYTES)?;
        let metadata = cursor.named(n_keys, "metadata key", Value::read)?;
        let alignment = read_alignment(metadata.get(ALIGNMENT))?;
        let tensors = tensors::read(&mut cursor, n_tensors, alignment)?;
        Ok(Self { version, is_big_endian, alignment, metadata, tensors })
    }
}

/// The version, and whether it is big-endian: read in the wrong order, it is huge.
fn read_version(field: [u8; 4]) -> Outcome<(u32, bool)> {
    let (little, big) = (u32::from_le_bytes(field), u32::from_be_bytes(field));
    match (little, big) {
        (2 | 3, _) => Ok((little, false)),
        (_, 2 | 3) => Ok((big, true)),
        _ => Err(unsupported("version of GGUF", little.min(big).to_string(), "2, 3")),
    }
}

/// The alignment that a file of this `general.alignment` has.
fn read_alignment(value: Option<&Value>) -> Outcome<usize> {
    let field = |found: String| LoadProblem::Field {
        field: ALIGNMENT.into(),
        expected: "a UINT32 that is a power of two".into(),
        found,
    };
    match value {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(Value::U32(value)) if value.is_power_of_two() => {
            usize::try_from(*value).map_err(|_| field(value.to_string()))
        }
        Some(other) => Err(field(other.brief())),
    }
}
