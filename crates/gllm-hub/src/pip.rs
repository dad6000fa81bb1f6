//! The user's own pip, which knows which index, proxy and certificates to use.
//!
//! Invariant: it downloads and installs nothing; a wheel of the version asked for, or an error with pip's complaint.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gllm_core::DownloadProblem;

use crate::config::HubConfig;
use crate::part::disk;
use crate::progress::Progress;

const POLL: Duration = Duration::from_millis(50);

/// How much of pip's complaint is passed on, in lines.
const COMPLAINT_LINES: usize = 5;

/// Why a package couldn't be used.
pub(crate) enum Trouble {
    Problem(DownloadProblem),
    /// For `DownloadProblem::Package`.
    Reason(String),
}

impl From<DownloadProblem> for Trouble {
    fn from(problem: DownloadProblem) -> Self {
        Self::Problem(problem)
    }
}

/// Lets pip download the wheel of `requirement`, `name==version`, into the folder `scratch`.
pub(crate) fn download(
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
