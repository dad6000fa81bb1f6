//! A text on standard output, piece by piece, as it is written.
//!
//! Invariant: what a model writes can't steer the terminal.

use std::io::{self, IsTerminal, Write};

use gllm::Generation;

use crate::console::stdout_failure;
use crate::exit::Failure;
use crate::{interrupt, line};

/// Shows a text until its end, or until a signal, and tells which of both: whether it is whole.
///
/// A last line without an end gets one on a terminal, and elsewhere if `ends_lines`, which makes a line of no text too.
pub(crate) fn show(text: &mut Generation<'_>, ends_lines: bool) -> Result<bool, Failure> {
    let is_terminal = io::stdout().is_terminal();
    let mut writing = Writing { is_terminal, is_in_line: ends_lines };
    let outcome = writing.pieces(text);
    if writing.is_in_line && (is_terminal || ends_lines) {
        writing.write("\n")?;
    }
    outcome
}

struct Writing {
    is_terminal: bool,
    /// Whether the last line has no end yet.
    is_in_line: bool,
}

impl Writing {
    fn pieces(&mut self, text: &mut Generation<'_>) -> Result<bool, Failure> {
        for piece in text {
            let piece = piece?;
            if !piece.is_empty() {
                self.write(&piece)?;
            }
            if interrupt::requested() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a piece so that it is seen at once.
    fn write(&mut self, piece: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = if self.is_terminal {
            stdout.write_all(line::harmless(piece).as_bytes())
        } else {
            stdout.write_all(piece.as_bytes())
        };
        written.and_then(|()| stdout.flush()).map_err(|error| stdout_failure(&error))?;
        self.is_in_line = !piece.ends_with('\n');
        Ok(())
    }
}
