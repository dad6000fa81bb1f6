//! The weights of one model: every tensor by name, whatever files they are spread over.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::{fmt, fs};

use gllm_core::{Error, LoadError, LoadProblem, Result};
use serde::Deserialize;

use crate::gguf::{self, Metadata};
use crate::{RawTensor, TensorInfo, WeightFile};

/// What a folder may hold, the first that is there being taken: the file of all tensors, the index of its
/// shards, and how their files are opened. Safetensors come first: where a model has both, the other one is
/// for programs that can't read them. GGUF files, which may have any name, come last.
const FORMATS: [(&str, &str, OpenFile); 2] = [
    ("model.safetensors", "model.safetensors.index.json", WeightFile::open_safetensors),
    ("pytorch_model.bin", "pytorch_model.bin.index.json", WeightFile::open_pytorch),
];

type OpenFile = fn(&Path) -> Result<WeightFile>;

/// The weight files of a model, mapped: no tensor is in two of them.
pub struct WeightFiles {
    folder: PathBuf,
    files: Vec<WeightFile>,
}

/// `model.safetensors.index.json` or `pytorch_model.bin.index.json`.
#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

// Derived, it would print the files' content.
impl fmt::Debug for WeightFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<_> = self.files.iter().map(WeightFile::path).collect();
        f.debug_struct("WeightFiles").field("files", &files).finish_non_exhaustive()
    }
}

impl WeightFiles {
    /// Opens `model.safetensors` in `folder`, or the shards that `model.safetensors.index.json` lists; in a
    /// folder with neither, `pytorch_model.bin`, or the shards that `pytorch_model.bin.index.json` lists; in a
    /// folder with none of these, its one `.gguf` file, or the one set of `.gguf` shards. `folder` may also be the path
    /// of a `.gguf` file, or of one of a set.
    ///
    /// The files are mapped: nobody may write to them as long as this or a tensor of it is alive. Replace a file by
    /// renaming another one.
    ///
    /// # Errors
    /// [`LoadError`] for a folder with none of them or with several models in GGUF, a corrupt file, a pickle that is
    /// more than a state dict, an index that names a file outside the folder or a tensor that its shard doesn't hold,
    /// a set of `.gguf` files that isn't whole.
    pub fn open(folder: &Path) -> Result<Self> {
        if folder.extension().is_some_and(|extension| extension == gguf::EXTENSION) && folder.is_file() {
            return Self::open_file(folder);
        }
        for (single, index, open) in FORMATS {
            if folder.join(single).is_file() {
                return Self::from_files(folder, vec![open(&folder.join(single))?]);
            }
            if folder.join(index).is_file() {
                return Self::open_sharded(folder, &folder.join(index), open);
            }
        }
        if folder.is_dir() {
            let files = gguf::open_folder(folder)?;
            if !files.is_empty() {
                return Self::from_files(folder, files.into_iter().map(WeightFile::Gguf).collect());
            }
        }
        let names = FORMATS.iter().flat_map(|(single, index, _)| [*single, *index]);
        let names: Vec<_> = names.chain(["a .gguf file"]).collect();
        Err(LoadError::new(folder, LoadProblem::MissingFile { expected: names.join(" or ") }).into())
    }

    /// Opens the one file at `path`, whatever its name is: safetensors, a PyTorch checkpoint or GGUF, by content. Of a
    /// GGUF file that is one of several, the others are opened too.
    ///
    /// ```no_run
    /// # fn main() -> gllm_core::Result<()> {
    /// use gllm_quant::WeightFiles;
    /// let files = WeightFiles::open_file("bge-m3/sparse_linear.pt".as_ref())?;
    /// let (weight, _) = files.get("weight").expect("a linear layer");
    /// assert_eq!(weight.shape, [1, 1024]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such file, otherwise as [`WeightFiles::open`].
    pub fn open_file(path: &Path) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let files = match WeightFile::open(path)? {
            WeightFile::Gguf(file) => gguf::open_set(file)?.into_iter().map(WeightFile::Gguf).collect(),
            file => vec![file],
        };
        Self::from_files(folder, files)
    }

    fn open_sharded(folder: &Path, index_path: &Path, open: OpenFile) -> Result<Self> {
        let corrupt = |reason: String| {
            Error::from(LoadError::new(index_path, LoadProblem::Corrupt { format: "shard index".into(), reason }))
        };
        let text = fs::read_to_string(index_path).map_err(|e| Error::io("cannot read", index_path, &e))?;
        let index: ShardIndex = serde_json::from_str(&text).map_err(|e| corrupt(e.to_string()))?;

        let mut places = BTreeMap::new();
        let mut files = Vec::new();
        for shard in index.weight_map.values() {
            if !is_file_name(shard) {
                return Err(corrupt(format!("`{shard}` is not the name of a file in the folder")));
            }
            if !places.contains_key(shard) {
                places.insert(shard.clone(), files.len());
                files.push(open(&folder.join(shard))?);
            }
        }
        for (tensor, shard) in &index.weight_map {
            if !files[places[shard]].contains(tensor) {
                return Err(corrupt(format!("tensor `{tensor}` is not in `{shard}`")));
            }
        }
        Self::from_files(folder, files)
    }

    fn from_files(folder: &Path, files: Vec<WeightFile>) -> Result<Self> {
        let files = Self { folder: folder.into(), files };
        if let Some(pair) = files.sorted().windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let [(name, other), (_, file)] = [pair[0], pair[1]];
            let reason = format!("tensor `{name}` is also in `{}`", files.files[other].path().display());
            let problem = LoadProblem::Corrupt { format: "weight".into(), reason };
            return Err(LoadError::new(files.files[file].path(), problem).into());
        }
        Ok(files)
    }

    /// The folder that the files are in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The files, in the order of their shards.
    #[must_use]
    pub fn files(&self) -> &[WeightFile] {
        &self.files
    }

    /// What a GGUF file, or the first of several, says of the model; `None` of other formats.
    #[must_use]
    pub fn metadata(&self) -> Option<&Metadata> {
        match self.files.first()? {
            WeightFile::Gguf(file) => Some(file.metadata()),
            _ => None,
        }
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sorted().into_iter().map(|(name, _)| name)
    }

    /// The names of all tensors, each with the place of its file.
    fn sorted(&self) -> Vec<(&str, usize)> {
        let mut all = Vec::new();
        for (place, file) in self.files.iter().enumerate() {
            let names = file.names();
            all.reserve_exact(names.len());
            all.extend(names.into_iter().map(|name| (name, place)));
        }
        all.sort_unstable();
        all
    }

    fn file_of(&self, name: &str) -> Option<&WeightFile> {
        self.files.iter().find(|file| file.contains(name))
    }

    /// Gives back the memory of what was read of the files, until it is read again. For a reader that has made
    /// something of its own of the tensors so far: the system would count both.
    pub fn release(&self) {
        for file in &self.files {
            file.release();
        }
    }

    /// Whether there is a tensor called `name`; unlike [`WeightFiles::get`], never copies it.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.file_of(name).is_some()
    }

    /// What is known of the tensor called `name`; unlike [`WeightFiles::get`], never copies it.
    #[must_use]
    pub fn describe(&self, name: &str) -> Option<TensorInfo> {
        self.file_of(name)?.describe(name)
    }

    /// The tensor called `name`, and the file it is in.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<(RawTensor, &Path)> {
        let file = self.file_of(name)?;
        Some((file.get(name)?, file.path()))
    }
}

/// Whether `name` is one of a file in a folder, on any system.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one =
        matches!(components.next(), Some(Component::Normal(part)) if part == name) && components.next().is_none();
    // Windows has drives and streams of a file, too.
    is_one && !name.contains(['/', '\\', ':'])
}
