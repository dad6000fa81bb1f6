//! What lies in a model's folder: one model, models in GGUF of the same repository, or both.
//!
//! Invariant: a model is whole if its record says so. So a record comes into a folder that is there before the files
//! that it lists, and goes after them; a folder that isn't there comes with all of them, by one rename.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gllm_core::DownloadProblem;

use crate::gguf_name::GgufName;
use crate::id::HubId;
use crate::part::disk;
use crate::record::Record;

/// Where the model `id` is in its folder, if it is whole: the folder, or a file in it.
pub(crate) fn model_in(folder: &Path, id: &HubId) -> Option<PathBuf> {
    if let Some(record) = Record::read(folder, id.file()) {
        return record.is_complete(folder).then(|| path_of(folder, &record));
    }
    // By hand: the files in GGUF, or a configuration, or a file that is a model by itself.
    match id.gguf() {
        Some(file) => file.files().all(|name| folder.join(name).is_file()).then(|| folder.join(file.as_str())),
        None => (folder.join("config.json").is_file() || has_gguf(folder)).then(|| folder.to_owned()),
    }
}

/// What is loaded: the folder, or, as others may come to lie beside it, the model in GGUF.
pub(crate) fn path_of(folder: &Path, record: &Record) -> PathBuf {
    let is_single = record.file.is_some() || record.files.iter().all(|file| is_gguf(file.name.as_ref()));
    match record.files.first() {
        Some(first) if is_single => folder.join(&first.name),
        _ => folder.to_owned(),
    }
}

fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gguf")
}

/// Whether there is a model in GGUF that isn't known by its own name.
fn has_gguf(folder: &Path) -> bool {
    let known: BTreeSet<_> = records(folder).into_iter().flat_map(|record| paths(folder, &record)).collect();
    let paths = fs::read_dir(folder).ok().into_iter().flatten().flatten().map(|entry| entry.path());
    paths.into_iter().any(|path| is_gguf(&path) && path.is_file() && !known.contains(&path))
}

/// The records of the models in GGUF in `folder`, by name.
pub(crate) fn records(folder: &Path) -> Vec<Record> {
    fn collect(folder: &Path, below: &str, found: &mut Vec<Record>) {
        let entries = fs::read_dir(folder.join(below)).ok().into_iter().flatten().flatten();
        for entry in entries {
            let Some(name) = entry.file_name().to_str().map(|name| format!("{below}{name}")) else { continue };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                collect(folder, &format!("{name}/"), found);
            } else if let Some(file) = Record::of_file(&name) {
                found.extend(Record::read(folder, Some(&file)));
            }
        }
    }
    let mut found = Vec::new();
    collect(folder, "", &mut found);
    found.sort_by(|a, b| a.file.cmp(&b.file));
    found
}

/// Bytes on disk of a model in GGUF that has no record.
pub(crate) fn bytes_by_hand(folder: &Path, id: &HubId) -> u64 {
    let names = id.gguf().into_iter().flat_map(GgufName::files);
    names.filter_map(|name| folder.join(name).symlink_metadata().ok()).map(|found| found.len()).sum()
}

/// Where a record and its files are, the record last.
fn paths(folder: &Path, record: &Record) -> Vec<PathBuf> {
    let files = record.files.iter().map(|file| folder.join(&file.name));
    files.chain([folder.join(Record::name(record.file.as_deref()))]).collect()
}

/// Bytes on disk of a model in GGUF, with its record.
pub(crate) fn bytes_of(folder: &Path, record: &Record) -> u64 {
    paths(folder, record).iter().filter_map(|path| path.symlink_metadata().ok()).map(|found| found.len()).sum()
}

/// Bytes of the files in a folder. Links in it aren't followed, and what can't be read counts as nothing.
pub(crate) fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).ok().into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => bytes_in(&entry.path()),
            Ok(found) => found.len(),
            Err(_) => 0,
        })
        .sum()
}

/// A link that leads from `folder`, or out of it, to a place that isn't below `root`; and that place.
pub(crate) fn link_out(root: &Path, folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let root = root.canonicalize().ok()?;
    let leads_out = |link: &Path| link.canonicalize().ok().filter(|target| !target.starts_with(&root));
    if let Some(target) = leads_out(folder) {
        return Some((folder.to_owned(), target));
    }
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let (path, kind) = (entry.path(), entry.file_type().ok()?);
        match (kind.is_symlink(), kind.is_dir()) {
            (true, _) => leads_out(&path).map(|target| (path, target)),
            (_, true) => link_out(&root, &path),
            _ => None,
        }
    })
}

/// Makes room for the model `id`, which isn't whole: what is left of it is staged, to be checked and completed.
///
/// It is an error if something is there that nobody knows.
pub(crate) fn make_room(folder: &Path, id: &HubId, staging: &Path) -> Result<(), DownloadProblem> {
    if let Some(record) = Record::read(folder, id.file()) {
        tracing::warn!("`{id}` in `{}` has lost files; fetching them again", folder.display());
        return set_aside(folder, &record, staging);
    }
    if id.file().is_none() && is_in_the_way(folder) {
        let reason = "it is in the way and is no model (it has no config.json and no .gguf file); move it".to_owned();
        return Err(DownloadProblem::Disk { path: folder.to_owned(), reason });
    }
    Ok(())
}

/// Whether there is anything but models in GGUF that are known by their own names.
fn is_in_the_way(folder: &Path) -> bool {
    let known: BTreeSet<_> = records(folder).into_iter().flat_map(|record| paths(folder, &record)).collect();
    let is_known = |path: PathBuf| known.iter().any(|known| known.starts_with(&path));
    match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().any(|entry| !is_known(entry.path())),
        Err(_) => folder.symlink_metadata().is_ok(),
    }
}

fn set_aside(folder: &Path, record: &Record, staging: &Path) -> Result<(), DownloadProblem> {
    if staging.exists() {
        fs::remove_dir_all(staging).map_err(|error| disk(staging, &error))?;
    }
    for name in paths(Path::new(""), record) {
        if folder.join(&name).symlink_metadata().is_ok() {
            move_file(folder, staging, &name)?;
        }
    }
    remove_empty(folder);
    Ok(())
}

/// Gives the staged model of `record` its place.
pub(crate) fn publish(staged: &Path, record: &Record, folder: &Path) -> Result<(), DownloadProblem> {
    match fs::rename(staged, folder) {
        Ok(()) => return Ok(()),
        // Other models of the repository are there.
        Err(_) if folder.is_dir() => {}
        Err(error) => return Err(disk(folder, &error)),
    }
    let names = paths(Path::new(""), record);
    for name in names.iter().rev() {
        move_file(staged, folder, name)?;
    }
    let _ = fs::remove_dir_all(staged);
    Ok(())
}

fn move_file(from: &Path, to: &Path, name: &Path) -> Result<(), DownloadProblem> {
    let target = to.join(name);
    let made = target.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::rename(from.join(name), &target)).map_err(|error| disk(&target, &error))
}

/// Deletes a model in GGUF, its record last.
pub(crate) fn remove(folder: &Path, id: &HubId) -> Result<u64, (PathBuf, io::Error)> {
    let by_hand = || id.gguf().into_iter().flat_map(GgufName::files).map(|name| folder.join(name)).collect();
    let paths = Record::read(folder, id.file()).map_or_else(by_hand, |record| paths(folder, &record));
    let mut freed = 0;
    for path in paths {
        let Ok(found) = path.symlink_metadata() else { continue };
        fs::remove_file(&path).map_err(|error| (path, error))?;
        freed += if found.is_symlink() { 0 } else { found.len() };
    }
    remove_empty(folder);
    Ok(freed)
}

/// Deletes the folder and those in it, but for what has files in it.
fn remove_empty(folder: &Path) {
    for entry in fs::read_dir(folder).ok().into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    let _ = fs::remove_dir(folder);
}
