//! Texts in, chunks out: from arguments, or from the lines of a file or of standard input.
//!
//! Invariants: the chunks depend on the texts alone, so that a resumed run computes the same batches; what is held in
//! memory is bounded by a few chunks, however long the input.

use std::path::Path;

use crate::exit::Failure;
use crate::lines::{Lines, Text};
use crate::read_ahead::ReadAhead;
use crate::source::Source;

/// Texts of a chunk at most: enough for several batches, few enough that an interrupt is noticed soon.
const CHUNK_TEXTS: usize = 512;

/// A chunk is full when its texts reach this many bytes.
const CHUNK_BYTES: usize = 4 << 20;

/// What is said where there are no texts.
const MISSING: &str = "no texts: give them as arguments, name a file with --input, or pipe them in";

/// A run of texts.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// Place of the first text in the input, from 0.
    pub(crate) first: usize,
    /// The texts; at least one.
    pub(crate) texts: Vec<String>,
    /// Where the last text ends in the input, in bytes.
    pub(crate) end: u64,
}

impl Chunk {
    /// Place after the last text.
    pub(crate) fn next(&self) -> usize {
        self.first + self.texts.len()
    }
}

/// Where texts come from.
pub(crate) struct Input {
    texts: Box<dyn Iterator<Item = Result<Text, Failure>> + Send>,
    lines_of: Option<String>,
    total_bytes: Option<u64>,
    is_small: bool,
}

impl Input {
    /// The texts if there are any, else the lines of the file, else those of standard input.
    pub(crate) fn open(texts: Vec<String>, file: Option<&Path>) -> Result<Self, Failure> {
        match file {
            Some(file) => Ok(Self::lines(Source::open(file)?)),
            None if texts.is_empty() => Ok(Self::lines(Source::piped(MISSING)?)),
            None => Ok(Self::given(texts)),
        }
    }

    fn given(texts: Vec<String>) -> Self {
        let bytes = |text: &str| text.len() as u64;
        let total_bytes = texts.iter().map(|text| bytes(text)).sum();
        let is_small = texts.len() <= CHUNK_TEXTS;
        let texts = texts.into_iter().map(move |text| Ok(Text { bytes: bytes(&text), text }));
        Self { texts: Box::new(texts), lines_of: None, total_bytes: Some(total_bytes), is_small }
    }

    fn lines(source: Source) -> Self {
        let (lines_of, total_bytes) = (Some(source.name.clone()), source.total_bytes);
        Self { texts: Box::new(Lines::of(source)), lines_of, total_bytes, is_small: false }
    }

    /// The name of the file whose lines are read, for messages.
    pub(crate) fn lines_of(&self) -> Option<&str> {
        self.lines_of.as_deref()
    }

    /// Bytes of the whole input, where known.
    pub(crate) fn total_bytes(&self) -> Option<u64> {
        self.total_bytes
    }

    /// Whether it is known to be done soon.
    pub(crate) fn is_small(&self) -> bool {
        self.is_small
    }

    /// Starts to read.
    pub(crate) fn chunks(self) -> ReadAhead<Chunk> {
        ReadAhead::start(Chunks { texts: self.texts, next: 0, end: 0, failure: None })
    }
}

/// Texts, gathered. A failure comes after the texts before it.
struct Chunks<I> {
    texts: I,
    next: usize,
    end: u64,
    failure: Option<Failure>,
}

impl<I: Iterator<Item = Result<Text, Failure>>> Iterator for Chunks<I> {
    type Item = Result<Chunk, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(failure) = self.failure.take() {
            return Some(Err(failure));
        }
        let mut chunk = Chunk { first: self.next, ..Chunk::default() };
        let mut bytes = 0;
        while chunk.texts.len() < CHUNK_TEXTS && bytes < CHUNK_BYTES {
            match self.texts.next() {
                Some(Ok(text)) => {
                    bytes += text.text.len();
                    self.end += text.bytes;
                    chunk.texts.push(text.text);
                }
                Some(Err(failure)) if chunk.texts.is_empty() => return Some(Err(failure)),
                Some(Err(failure)) => {
                    self.failure = Some(failure);
                    break;
                }
                None => break,
            }
        }
        self.next = chunk.next();
        chunk.end = self.end;
        (!chunk.texts.is_empty()).then_some(Ok(chunk))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, BufReader};

    use super::*;

    fn chunks(bytes: &[u8]) -> Vec<Result<Chunk, Failure>> {
        let texts = Lines::new("`x`".into(), BufReader::with_capacity(3, bytes));
        Chunks { texts, next: 0, end: 0, failure: None }.collect()
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        chunks(bytes).into_iter().flat_map(|chunk| chunk.expect("valid lines").texts).collect()
    }

    #[test]
    fn lines_end_at_line_feeds_and_empty_lines_count() {
        assert!(texts(b"").is_empty());
        assert_eq!(texts(b"\n"), [""]);
        assert_eq!(texts(b"a"), ["a"]);
        assert_eq!(texts(b"a\n"), ["a"]);
        assert_eq!(texts(b"a\r\n\r\nb\rc\n\nd\r"), ["a", "", "b\rc", "", "d\r"]);
    }

    #[test]
    fn byte_order_mark_is_dropped_at_the_start_only() {
        assert_eq!(texts("\u{feff}a\n\u{feff}b".as_bytes()), ["a", "\u{feff}b"]);
        assert_eq!(texts("\u{feff}".as_bytes()), [""]);
    }

    #[test]
    fn chunks_are_bounded_in_texts_and_bytes_and_know_their_place() {
        let found: Vec<_> =
            chunks(&b"x\n".repeat(CHUNK_TEXTS * 2 + 1)).into_iter().map(|c| c.expect("lines")).collect();
        let places: Vec<_> = found.iter().map(|chunk| (chunk.first, chunk.next(), chunk.end)).collect();
        let n = CHUNK_TEXTS;
        assert_eq!(places, [(0, n, 2 * n as u64), (n, 2 * n, 4 * n as u64), (2 * n, 2 * n + 1, 4 * n as u64 + 2)]);

        let long = [vec![b'x'; CHUNK_BYTES], b"\ny\n".to_vec()].concat();
        assert_eq!(chunks(&long).len(), 2);
    }

    #[test]
    fn failures_name_the_line_and_come_after_the_texts_before() {
        let found = chunks(b"a\nb\n\xffc\nd\n");
        assert!(matches!(&found[0], Ok(chunk) if chunk.texts == ["a", "b"]), "{found:?}");
        let Err(Failure::Failed(message)) = &found[1] else { panic!("{found:?}") };
        assert_eq!(message, "line 3 of `x` is not valid UTF-8 at byte 1");
    }

    #[test]
    fn lines_without_an_end_are_refused() {
        let texts = Lines::new("`x`".into(), BufReader::new(io::repeat(b'x')));
        let first = Chunks { texts, next: 0, end: 0, failure: None }.next();
        let Some(Err(Failure::Failed(message))) = &first else { panic!("no failure") };
        assert_eq!(message, "line 1 of `x` is longer than 64 MiB");
    }
}
