//! The turns of a conversation as they are typed: in an editor of lines on a terminal, else line by line.

use std::io::{self, IsTerminal};
use std::mem;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Behavior, Config, Editor, Helper};

use super::turn;
use crate::console::Console;
use crate::exit::Failure;
use crate::interrupt;
use crate::lines::Lines;
use crate::read_ahead::ReadAhead;
use crate::source::Source;

/// What a person is asked with.
const PROMPT: &str = "> ";

/// Where turns come from.
pub(super) enum Typed {
    /// A person at a terminal.
    Terminal(Box<Terminal>),
    /// A file or a program.
    Piped(ReadAhead<String>),
}

/// An editor of lines, with a history in memory.
pub(super) struct Terminal {
    editor: Editor<Whole, MemHistory>,
    console: Console,
    /// Whether the last thing that was typed is Ctrl-C.
    was_cleared: bool,
}

impl Typed {
    pub(super) fn new(console: Console) -> Result<Self, Failure> {
        if io::stdin().is_terminal() {
            return Ok(Self::Terminal(Box::new(Terminal::new(console)?)));
        }
        let lines = Lines::of(Source::stdin()).map(|line| line.map(|line| line.text));
        Ok(Self::Piped(ReadAhead::start(lines)))
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Terminal(_))
    }

    /// The next turn, all its lines; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<String>, Failure> {
        match self {
            Self::Terminal(terminal) => terminal.next(),
            Self::Piped(lines) => {
                let Some(mut turn) = lines.next()? else { return Ok(None) };
                while !turn::is_whole(&turn)
                    && let Some(line) = lines.next()?
                {
                    turn.push('\n');
                    turn.push_str(&line);
                }
                Ok(Some(turn))
            }
        }
    }
}

impl Terminal {
    fn new(console: Console) -> Result<Self, Failure> {
        // The prompt belongs to the terminal, also where answers go elsewhere.
        let config = Config::builder().auto_add_history(true).behavior(Behavior::PreferTerm).build();
        let history = MemHistory::with_config(&config);
        let mut editor = Editor::with_history(config, history).map_err(|error| unreadable(&error))?;
        editor.set_helper(Some(Whole));
        Ok(Self { editor, console, was_cleared: false })
    }

    fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            // It stopped the answer before, or came too late for that.
            interrupt::forget();
            match interrupt::while_typing(|| self.editor.readline(PROMPT)) {
                Ok(turn) => {
                    self.was_cleared = false;
                    return Ok(Some(turn));
                }
                Err(_) if interrupt::requested() => return Err(Failure::Interrupted(None)),
                Err(ReadlineError::Eof) => return Ok(None),
                Err(ReadlineError::Interrupted | ReadlineError::Signal(_)) => {
                    if mem::replace(&mut self.was_cleared, true) {
                        return Ok(None);
                    }
                    self.console.aside("Ctrl-C again ends, as does Ctrl-D");
                }
                Err(error) => return Err(unreadable(&error)),
            }
        }
    }
}

fn unreadable(error: &ReadlineError) -> Failure {
    Failure::Failed(format!("cannot read from the terminal: {error}"))
}

/// Lets the editor go on in another line until a turn is whole.
struct Whole;

impl Validator for Whole {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let is_whole = turn::is_whole(context.input());
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Whole {
    type Candidate = String;
}

impl Hinter for Whole {
    type Hint = String;
}

impl Highlighter for Whole {}

impl Helper for Whole {}
