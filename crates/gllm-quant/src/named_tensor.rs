//! A tensor that knows its name and its file, so that whatever is wrong with it can be said.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use gllm_core::{Error, LoadError, LoadProblem, Result};

use crate::{DType, RawTensor, WeightFiles};

/// A tensor, and what errors about it say.
#[derive(Clone, Debug)]
pub struct NamedTensor {
    /// Its name in the file.
    pub name: String,
    /// The file it is in.
    pub path: PathBuf,
    /// What it holds.
    pub raw: RawTensor,
}

impl NamedTensor {
    /// `raw`, which is called `name` in the file at `path`.
    #[must_use]
    pub fn new(name: impl Into<String>, path: &Path, raw: RawTensor) -> Self {
        Self { name: name.into(), path: path.into(), raw }
    }

    /// The tensor called `name`, if there is one.
    #[must_use]
    pub fn find(files: &WeightFiles, name: &str) -> Option<Self> {
        files.get(name).map(|(raw, path)| Self::new(name, path, raw))
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`LoadProblem::MissingTensor`] if there is none.
    pub fn require(files: &WeightFiles, name: &str) -> Result<Self> {
        Self::find(files, name).ok_or_else(|| {
            let problem = LoadProblem::MissingTensor { tensor: name.into(), nearest: None };
            LoadError::new(files.folder(), problem).into()
        })
    }

    /// The error that `problem` with this tensor is.
    pub(crate) fn error(&self, problem: LoadProblem) -> Error {
        LoadError::new(&self.path, problem).into()
    }

    /// Something that its values must not be.
    pub(crate) fn corrupt(&self, reason: impl AsRef<str>) -> Error {
        let reason = format!("tensor `{}`: {}", self.name, reason.as_ref());
        self.error(LoadProblem::Corrupt { format: "weight".into(), reason })
    }

    /// Its elements as 32-bit words; it must be of `shape`.
    pub(crate) fn words(&self, shape: &[usize]) -> Result<Vec<u32>> {
        self.integers(shape, safetensors::Dtype::I32, u32::from_le_bytes)
    }

    /// Its elements as they are, of the type `dtype`; it must be of `shape`.
    pub(crate) fn integers<T, const N: usize>(
        &self,
        shape: &[usize],
        dtype: safetensors::Dtype,
        element: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>> {
        if self.raw.dtype != DType::Other(dtype) {
            return Err(self.wrong_type(&format!("{dtype:?}")));
        }
        let bytes = self.bytes(shape, N)?;
        Ok(bytes.as_chunks::<N>().0.iter().map(|chunk| element(*chunk)).collect())
    }

    /// Its elements, widened to `f32`; it must be of `shape`, and F16, BF16 or F32.
    pub(crate) fn floats(&self, shape: &[usize]) -> Result<Vec<f32>> {
        let expected = "F16, BF16, F32";
        let size = match self.raw.dtype {
            DType::F32 => 4,
            DType::F16 | DType::BF16 => 2,
            _ => return Err(self.wrong_type(expected)),
        };
        self.raw.dtype.to_f32(self.bytes(shape, size)?).ok_or_else(|| self.wrong_type(expected))
    }

    /// The bytes of a tensor that is of `shape`, with elements of `size` bytes.
    fn bytes(&self, shape: &[usize], size: usize) -> Result<&Bytes> {
        if self.raw.shape != shape {
            let (expected, found) = (shape.to_vec(), self.raw.shape.clone());
            return Err(self.error(LoadProblem::Shape { tensor: self.name.clone(), expected, found }));
        }
        let length = shape.iter().try_fold(size, |length, dimension| length.checked_mul(*dimension));
        if length != Some(self.raw.bytes.len()) {
            return Err(self.corrupt("its bytes are not as many as its shape says"));
        }
        Ok(&self.raw.bytes)
    }

    fn wrong_type(&self, expected: &str) -> Error {
        let (tensor, found) = (self.name.clone(), self.raw.dtype.to_string());
        self.error(LoadProblem::DType { tensor, expected: expected.into(), found })
    }
}
