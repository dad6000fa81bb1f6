//! The lines of a file, each a text.

use std::io::{BufRead, BufReader, Read};

use crate::exit::Failure;
use crate::source::Source;

/// Longest text in bytes. One that doesn't end is no text, and must not fill the memory.
pub(crate) const TEXT_BYTES: u64 = 64 << 20;

/// What some editors begin a file with.
pub(crate) const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A text and the bytes that it takes in the input.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) bytes: u64,
}

/// The lines of a file.
pub(crate) struct Lines<R> {
    name: String,
    source: BufReader<R>,
    read: usize,
}

impl Lines<Box<dyn Read + Send>> {
    pub(crate) fn of(source: Source) -> Self {
        Self::new(source.name, BufReader::new(source.bytes))
    }
}

impl<R> Lines<R> {
    pub(crate) fn new(name: String, source: BufReader<R>) -> Self {
        Self { name, source, read: 0 }
    }

    /// The text of the line that was just read.
    fn text(&self, mut line: Vec<u8>) -> Result<String, Failure> {
        let failed = |what: &str| Failure::Failed(format!("line {} of {} {what}", self.read, self.name));
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if line.len() as u64 == TEXT_BYTES {
            return Err(failed(&format!("is longer than {} MiB", TEXT_BYTES >> 20)));
        }
        let mut text = String::from_utf8(line)
            .map_err(|error| failed(&format!("is not valid UTF-8 at byte {}", error.utf8_error().valid_up_to() + 1)))?;
        if self.read == 1
            && let Some(rest) = text.strip_prefix(BYTE_ORDER_MARK)
        {
            text = rest.to_owned();
        }
        Ok(text)
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = Result<Text, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let bytes = match self.source.by_ref().take(TEXT_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(bytes) => bytes as u64,
            Err(error) => return Some(Err(Failure::Failed(format!("cannot read {}: {error}", self.name)))),
        };
        self.read += 1;
        Some(self.text(line).map(|text| Text { text, bytes }))
    }
}
