//! Ctrl-C and its kin: the first asks the command to stop at the next good place, the second ends it at once.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
#[cfg(unix)]
use std::thread;
use std::time::Duration;

use crate::console::Console;
use crate::exit::{Failure, INTERRUPTED};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether a stop shows by itself.
static IS_PLAIN: AtomicBool = AtomicBool::new(false);

/// Whether an editor of lines has the terminal.
static IS_TYPING: AtomicBool = AtomicBool::new(false);

/// How long a signal may go unnoticed while the program waits.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often an editor of lines is told to end.
#[cfg(unix)]
const TRIES: u32 = 20;

/// Takes SIGINT, SIGTERM and SIGHUP from here on.
pub(crate) fn listen(console: Console) -> Result<(), Failure> {
    ctrlc::set_handler(move || {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            process::exit(i32::from(INTERRUPTED));
        }
        if IS_TYPING.load(Ordering::SeqCst) {
            end_typing();
        } else if console.draws_bars() && !IS_PLAIN.load(Ordering::SeqCst) {
            console.note("stopping after this step; Ctrl-C again stops at once");
        }
    })
    .map_err(|error| Failure::Failed(format!("cannot listen for signals: {error}")))
}

/// Whether the program was asked to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// The program did stop what it was at; it goes on with something else.
pub(crate) fn forget() {
    REQUESTED.store(false, Ordering::SeqCst);
}

/// From here on a stop shows by itself, at once: a text ends. Nothing is said of it.
pub(crate) fn leave_unsaid() {
    IS_PLAIN.store(true, Ordering::SeqCst);
}

/// Runs an editor of lines. It takes Ctrl-C for itself; another signal makes it give the terminal back and return.
pub(crate) fn while_typing<T>(read: impl FnOnce() -> T) -> T {
    IS_TYPING.store(true, Ordering::SeqCst);
    let outcome = read();
    IS_TYPING.store(false, Ordering::SeqCst);
    outcome
}

/// Makes the editor of lines return: it listens to SIGINT alone, in place of this program, and only while it waits.
#[cfg(unix)]
fn end_typing() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    for _ in 0..TRIES {
        // To the process, not this thread, for its main thread is the one that waits.
        if !IS_TYPING.load(Ordering::SeqCst) || kill(Pid::this(), Signal::SIGINT).is_err() {
            return;
        }
        thread::sleep(PATIENCE);
    }
    process::exit(i32::from(INTERRUPTED));
}

#[cfg(not(unix))]
fn end_typing() {
    process::exit(i32::from(INTERRUPTED));
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
