//! `.gllm.json`: what a folder of the store was made from; `.<file>.gllm.json` beside a model in GGUF: the same of it.
//!
//! Invariant: it lists every file that was downloaded, so that a folder that lost one is noticed. While a download is
//! staged the same file says what is being fetched, so that a later process knows whether it may resume.

use std::path::Path;

use gllm_core::DownloadProblem;
use serde::{Deserialize, Serialize};

use crate::listing::is_safe;
use crate::part::disk;

/// The record's name, behind that of the file if it is of one.
const NAME: &str = ".gllm.json";

/// Where a model's files came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// Downloaded from the Hub.
    Hub,
    /// Taken from a Python package.
    Package,
}

/// The content of `.gllm.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) repo_id: String,
    /// The file of the repository that is the model, if the record is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    pub(crate) revision: String,
    pub(crate) source: Source,
    /// The commit of the repository; a package has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// `name==version` of the package, or of the packages that have a part each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) package: Option<String>,
    pub(crate) files: Vec<FileRecord>,
}

/// A file of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    /// The path below the folder, with slashes.
    pub(crate) name: String,
    /// Bytes, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// In lower-case hex, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

impl Record {
    /// The record of a folder, or of the model `file` in it, if it has one that can be read.
    pub(crate) fn read(folder: &Path, file: Option<&str>) -> Option<Self> {
        let record: Self = serde_json::from_slice(&std::fs::read(folder.join(Self::name(file))).ok()?).ok()?;
        // What is taken from a record is names of files, to be moved or deleted.
        (record.file.as_deref() == file && record.files.iter().all(|file| is_safe(&file.name))).then_some(record)
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), DownloadProblem> {
        let path = folder.join(Self::name(self.file.as_deref()));
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| DownloadProblem::Disk { path: path.clone(), reason: error.to_string() })?;
        text.push('\n');
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text));
        written.map_err(|error| disk(&path, &error))
    }

    /// Where the record of a folder, or of the model `file` in it, is within the folder.
    pub(crate) fn name(file: Option<&str>) -> String {
        match file.map(|file| file.rsplit_once('/').unwrap_or(("", file))) {
            None => NAME.to_owned(),
            Some(("", file)) => format!(".{file}{NAME}"),
            Some((folder, file)) => format!("{folder}/.{file}{NAME}"),
        }
    }

    /// The file whose record has this name, the inverse of [`Record::name`].
    pub(crate) fn of_file(name: &str) -> Option<String> {
        let (folder, name) = name.rsplit_once('/').map_or(("", name), |(folder, name)| (folder, name));
        let file = name.strip_prefix('.')?.strip_suffix(NAME)?;
        (!file.is_empty()).then(|| if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") })
    }

    /// Whether the files are all in `folder` with their sizes.
    pub(crate) fn is_complete(&self, folder: &Path) -> bool {
        self.files.iter().all(|file| {
            let found = std::fs::metadata(folder.join(&file.name));
            found.is_ok_and(|found| found.is_file() && file.size.is_none_or(|size| size == found.len()))
        })
    }

    /// The files' bytes together, if all are known.
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        self.files.iter().map(|file| file.size).try_fold(0_u64, |total, size| total.checked_add(size?))
    }
}
