//! Ctrl-C and its kin: the first asks the command to stop at the next good place, the second ends it at once.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::console::Console;
use crate::exit::{Failure, INTERRUPTED};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// How long a signal may go unnoticed while the program waits.
const PATIENCE: Duration = Duration::from_millis(50);

/// Takes SIGINT, SIGTERM and SIGHUP from here on.
pub(crate) fn listen(console: Console) -> Result<(), Failure> {
    ctrlc::set_handler(move || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            process::exit(i32::from(INTERRUPTED));
        }
        if console.draws_bars() {
            console.note("stopping after this step; Ctrl-C again stops at once");
        }
    })
    .map_err(|error| Failure::Failed(format!("cannot listen for signals: {error}")))
}

/// Whether the program was asked to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// `Failure::Interrupted` if the program was asked to stop.
pub(crate) fn check() -> Result<(), Failure> {
    if requested() { Err(Failure::Interrupted(None)) } else { Ok(()) }
}

/// Waits for what another thread sends, or for a request to stop. `None` when the sender is gone.
pub(crate) fn receive<T>(receiver: &Receiver<T>) -> Result<Option<T>, Failure> {
    loop {
        check()?;
        match receiver.recv_timeout(PATIENCE) {
            Ok(sent) => return Ok(Some(sent)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}
