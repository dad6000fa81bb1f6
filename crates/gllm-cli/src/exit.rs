//! How a command ends without success: what is said, and the code that a script sees.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done, also when the reader of standard output closed it |
//! | 1 | failed |
//! | 2 | wrong usage, or a setting out of range |
//! | 3 | no such model |
//! | 4 | the model couldn't be downloaded |
//! | 130 | interrupted |

use std::process::ExitCode;

use gllm::{DownloadError, DownloadProblem, Error};

use crate::console::Console;

/// 128 and the number of SIGINT, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Why a command ended early.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The library's error.
    Gllm(Error),
    /// The command line asks for something that doesn't go together.
    Usage(String),
    /// Anything else, in a sentence.
    Failed(String),
    /// A signal asked to stop; the text says how to go on, where that is possible.
    Interrupted(Option<String>),
    /// The reader of standard output has seen enough.
    PipeClosed,
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            Error::DownloadError(DownloadError { problem: DownloadProblem::Cancelled, model, .. }) => {
                Self::Interrupted(Some(format!("the download of `{model}` goes on where it stopped the next time")))
            }
            error => Self::Gllm(error),
        }
    }
}

/// Says what went wrong, once, and gives the exit code.
pub(crate) fn report(outcome: Result<(), Failure>, console: Console) -> ExitCode {
    let Err(failure) = outcome else { return ExitCode::SUCCESS };
    let code = code(&failure);
    match failure {
        Failure::Gllm(error) => console.error(&error.to_string()),
        Failure::Usage(text) => console.error(&format!("{text}\n\nFor more information, try '--help'.")),
        Failure::Failed(text) => console.error(&text),
        Failure::Interrupted(None) => console.error("interrupted"),
        Failure::Interrupted(Some(how_to_go_on)) => console.error(&format!("interrupted; {how_to_go_on}")),
        Failure::PipeClosed => {}
    }
    ExitCode::from(code)
}

fn code(failure: &Failure) -> u8 {
    match failure {
        Failure::PipeClosed => 0,
        Failure::Usage(_) | Failure::Gllm(Error::InvalidConfig(_)) => 2,
        Failure::Gllm(Error::ModelNotFound(_)) => 3,
        Failure::Gllm(Error::DownloadError(_)) => 4,
        Failure::Gllm(_) | Failure::Failed(_) => 1,
        Failure::Interrupted(_) => INTERRUPTED,
    }
}
