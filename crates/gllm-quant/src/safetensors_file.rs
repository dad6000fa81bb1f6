//! One safetensors file: its header, validated, over the mapping of its data.
//!
//! Source: <https://github.com/huggingface/safetensors#format>. The `safetensors` crate checks the
//! header's length (at most 100 MB and within the file), that tensors neither overlap nor leave gaps,
//! that each length is its shape times its element size, and that the last one ends where the file does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gllm_core::{LoadError, LoadProblem, Result};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;

use crate::mapped::Mapping;
use crate::{RawTensor, TensorInfo};

/// A mapped safetensors file.
pub struct SafetensorsFile {
    path: PathBuf,
    header: Metadata,
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
        let (header_len, header) = SafeTensors::read_metadata(&bytes).map_err(|e| {
            let reason = format!("{e} ({} bytes in the file)", bytes.len());
            LoadError::new(path, LoadProblem::Corrupt { format: "safetensors".into(), reason })
        })?;
        // The length field itself takes 8 bytes.
        let data = bytes.slice(8 + header_len..);
        let described = header.data_len();
        if described != data.len() {
            let reason = format!("its header describes {described} bytes of tensors, the file holds {}", data.len());
            return Err(LoadError::new(path, LoadProblem::Corrupt { format: "safetensors".into(), reason }).into());
        }
        Ok(Self { path: path.into(), header, data, mapping })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The texts that the file has beside its tensors, `__metadata__`, sorted.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<&str, &str> {
        let texts = self.header.metadata().iter().flatten();
        texts.map(|(key, text)| (key.as_str(), text.as_str())).collect()
    }

    /// The tensors' names, in file order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    pub(crate) fn describe(&self, name: &str) -> Option<TensorInfo> {
        let info = self.header.info(name)?;
        let (start, end) = info.data_offsets;
        Some(TensorInfo { shape: info.shape.clone(), dtype: info.dtype.into(), bytes: end - start })
    }

    pub(crate) fn release(&self) {
        self.mapping.release();
    }

    /// The tensor called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<RawTensor> {
        let info = self.header.info(name)?;
        let (start, end) = info.data_offsets;
        Some(RawTensor { shape: info.shape.clone(), dtype: info.dtype.into(), bytes: self.data.slice(start..end) })
    }
}

// Derived, it would print the file's content.
impl fmt::Debug for SafetensorsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SafetensorsFile").field("path", &self.path).finish_non_exhaustive()
    }
}
