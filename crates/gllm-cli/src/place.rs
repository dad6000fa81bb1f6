//! What a text of the input is called in messages, and which texts were cut.

use gllm::{Error, InferenceError, Truncated};

use crate::console::Console;
use crate::exit::Failure;
use crate::input::Input;

/// What a text is called in messages: a line of a file, or an argument.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// The file.
    lines_of: Option<String>,
    kind: Kind,
}

/// What the texts are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    /// Each is read alone.
    #[default]
    Text,
    /// Each is read after the query.
    Document,
}

impl Place {
    /// The places of texts to embed.
    pub(crate) fn texts(input: &Input) -> Self {
        Self { lines_of: input.lines_of().map(str::to_owned), kind: Kind::Text }
    }

    /// The places of documents to rank.
    pub(crate) fn documents(input: &Input) -> Self {
        Self { kind: Kind::Document, ..Self::texts(input) }
    }

    /// The text at `index`, counted from 1 as people do.
    fn of(&self, index: usize) -> String {
        let number = index + 1;
        match (&self.lines_of, self.kind) {
            (Some(file), _) => format!("line {number} of {file}"),
            (None, Kind::Text) => format!("text {number}"),
            (None, Kind::Document) => format!("document {number}"),
        }
    }

    /// What the count of tokens is of, where it isn't the text alone.
    fn counted(&self) -> &'static str {
        match self.kind {
            Kind::Text => "",
            Kind::Document => " with the query",
        }
    }

    /// An error that names a text of a request whose first text is the `first` of all.
    pub(crate) fn located(&self, error: Error, first: usize) -> Failure {
        let Error::InferenceError(cause) = &error else { return error.into() };
        Failure::Failed(match cause {
            InferenceError::TooLong { index, tokens, limit } => {
                let (place, counted) = (self.of(first + index), self.counted());
                format!("{place} has {tokens} tokens{counted}, the limit is {limit}; shorten it, or use --on-long cut")
            }
            InferenceError::Tokenize { index, reason } => {
                format!("{} cannot be tokenized: {reason}", self.of(first + index))
            }
            InferenceError::TokenOutOfRange { index, .. } => format!("{}: {cause}", self.of(first + index)),
            _ => return error.into(),
        })
    }
}

/// The texts that were cut, counted.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    count: usize,
    first: Option<Truncated>,
}

impl Cut {
    pub(crate) fn add(&mut self, truncated: Truncated) {
        self.count += 1;
        self.first.get_or_insert(truncated);
    }

    /// Says how many texts were cut, if any.
    pub(crate) fn warn(&self, place: &Place, console: Console) {
        let Some(Truncated { index, tokens, kept }) = self.first else { return };
        let (which, counted) = (place.of(index), place.counted());
        console.warn(&match (self.count, place.kind) {
            (1, _) => format!("{which} was cut from {tokens} to {kept} tokens{counted}"),
            (count, Kind::Text) => {
                format!("{count} texts were cut, the first is {which}, from {tokens} to {kept} tokens")
            }
            (count, Kind::Document) => {
                format!("{count} documents were cut, the first is {which}, from {tokens} to {kept} tokens{counted}")
            }
        });
    }
}
