//! What a person sees: messages on standard error, answers on standard output.
//!
//! Invariant: colour and moving bars go to terminals only, and `NO_COLOR` and `--quiet` are kept.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::exit::Failure;

/// How to talk to the person.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    quiet: bool,
    terminal: bool,
    colour: bool,
}

impl Console {
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { quiet, terminal, colour: terminal && colour_wanted() }
    }

    /// Whether a person watches, so that bars that move may be drawn.
    pub(crate) fn draws_bars(self) -> bool {
        self.terminal && !self.quiet
    }

    /// An error; it is said even when quiet.
    pub(crate) fn error(self, text: &str) {
        self.say("error", "31", text);
    }

    /// Something that a person should know, unless quiet.
    pub(crate) fn warn(self, text: &str) {
        if !self.quiet {
            self.say("warning", "33", text);
        }
    }

    /// Something that is nice to know, unless quiet.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            self.say("note", "36", text);
        }
    }

    /// Something beside an answer, for a person who watches.
    pub(crate) fn aside(self, text: &str) {
        if self.draws_bars() {
            let (on, off) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
            let _ = writeln!(io::stderr(), "{on}{text}{off}");
        }
    }

    fn say(self, label: &str, colour: &str, text: &str) {
        let (on, off) = if self.colour { (format!("\x1b[1;{colour}m"), "\x1b[0m") } else { (String::new(), "") };
        // Standard error may be closed, and then there is nobody to tell.
        let _ = writeln!(io::stderr(), "{on}{label}{off}: {text}");
    }
}

/// Whether the person hasn't asked for plain text, see <https://no-color.org>.
pub(crate) fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Columns of a terminal that doesn't say.
const COLUMNS: usize = 80;

/// Columns of the terminal that answers go to; `None` where they go elsewhere, and lines of any length are welcome.
pub(crate) fn answer_columns() -> Option<usize> {
    let said = || std::env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
    io::stdout().is_terminal().then(|| said().unwrap_or(COLUMNS))
}

/// Writes an answer and a line's end to standard output.
pub(crate) fn answer(text: impl Display) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| stdout_failure(&error))
}

/// Writes an answer as JSON to standard output.
pub(crate) fn answer_json(value: &impl Serialize) -> Result<(), Failure> {
    answer(serde_json::to_string_pretty(value).map_err(io::Error::from)?)
}

/// What a failed write to standard output means.
pub(crate) fn stdout_failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::PipeClosed,
        _ => Failure::Failed(format!("cannot write to standard output: {error}")),
    }
}
