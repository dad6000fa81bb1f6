//! Texts in, chunks out: from arguments, or from the lines of a file or of standard input.
//!
//! Invariants: the chunks depend on the texts alone, so that a resumed run computes the same batches; what is held in
//! memory is bounded by a few chunks, however long the input. A thread reads ahead, so that a signal is noticed while
//! standard input is silent.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::panic;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use gllm::Error;

use crate::exit::Failure;
use crate::interrupt;

/// Texts of a chunk at most: enough for several batches, few enough that an interrupt is noticed soon.
const CHUNK_TEXTS: usize = 512;

/// A chunk is full when its texts reach this many bytes.
const CHUNK_BYTES: usize = 4 << 20;

/// Longest line in bytes. A line that doesn't end is no text, and must not fill the memory.
const LINE_BYTES: u64 = 64 << 20;

const BYTE_ORDER_MARK: &str = "\u{feff}";

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

/// A text and the bytes that it takes in the input.
struct Text {
    text: String,
    bytes: u64,
}

impl Input {
    /// The texts if there are any, else the lines of the file, else those of standard input.
    pub(crate) fn open(texts: Vec<String>, file: Option<&Path>) -> Result<Self, Failure> {
        let Some(file) = file else {
            return if texts.is_empty() { Self::piped() } else { Ok(Self::given(texts)) };
        };
        if file == Path::new("-") {
            return Ok(Self::lines("standard input".to_owned(), io::stdin(), None));
        }
        let open = || {
            let opened = File::open(file)?;
            let found = opened.metadata()?;
            Ok((opened, found.is_file().then_some(found.len())))
        };
        let (opened, total_bytes) = open().map_err(|error| Error::io("cannot open", file, &error))?;
        Ok(Self::lines(format!("`{}`", file.display()), opened, total_bytes))
    }

    fn given(texts: Vec<String>) -> Self {
        let bytes = |text: &str| text.len() as u64;
        let total_bytes = texts.iter().map(|text| bytes(text)).sum();
        let is_small = texts.len() <= CHUNK_TEXTS;
        let texts = texts.into_iter().map(move |text| Ok(Text { bytes: bytes(&text), text }));
        Self { texts: Box::new(texts), lines_of: None, total_bytes: Some(total_bytes), is_small }
    }

    fn piped() -> Result<Self, Failure> {
        if io::stdin().is_terminal() {
            let ways = "give them as arguments, name a file with --input, or pipe them in";
            return Err(Failure::Usage(format!("no texts: {ways}")));
        }
        Ok(Self::lines("standard input".to_owned(), io::stdin(), None))
    }

    fn lines(name: String, source: impl Read + Send + 'static, total_bytes: Option<u64>) -> Self {
        let lines = Lines { name: name.clone(), source: BufReader::new(source), read: 0 };
        Self { texts: Box::new(lines), lines_of: Some(name), total_bytes, is_small: false }
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
    pub(crate) fn chunks(self) -> ReadAhead {
        let (sender, receiver) = sync_channel(1);
        let reader = thread::spawn(move || {
            for chunk in (Chunks { texts: self.texts, next: 0, end: 0, failure: None }) {
                if sender.send(chunk).is_err() {
                    break;
                }
            }
        });
        ReadAhead { receiver, reader: Some(reader) }
    }
}

/// The chunks that a thread reads.
pub(crate) struct ReadAhead {
    receiver: Receiver<Result<Chunk, Failure>>,
    reader: Option<JoinHandle<()>>,
}

impl ReadAhead {
    /// The next chunk, `None` at the end of the input, `Failure::Interrupted` after a signal.
    pub(crate) fn next(&mut self) -> Result<Option<Chunk>, Failure> {
        if let Some(chunk) = interrupt::receive(&self.receiver)? {
            return chunk.map(Some);
        }
        // A reader that failed must not look like the end of the input.
        if let Some(Err(cause)) = self.reader.take().map(JoinHandle::join) {
            panic::resume_unwind(cause);
        }
        Ok(None)
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

/// The lines of a file.
struct Lines<R> {
    name: String,
    source: BufReader<R>,
    read: usize,
}

impl<R: Read> Iterator for Lines<R> {
    type Item = Result<Text, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let bytes = match self.source.by_ref().take(LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(bytes) => bytes as u64,
            Err(error) => return Some(Err(Failure::Failed(format!("cannot read {}: {error}", self.name)))),
        };
        self.read += 1;
        Some(self.text(line).map(|text| Text { text, bytes }))
    }
}

impl<R> Lines<R> {
    /// The text of the line that was just read.
    fn text(&self, mut line: Vec<u8>) -> Result<String, Failure> {
        let failed = |what: &str| Failure::Failed(format!("line {} of {} {what}", self.read, self.name));
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        } else if line.len() as u64 == LINE_BYTES {
            return Err(failed(&format!("is longer than {} MiB", LINE_BYTES >> 20)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(bytes: &[u8]) -> Vec<Result<Chunk, Failure>> {
        let texts = Lines { name: "`x`".into(), source: BufReader::with_capacity(3, bytes), read: 0 };
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
        let texts = Lines { name: "`x`".into(), source: BufReader::new(io::repeat(b'x')), read: 0 };
        let first = Chunks { texts, next: 0, end: 0, failure: None }.next();
        let Some(Err(Failure::Failed(message))) = &first else { panic!("no failure") };
        assert_eq!(message, "line 1 of `x` is longer than 64 MiB");
    }
}
