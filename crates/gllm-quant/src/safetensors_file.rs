//! One safetensors file: its header, validated, over the mapping of its data.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gllm_core::{LoadError, Result};

use crate::mapped::Mapping;
use crate::named::Named;
use crate::safetensors_header::{Header, Tensor};
use crate::{RawTensor, TensorInfo};

/// A mapped safetensors file.
pub struct SafetensorsFile {
    path: PathBuf,
    metadata: BTreeMap<String, String>,
    tensors: Named<Tensor>,
    /// Everything behind the header.
    data: Bytes,
    mapping: Mapping,
}

impl SafetensorsFile {
    /// Maps the file at `path` and validates its header.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Self::from_mapping(path, Mapping::open(path)?)
    }

    /// As [`SafetensorsFile::open`], of a file that is mapped already.
    pub(crate) fn from_mapping(path: &Path, mapping: Mapping) -> Result<Self> {
        let bytes = mapping.bytes();
        let Header { data, metadata, tensors } =
            Header::parse(&bytes).map_err(|problem| LoadError::new(path, problem))?;
        Ok(Self { path: path.into(), metadata, tensors, data: bytes.slice(data..), mapping })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The texts that the file has beside its tensors, `__metadata__`, sorted.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<&str, &str> {
        self.metadata.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect()
    }

    /// The tensors' names, in file order.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|(name, _)| name)
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.get(name).is_some()
    }

    pub(crate) fn describe(&self, name: &str) -> Option<TensorInfo> {
        let Tensor { shape, dtype, extent } = self.tensors.get(name)?;
        Some(TensorInfo { shape: shape.clone(), dtype: (*dtype).into(), bytes: extent.len() })
    }

    pub(crate) fn release(&self) {
        self.mapping.release();
    }

    /// The tensor called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<RawTensor> {
        let Tensor { shape, dtype, extent } = self.tensors.get(name)?;
        Some(RawTensor { shape: shape.clone(), dtype: (*dtype).into(), bytes: self.data.slice(extent.clone()) })
    }
}

// Derived, it would print the file's content.
impl fmt::Debug for SafetensorsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SafetensorsFile").field("path", &self.path).finish_non_exhaustive()
    }
}
