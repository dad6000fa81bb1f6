//! `.gllm.json`: what a folder of the store was made from.
//!
//! Invariant: it lists every file that was downloaded, so that a folder that lost one is noticed. While a download is
//! staged the same file says what is being fetched, so that a later process knows whether it may resume.

use std::path::Path;

use gllm_core::DownloadProblem;
use serde::{Deserialize, Serialize};

use crate::part::disk;

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
    pub(crate) revision: String,
    pub(crate) source: Source,
    /// The commit of the repository; a package has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit: Option<String>,
    /// `name==version` of the package.
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
    /// The record of a folder, if it has one that can be read.
    pub(crate) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.join(NAME)).ok()?).ok()
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<(), DownloadProblem> {
        let path = folder.join(NAME);
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| DownloadProblem::Disk { path: path.clone(), reason: error.to_string() })?;
        text.push('\n');
        std::fs::write(&path, text).map_err(|error| disk(&path, &error))
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
