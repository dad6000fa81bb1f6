//! Memory-mapped files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gllm_core::{Error, LoadError, LoadProblem, Result};
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

/// A whole file in memory, read-only; it lives as long as a slice of it does.
#[derive(Clone, Debug)]
pub(crate) struct Mapping(Arc<Mmap>);

impl Mapping {
    /// Maps the file at `path`.
    ///
    /// A file that another program shortens while it is mapped ends the process with a bus error, as with any mapping;
    /// the store of gllm never writes to a file in place.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("cannot open", path, &e))?;
        let length = file.metadata().map_err(|e| Error::io("cannot read", path, &e))?.len();
        if length == 0 {
            let problem = LoadProblem::Corrupt { format: "weight".into(), reason: "it is empty".into() };
            return Err(LoadError::new(path, problem).into());
        }
        #[expect(unsafe_code, reason = "memory-mapped weights: nothing is read that isn't computed with")]
        // SAFETY: that nobody writes to the file while it is mapped can't be enforced, only assumed. Weights in the store
        // are replaced by rename, never written in place; who gives another path vouches for it, as the documentation
        // says. Whatever the bytes are, they are a valid element of each type that they are interpreted as.
        let map = unsafe { Mmap::map(&file) }.map_err(|e| Error::io("cannot map", path, &e))?;
        Ok(Self(Arc::new(map)))
    }

    /// The file.
    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from_owner(self.clone())
    }

    /// Gives back the memory of what was read, until it is read again.
    pub(crate) fn release(&self) {
        #[cfg(unix)]
        {
            #[expect(unsafe_code, reason = "memory that is given back is read from the file again")]
            // SAFETY: the mapping is of a file that isn't written, as above, so what is read after this is what was read
            // before.
            let outcome = unsafe { self.0.unchecked_advise(UncheckedAdvice::DontNeed) };
            // It is advice: without it, memory is given back when the system needs some.
            outcome.ok();
        }
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
