//! The weights of one model: every tensor by name, whatever files they are spread over.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use gllm_core::{Error, LoadError, LoadProblem, Result};
use serde::Deserialize;

use crate::DType;
use crate::safetensors_file::SafetensorsFile;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// A tensor as it lies in its file.
#[derive(Clone, Debug)]
pub struct RawTensor {
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: DType,
    /// The elements, row-major, little-endian: a slice of the file's mapping.
    pub bytes: Bytes,
}

/// The weight files of a model, mapped, and an index over their tensors.
#[derive(Debug)]
pub struct WeightFiles {
    folder: PathBuf,
    files: Vec<SafetensorsFile>,
    /// Tensor name → place in `files`.
    tensors: BTreeMap<String, usize>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

impl WeightFiles {
    /// Opens `model.safetensors` in `folder`, or the shards that `model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// [`LoadError`] for a folder with neither, a corrupt file, an index that names a file outside the
    /// folder or a tensor that its shard doesn't hold.
    pub fn open(folder: &Path) -> Result<Self> {
        if folder.join(SINGLE).is_file() {
            return Self::from_files(folder, vec![SafetensorsFile::open(&folder.join(SINGLE))?]);
        }
        let index_path = folder.join(INDEX);
        if index_path.is_file() {
            return Self::open_sharded(folder, &index_path);
        }
        let problem = LoadProblem::MissingFile { expected: format!("{SINGLE} or {INDEX}") };
        Err(LoadError::new(folder, problem).into())
    }

    fn open_sharded(folder: &Path, index_path: &Path) -> Result<Self> {
        let corrupt = |reason: String| {
            Error::from(LoadError::new(index_path, LoadProblem::Corrupt { format: "shard index".into(), reason }))
        };
        let text = fs::read_to_string(index_path).map_err(|e| Error::io("cannot read", index_path, &e))?;
        let index: ShardIndex = serde_json::from_str(&text).map_err(|e| corrupt(e.to_string()))?;

        let mut places = BTreeMap::new();
        let mut files = Vec::new();
        for shard in index.weight_map.values() {
            if shard.contains(['/', '\\']) || shard == ".." {
                return Err(corrupt(format!("`{shard}` is not the name of a file in the folder")));
            }
            if !places.contains_key(shard) {
                places.insert(shard.clone(), files.len());
                files.push(SafetensorsFile::open(&folder.join(shard))?);
            }
        }
        for (tensor, shard) in &index.weight_map {
            if files[places[shard]].get(tensor).is_none() {
                return Err(corrupt(format!("tensor `{tensor}` is not in `{shard}`")));
            }
        }
        Self::from_files(folder, files)
    }

    fn from_files(folder: &Path, files: Vec<SafetensorsFile>) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for (place, file) in files.iter().enumerate() {
            for name in file.names() {
                if let Some(other) = tensors.insert(name.clone(), place) {
                    let reason = format!("tensor `{name}` is also in `{}`", files[other].path().display());
                    let problem = LoadProblem::Corrupt { format: "safetensors".into(), reason };
                    return Err(LoadError::new(file.path(), problem).into());
                }
            }
        }
        Ok(Self { folder: folder.into(), files, tensors })
    }

    /// The folder that the files are in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor called `name`, and the file it is in.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(RawTensor, &Path)> {
        let file = &self.files[*self.tensors.get(name)?];
        Some((file.get(name)?, file.path()))
    }
}
