//! Models in several GGUF files, `name-00001-of-0000N.gguf`: from one of them, or their folder, to all.
//!
//! Invariant: the files of a set say of themselves that they are the shards that their names say, and together have as
//! many tensors as each of them says. Source: `gguf-split` of llama.cpp, whose keys and names these are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use gllm_core::{Error, LoadError, LoadProblem, Result};

use super::{GgufFile, corrupt, unsupported};

pub(crate) const EXTENSION: &str = "gguf";
const COUNT: &str = "split.count";
const NO: &str = "split.no";
const TENSORS: &str = "split.tensors.count";

/// Missing shards that an error lists.
const MAX_LISTED: usize = 8;

/// What a shard's name says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ShardName {
    stem: String,
    /// From 1.
    number: usize,
    count: usize,
}

impl ShardName {
    fn parse(name: &str) -> Option<Self> {
        let name = name.strip_suffix(".gguf")?;
        let (name, count) = name.rsplit_once("-of-")?;
        let (stem, number) = name.rsplit_once('-')?;
        let digits = |text: &str| {
            let is_number = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| text.parse().ok()).flatten()
        };
        let (number, count) = (digits(number)?, digits(count)?);
        (1..=count).contains(&number).then(|| Self { stem: stem.into(), number, count })
    }

    fn of(path: &Path) -> Option<Self> {
        Self::parse(path.file_name()?.to_str()?)
    }

    /// The name of another shard of the set.
    fn sibling(&self, number: usize) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.stem, self.count)
    }
}

/// The GGUF files of the one model in `folder`, or none if there are no such files.
pub(crate) fn open_folder(folder: &Path) -> Result<Vec<GgufFile>> {
    let entries = fs::read_dir(folder).map_err(|e| Error::io("cannot list", folder, &e))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("cannot list", folder, &e))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    let sets: BTreeSet<_> = paths.iter().map(|path| set_of(path)).collect();
    match (paths.first(), sets.len()) {
        (None, _) => Ok(Vec::new()),
        (Some(first), 1) => open_set(GgufFile::open(first)?),
        _ => Err(LoadError::new(folder, several(&paths)).into()),
    }
}

/// What the files of a set have in common, and no others.
fn set_of(path: &Path) -> (String, usize) {
    match ShardName::of(path) {
        Some(name) => (name.stem, name.count),
        None => (path.to_string_lossy().into_owned(), 0),
    }
}

fn several(paths: &[PathBuf]) -> LoadProblem {
    let names: Vec<_> = paths.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    unsupported("a folder with several models", names.join(", "), "one model, or the path of a file")
}

/// `file`, or all shards of its set, the first one first.
pub(crate) fn open_set(file: GgufFile) -> Result<Vec<GgufFile>> {
    let count = file.metadata().usize(COUNT)?.unwrap_or(1);
    if count <= 1 {
        return Ok(vec![file]);
    }
    let name = ShardName::of(file.path()).filter(|name| name.count == count);
    let name = name.ok_or_else(|| {
        let supported = format!("names that end in -00001-of-{count:05}.gguf, and so on");
        let found = file.path().file_name().unwrap_or_default().to_string_lossy();
        LoadError::new(file.path(), unsupported(format!("a shard of {count} called"), found, &supported))
    })?;
    let folder = file.path().parent().unwrap_or(Path::new("")).to_owned();
    let missing: Vec<_> = (1..=count).map(|no| name.sibling(no)).filter(|name| !folder.join(name).is_file()).collect();
    if !missing.is_empty() {
        return Err(LoadError::new(folder, LoadProblem::MissingFile { expected: list(&missing) }).into());
    }

    let tensors = file.metadata().require_usize(TENSORS)?;
    let (path, mut given) = (file.path().to_owned(), Some(file));
    let mut files = Vec::new();
    for number in 1..=count {
        let shard = match given.take_if(|_| number == name.number) {
            Some(file) => file,
            None => GgufFile::open(&folder.join(name.sibling(number)))?,
        };
        belongs(&shard, number - 1, count, tensors)?;
        files.push(shard);
    }
    let found: usize = files.iter().map(|file| file.names().len()).sum();
    if found != tensors {
        let reason = format!("its shards have {found} tensors together, `{TENSORS}` says {tensors}");
        return Err(LoadError::new(path, corrupt(reason)).into());
    }
    Ok(files)
}

fn list(names: &[String]) -> String {
    let mut listed = names.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>();
    if names.len() > MAX_LISTED {
        listed.push(format!("{} more", names.len() - MAX_LISTED));
    }
    listed.join(" and ")
}

/// Whether `shard` says of itself what its name and the other shards say.
fn belongs(shard: &GgufFile, no: usize, count: usize, tensors: usize) -> Result<()> {
    for (key, expected) in [(NO, no), (COUNT, count), (TENSORS, tensors)] {
        let found = shard.metadata().require_usize(key)?;
        if found != expected {
            let expected = format!("{expected}, as its name and the other shards say");
            let problem = LoadProblem::Field { field: key.into(), expected, found: found.to_string() };
            return Err(LoadError::new(shard.path(), problem).into());
        }
    }
    Ok(())
}
