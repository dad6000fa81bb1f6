//! What an interrupted run left in a file of lines, so that the next can go on from there.
//!
//! Invariant: a file is only cut when what stands before the cut is known to be ours.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::mem;
use std::path::Path;

use gllm::Error;

use crate::exit::Failure;

/// The complete rows in a file, and where the last of them ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Complete rows.
    pub(crate) rows: usize,
    /// Bytes up to the end of the last one.
    pub(crate) bytes: u64,
}

/// Counts the complete lines. A last line that has no end, or that `is_row(place, line)` refuses, doesn't count; if it
/// refuses the one before too, the file isn't ours and that is a failure.
///
/// Other lines aren't looked at, so that gigabytes are read as fast as the disk gives them.
pub(crate) fn scan_lines(path: &Path, is_row: impl Fn(usize, &[u8]) -> bool) -> Result<Done, Failure> {
    let failed = |error| Error::io("cannot read", path, &error);
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(failed)?);
    let (mut done, mut before_last) = (Done::default(), Done::default());
    let (mut last, mut previous, mut line) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        line.clear();
        reader.read_until(b'\n', &mut line).map_err(failed)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        before_last = done;
        done = Done { rows: done.rows + 1, bytes: done.bytes + line.len() as u64 };
        mem::swap(&mut previous, &mut last);
        mem::swap(&mut last, &mut line);
    }
    if done.rows == 0 || is_row(done.rows - 1, &last) {
        return Ok(done);
    }
    if before_last.rows == 0 || is_row(before_last.rows - 1, &previous) {
        return Ok(before_last);
    }
    let what = format!("line {} is no vector of this format and model", before_last.rows);
    Err(Failure::Failed(format!("cannot resume `{}`: {what}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Result<Done, Failure> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("write");
        scan_lines(file.path(), |place, line| line == format!("row {place}\n").as_bytes())
    }

    #[test]
    fn complete_rows_count_and_a_broken_last_one_does_not() {
        for (text, rows, bytes) in [
            ("", 0, 0),
            ("row", 0, 0),
            ("row 0", 0, 0),
            ("row 0\n", 1, 6),
            ("row 0\nrow 1", 1, 6),
            ("row 0\nrow 1\n", 2, 12),
            ("row 0\nrow 1\n\0\0\n", 2, 12),
            ("row 0\nrow 1\nbroken\nro", 2, 12),
            ("broken\n", 0, 0),
        ] {
            let done = scan(text).unwrap_or_else(|_| panic!("{text:?}"));
            assert_eq!(done, Done { rows, bytes }, "{text:?}");
        }
    }

    #[test]
    fn files_of_something_else_are_refused() {
        for text in ["one\ntwo\n", "row 0\nrow 0\nrow 0\n"] {
            let failure = scan(text).err().map(|failure| format!("{failure:?}"));
            assert!(failure.is_some_and(|text| text.contains("cannot resume")), "{text:?}");
        }
    }
}
