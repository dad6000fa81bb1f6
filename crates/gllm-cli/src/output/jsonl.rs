//! One JSON object a line.

use std::io::{self, Write};

use gllm::{Embedding, MultiVector, SparseVector};
use serde::Deserialize;

use super::row::Row;
use super::{Form, Rows};

pub(super) struct Jsonl<W>(pub(super) W);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadRow {
    index: usize,
    #[serde(default)]
    embedding: Vec<f32>,
    #[serde(default)]
    sparse: Option<SparseVector>,
    #[serde(default)]
    multi_vector: Option<MultiVector>,
}

impl<W: Write> Rows for Jsonl<W> {
    fn row(&mut self, embedding: &Embedding) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, &Row::from(embedding))?;
        self.0.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether this is a whole line of ours, for the text at `index`.
pub(super) fn is_row(index: usize, line: &[u8], form: Form) -> bool {
    let Ok(row) = serde_json::from_slice::<ReadRow>(line) else { return false };
    row.index == index
        && row.embedding.len() == form.dimensions
        && row.sparse.is_some() == form.kinds.sparse
        && row.multi_vector.is_some() == form.kinds.multi_vector
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::KindArgs;

    const DENSE: Form = form(2, false, false);

    const fn form(dimensions: usize, sparse: bool, multi_vector: bool) -> Form {
        Form { dimensions, kinds: KindArgs { sparse, multi_vector } }
    }

    fn line(embedding: &Embedding) -> Vec<u8> {
        let mut jsonl = Jsonl(Vec::new());
        jsonl.row(embedding).expect("a row");
        jsonl.0
    }

    #[test]
    fn rows_are_known_again_and_others_are_not() {
        let line = line(&Embedding { index: 7, embedding: vec![0.5, -1.0], ..Embedding::default() });
        assert_eq!(line, b"{\"index\":7,\"embedding\":[0.5,-1.0]}\n");
        assert!(is_row(7, &line, DENSE));
        assert!(!is_row(6, &line, DENSE) && !is_row(7, &line, form(3, false, false)));
        assert!(!is_row(7, &line, form(2, true, false)));
        assert!((0..line.len() - 1).all(|end| !is_row(7, &line[..end], DENSE)), "a part of a row");
    }

    #[test]
    fn other_vectors_are_there_when_asked_for_and_an_empty_embedding_is_not() {
        let sparse = Some(SparseVector { indices: vec![3, 9], values: vec![0.5, 1.0] });
        let multi_vector = Some(MultiVector { vectors: vec![vec![0.0, 1.0]] });
        let all = line(&Embedding { index: 0, embedding: vec![0.5, -1.0], sparse: sparse.clone(), multi_vector });
        let expected = [
            r#"{"index":0,"embedding":[0.5,-1.0],"sparse":{"indices":[3,9],"values":[0.5,1.0]},"#,
            r#""multi_vector":[[0.0,1.0]]}"#,
            "\n",
        ];
        assert_eq!(all, expected.concat().as_bytes());
        assert!(is_row(0, &all, form(2, true, true)) && !is_row(0, &all, DENSE));

        let only = line(&Embedding { sparse, ..Embedding::default() });
        assert_eq!(only, b"{\"index\":0,\"sparse\":{\"indices\":[3,9],\"values\":[0.5,1.0]}}\n");
        assert!(is_row(0, &only, form(0, true, false)) && !is_row(0, &only, DENSE));
    }
}
