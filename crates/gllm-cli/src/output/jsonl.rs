//! One JSON object a line.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::Rows;

pub(super) struct Jsonl<W>(pub(super) W);

#[derive(Serialize)]
struct Row<'a> {
    index: usize,
    embedding: &'a [f32],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadRow {
    index: usize,
    embedding: Vec<f32>,
}

impl<W: Write> Rows for Jsonl<W> {
    fn row(&mut self, index: usize, embedding: &[f32]) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, &Row { index, embedding })?;
        self.0.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether this is a whole line of ours, for the text at `index`.
pub(super) fn is_row(index: usize, line: &[u8], dimensions: usize) -> bool {
    serde_json::from_slice::<ReadRow>(line).is_ok_and(|row| row.index == index && row.embedding.len() == dimensions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_known_again_and_others_are_not() {
        let mut jsonl = Jsonl(Vec::new());
        jsonl.row(7, &[0.5, -1.0]).expect("a row");
        assert_eq!(jsonl.0, b"{\"index\":7,\"embedding\":[0.5,-1.0]}\n");
        assert!(is_row(7, &jsonl.0, 2));
        assert!(!is_row(6, &jsonl.0, 2) && !is_row(7, &jsonl.0, 3));
        assert!((0..jsonl.0.len() - 1).all(|end| !is_row(7, &jsonl.0[..end], 2)), "a part of a row");
    }
}
