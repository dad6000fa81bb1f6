//! One process at a time works on a model's folder: an advisory lock on a file beside the models.
//!
//! Invariant: held until dropped, also if the process is killed, since the system releases it. Lock files stay where
//! they are: to delete one would let two processes hold "the" lock.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use gllm_core::DownloadProblem;

use crate::part::disk;
use crate::progress::Progress;

const POLL: Duration = Duration::from_millis(50);

pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of `name` in the folder `locks`.
    pub(crate) fn acquire(locks: &Path, name: &str, progress: &mut dyn Progress) -> Result<Self, DownloadProblem> {
        std::fs::create_dir_all(locks).map_err(|error| disk(locks, &error))?;
        let path = locks.join(format!("{name}.lock"));
        let file = File::create(&path).map_err(|error| disk(&path, &error))?;
        let mut announced = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if progress.cancelled() => return Err(DownloadProblem::Cancelled),
                Err(TryLockError::WouldBlock) => {
                    if !announced {
                        progress.notice(&format!("waiting for another process that works on `{name}`"));
                        announced = true;
                    }
                    std::thread::sleep(POLL);
                }
                Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                    // Some network file systems have no locks; the rename at the end still keeps models whole.
                    tracing::warn!("no lock on `{}`: {error}", path.display());
                    return Ok(Self { _file: file });
                }
                Err(TryLockError::Error(error)) => return Err(disk(&path, &error)),
            }
        }
    }
}
