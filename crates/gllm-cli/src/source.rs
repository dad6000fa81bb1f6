//! Where texts are read from: a file, or standard input.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

use gllm::Error;

use crate::exit::Failure;

/// A file that is open, or standard input.
pub(crate) struct Source {
    /// What it is called in messages.
    pub(crate) name: String,
    pub(crate) bytes: Box<dyn Read + Send>,
    /// How many bytes it has, where that is known.
    pub(crate) total_bytes: Option<u64>,
}

impl Source {
    /// The file at `path`; `-` is standard input.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::stdin());
        }
        let open = || {
            let opened = File::open(path)?;
            let found = opened.metadata()?;
            Ok((opened, found.is_file().then_some(found.len())))
        };
        let (opened, total_bytes) = open().map_err(|error| Error::io("cannot open", path, &error))?;
        Ok(Self { name: format!("`{}`", path.display()), bytes: Box::new(opened), total_bytes })
    }

    /// Standard input, unless a person would have to type it: then `missing` is what they are told.
    pub(crate) fn piped(missing: &str) -> Result<Self, Failure> {
        if io::stdin().is_terminal() {
            return Err(Failure::Usage(missing.to_owned()));
        }
        Ok(Self::stdin())
    }

    pub(crate) fn stdin() -> Self {
        Self { name: "standard input".to_owned(), bytes: Box::new(io::stdin()), total_bytes: None }
    }
}
