//! A `NumPy` array, float32 `[texts, dimensions]`.
//!
//! Invariant: the header's count of rows never exceeds the rows in the file: it is corrected after they were written,
//! in the room that the header's padding leaves. Source:
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, version 1.0.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use gllm::{Embedding, Error};

use super::Rows;
use crate::exit::Failure;
use crate::resume::Done;

/// Bytes of the header: room for any count, and rows are aligned as `NumPy` aligns them.
const HEADER: usize = 128;

/// Magic, version 1.0, and the length of the text that follows these ten bytes.
const PREFIX: [u8; 10] = *b"\x93NUMPY\x01\x00\x76\x00";

pub(super) struct Npy {
    file: BufWriter<File>,
    rows: usize,
    dimensions: usize,
}

impl Npy {
    /// An array in an empty file.
    pub(super) fn create(file: File, dimensions: usize) -> io::Result<Self> {
        let mut file = BufWriter::new(file);
        file.write_all(&header(0, dimensions))?;
        Ok(Self { file, rows: 0, dimensions })
    }

    /// An array that has `rows` already; the file is at its end.
    pub(super) fn resume(file: File, rows: usize, dimensions: usize) -> Self {
        Self { file: BufWriter::new(file), rows, dimensions }
    }
}

impl Rows for Npy {
    fn row(&mut self, embedding: &Embedding) -> io::Result<()> {
        self.rows += 1;
        embedding.embedding.iter().try_for_each(|number| self.file.write_all(&number.to_le_bytes()))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header(self.rows, self.dimensions))?;
        self.file.seek(SeekFrom::End(0))?;
        Ok(())
    }
}

fn header(rows: usize, dimensions: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimensions}), }}");
    let mut header = PREFIX.to_vec();
    header.extend_from_slice(text.as_bytes());
    header.resize(HEADER - 1, b' ');
    header.push(b'\n');
    header
}

/// What an earlier run left. An array of other numbers, or of rows of another length, is a failure.
pub(super) fn scan(path: &Path, dimensions: usize) -> Result<Done, Failure> {
    let read = || {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut found = Vec::with_capacity(HEADER);
        file.take(HEADER as u64).read_to_end(&mut found)?;
        Ok((found, bytes))
    };
    let (found, bytes) = read().map_err(|error| Error::io("cannot read", path, &error))?;
    if found.len() < HEADER && (found.starts_with(&PREFIX) || PREFIX.starts_with(&found)) {
        return Ok(Done::default());
    }
    if rows_in(&found).is_none_or(|rows| header(rows, dimensions) != found) {
        let what = format!("it is no float32 array with {dimensions} columns as gllm writes it");
        return Err(Failure::Failed(format!("cannot resume `{}`: {what}", path.display())));
    }
    let row_bytes = dimensions as u64 * 4;
    let rows = (bytes - HEADER as u64).checked_div(row_bytes).unwrap_or(0);
    Ok(Done { rows: rows as usize, bytes: HEADER as u64 + rows * row_bytes })
}

/// The count of rows that a header states.
fn rows_in(header: &[u8]) -> Option<usize> {
    let (_, shape) = std::str::from_utf8(header.get(PREFIX.len()..)?).ok()?.split_once("'shape': (")?;
    shape.split_once(',')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_has_room_for_any_count() {
        for (rows, dimensions) in [(0, 1), (12, 48), (usize::MAX, 65_536)] {
            let header = header(rows, dimensions);
            assert_eq!((header.len(), header[HEADER - 2], header[HEADER - 1]), (HEADER, b' ', b'\n'));
            assert_eq!(rows_in(&header), Some(rows));
            assert_eq!(usize::from(header[8]) + PREFIX.len(), HEADER);
        }
    }

    #[test]
    fn file_is_a_whole_array_after_every_flush_and_can_be_resumed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.npy");
        let row = |vector: [f32; 2]| Embedding { embedding: vector.to_vec(), ..Embedding::default() };
        let mut npy = Npy::create(File::create(&path).expect("a file"), 2).expect("a header");
        for rows in 1..=3 {
            npy.row(&row([0.5, rows as f32])).expect("a row");
            npy.flush().expect("a flush");
            assert_eq!(rows_in(&std::fs::read(&path).expect("the file")[..HEADER]), Some(rows));
        }
        npy.row(&row([1.0, 1.0])).expect("a row");
        npy.file.flush().expect("a flush without a header");
        let whole = std::fs::read(&path).expect("the file");
        for bytes in 0..=whole.len() {
            std::fs::write(&path, &whole[..bytes]).expect("a part");
            let done = scan(&path, 2).expect("a part of an array");
            let rows = bytes.saturating_sub(HEADER) / 8;
            assert_eq!(done.rows, rows, "{bytes} bytes");
        }
        scan(&path, 3).expect_err("other dimensions");
        std::fs::write(&path, [b'x'; 200]).expect("another file");
        scan(&path, 2).expect_err("no array");
    }
}
