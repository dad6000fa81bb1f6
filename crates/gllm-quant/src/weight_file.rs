//! One file of tensors, of whichever format.

use std::path::Path;

use bytes::Bytes;
use gllm_core::Result;

use crate::DType;
use crate::gguf::{self, GgufFile};
use crate::mapped::Mapping;
use crate::pytorch::PytorchFile;
use crate::safetensors_file::SafetensorsFile;

/// A tensor as it lies in its file.
#[derive(Clone, Debug)]
pub struct RawTensor {
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: DType,
    /// The elements, row-major, little-endian: a slice of the file's mapping, at any alignment; a copy
    /// only of a tensor that a PyTorch checkpoint doesn't store in this order, or a GGUF file not little-endian.
    pub bytes: Bytes,
}

/// What is known of a tensor without its elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: DType,
    /// Length of the elements in bytes.
    pub bytes: usize,
}

/// A mapped file of a format.
#[derive(Debug)]
#[non_exhaustive]
pub enum WeightFile {
    /// A safetensors file.
    Safetensors(SafetensorsFile),
    /// A PyTorch checkpoint.
    Pytorch(PytorchFile),
    /// A GGUF file.
    Gguf(GgufFile),
}

impl WeightFile {
    pub(crate) fn open_safetensors(path: &Path) -> Result<Self> {
        SafetensorsFile::open(path).map(Self::Safetensors)
    }

    pub(crate) fn open_pytorch(path: &Path) -> Result<Self> {
        PytorchFile::open(path).map(Self::Pytorch)
    }

    /// Opens the file by what it contains.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mapping = Mapping::open(path)?;
        let bytes = mapping.bytes();
        if gguf::is_gguf(&bytes) {
            return GgufFile::from_mapping(path, mapping).map(Self::Gguf);
        }
        // Behind the 8 bytes of its length, a safetensors header starts with a brace. There, an archive has
        // the method of its first entry, and a pickle a part of PyTorch's magic number.
        if bytes.get(8) == Some(&b'{') {
            SafetensorsFile::from_mapping(path, mapping).map(Self::Safetensors)
        } else {
            PytorchFile::from_mapping(path, mapping).map(Self::Pytorch)
        }
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Safetensors(file) => file.path(),
            Self::Pytorch(file) => file.path(),
            Self::Gguf(file) => file.path(),
        }
    }

    /// The tensors' names, in the order of the file.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Safetensors(file) => file.names().collect(),
            Self::Pytorch(file) => file.names().collect(),
            Self::Gguf(file) => file.names().collect(),
        }
    }

    /// Whether there is a tensor called `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Safetensors(file) => file.contains(name),
            Self::Pytorch(file) => file.contains(name),
            Self::Gguf(file) => file.contains(name),
        }
    }

    /// What is known of the tensor called `name`; unlike [`WeightFile::get`], never copies it.
    #[must_use]
    pub fn describe(&self, name: &str) -> Option<TensorInfo> {
        match self {
            Self::Safetensors(file) => file.describe(name),
            Self::Pytorch(file) => file.describe(name),
            Self::Gguf(file) => file.describe(name),
        }
    }

    /// The tensor called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<RawTensor> {
        match self {
            Self::Safetensors(file) => file.get(name),
            Self::Pytorch(file) => file.get(name),
            Self::Gguf(file) => file.get(name),
        }
    }

    /// Gives back the memory that its pages take, until they are read again.
    pub(crate) fn release(&self) {
        match self {
            Self::Safetensors(file) => file.release(),
            Self::Pytorch(file) => file.release(),
            Self::Gguf(file) => file.release(),
        }
    }
}
