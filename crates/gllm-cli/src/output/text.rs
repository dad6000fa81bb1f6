//! One vector a line, numbers separated by spaces.

use std::io::{self, Write};

use gllm::Embedding;

use super::Rows;

pub(super) struct Text<W>(pub(super) W);

impl<W: Write> Rows for Text<W> {
    fn row(&mut self, embedding: &Embedding) -> io::Result<()> {
        for (place, number) in embedding.embedding.iter().enumerate() {
            if place > 0 {
                self.0.write_all(b" ")?;
            }
            // The shortest form that reads back as the same number.
            serde_json::to_writer(&mut self.0, number)?;
        }
        self.0.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether this is a whole line of ours.
pub(super) fn is_row(line: &[u8], dimensions: usize) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let numbers = line.split_ascii_whitespace().map(str::parse::<f32>);
    numbers.clone().all(|number| number.is_ok()) && numbers.count() == dimensions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_known_again_and_others_are_not() {
        let mut text = Text(Vec::new());
        text.row(&Embedding { embedding: vec![0.1, -1.0, 1e-8], ..Embedding::default() }).expect("a row");
        assert_eq!(text.0, b"0.1 -1.0 1e-8\n");
        assert!(is_row(&text.0, 3));
        assert!(!is_row(&text.0, 2) && !is_row(b"0.1 x 1\n", 3) && !is_row(b"\xff 1 2\n", 3) && !is_row(b"\n", 3));
    }
}
