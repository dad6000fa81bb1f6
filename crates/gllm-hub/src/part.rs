//! A file that is still being downloaded: `<name>.part`, its length, and the sha256 of what is there.
//!
//! Invariant: length and hash are those of the bytes on disk at all times, also of bytes that an earlier process left.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use gllm_core::DownloadProblem;
use sha2::{Digest, Sha256};

pub(crate) struct Part {
    path: PathBuf,
    /// Where the file goes when it is whole.
    whole: PathBuf,
    file: File,
    hasher: Sha256,
    len: u64,
}

impl Part {
    /// Opens what an earlier attempt left for the file `whole`, or an empty part.
    pub(crate) fn open(whole: &Path) -> Result<Self, DownloadProblem> {
        let mut name = whole.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let path = whole.with_file_name(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|error| disk(folder, &error))?;
        }
        // A file that was whole when an earlier process ended is a part again until its hash is checked.
        if whole.exists() {
            std::fs::rename(whole, &path).map_err(|error| disk(whole, &error))?;
        }
        let mut hasher = Sha256::new();
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let (file, len) = opened
            .and_then(|mut file| copy_hashing(&mut file, &mut io::sink(), &mut hasher).map(|len| (file, len)))
            .map_err(|error| disk(&path, &error))?;
        Ok(Self { path, whole: whole.to_owned(), file, hasher, len })
    }

    /// Bytes on disk.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), DownloadProblem> {
        self.file.write_all(bytes).map_err(|error| disk(&self.path, &error))?;
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what is there.
    pub(crate) fn restart(&mut self) -> Result<(), DownloadProblem> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|error| disk(&self.path, &error))?;
        self.hasher = Sha256::new();
        self.len = 0;
        Ok(())
    }

    /// Deletes what is there: it isn't what was wanted.
    pub(crate) fn discard(self) {
        // If this fails the bytes stay as a part, and are checked again.
        let _ = std::fs::remove_file(&self.path);
    }

    /// Checks the hash if one is stated, gives the file its name and returns its sha256.
    pub(crate) fn finish(self, expected: Option<&str>) -> Result<String, DownloadProblem> {
        let found = hex(self.hasher.clone());
        if let Some(expected) = expected
            && expected != found
        {
            self.discard();
            return Err(DownloadProblem::Hash { expected: expected.to_owned(), found });
        }
        let named = self.file.sync_all().and_then(|()| std::fs::rename(&self.path, &self.whole));
        named.map_err(|error| disk(&self.whole, &error))?;
        Ok(found)
    }
}

/// Copies to the end and hashes what passes; returns the number of bytes.
pub(crate) fn copy_hashing(from: &mut dyn Read, to: &mut dyn Write, hasher: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 16];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                hasher.update(&buffer[..count]);
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The hash in lower-case hex.
pub(crate) fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn disk(path: &Path, error: &io::Error) -> DownloadProblem {
    DownloadProblem::Disk { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_survives_and_keeps_its_hash() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = folder.path().join("below/file");
        let mut part = Part::open(&whole).expect("a new part");
        part.append(b"ab").expect("append");
        drop(part);

        let mut part = Part::open(&whole).expect("the same part");
        assert_eq!(part.len(), 2);
        part.append(b"c").expect("append");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(part.finish(Some(abc)).expect("the right hash"), abc);
        assert_eq!(std::fs::read(&whole).expect("the file"), b"abc");
    }

    #[test]
    fn a_wrong_hash_discards_and_a_restart_forgets() {
        let folder = tempfile::tempdir().expect("a folder");
        let whole = folder.path().join("file");
        let mut part = Part::open(&whole).expect("a new part");
        part.append(b"xyz").expect("append");
        part.restart().expect("restart");
        part.append(b"a").expect("append");
        let error = part.finish(Some("00")).expect_err("a wrong hash");
        assert!(matches!(error, DownloadProblem::Hash { .. }), "{error}");
        assert_eq!(Part::open(&whole).expect("a new part").len(), 0);
    }
}
