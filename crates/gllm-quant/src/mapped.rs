//! Memory-mapped files: the only `unsafe` of this crate.

use std::fs::File;
use std::path::Path;

use bytes::Bytes;
use gllm_core::{Error, LoadError, LoadProblem, Result};
use memmap2::Mmap;

/// Maps the whole file at `path`, read-only; the mapping lives as long as a slice of the result does.
///
/// A file that another program shortens while it is mapped ends the process with a bus error, as with
/// any mapping; the store of gllm never writes to a file in place.
pub(crate) fn map(path: &Path) -> Result<Bytes> {
    let file = File::open(path).map_err(|e| Error::io("cannot open", path, &e))?;
    let length = file.metadata().map_err(|e| Error::io("cannot read", path, &e))?.len();
    if length == 0 {
        let problem = LoadProblem::Corrupt { format: "weight".into(), reason: "it is empty".into() };
        return Err(LoadError::new(path, problem).into());
    }
    #[expect(unsafe_code, reason = "memory-mapped weights: nothing is read that isn't computed with")]
    // SAFETY: the mapping is private and read-only, and weights in the store are replaced by rename,
    // never written in place; the bytes are validated before they are interpreted, and every bit
    // pattern is a valid element of the types they are interpreted as.
    let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("cannot map", path, &e))?;
    Ok(Bytes::from_owner(map))
}
