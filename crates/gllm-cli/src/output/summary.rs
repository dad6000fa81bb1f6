//! A line a text that sums up its vectors of several kinds, for people.

use std::io::{self, Write};

use gllm::{Embedding, MultiVector, SparseVector};

use super::Rows;

/// Numbers of a vector that are shown.
const SHOWN: usize = 5;

pub(super) struct SummaryLines<W>(pub(super) W);

impl<W: Write> Rows for SummaryLines<W> {
    fn row(&mut self, embedding: &Embedding) -> io::Result<()> {
        let dense = Some(&embedding.embedding).filter(|vector| !vector.is_empty());
        let parts = [
            dense.map(|vector| dense_part(vector)),
            embedding.sparse.as_ref().map(sparse_part),
            embedding.multi_vector.as_ref().map(multi_vector_part),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        writeln!(self.0, "{}", parts.join("  "))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The first numbers.
fn dense_part(vector: &[f32]) -> String {
    let numbers = vector.iter().map(|number| format!("{number:.4}"));
    format!("dense {} [{}]", vector.len(), listed(numbers))
}

/// The largest weights.
fn sparse_part(vector: &SparseVector) -> String {
    let mut weights: Vec<_> = vector.indices.iter().zip(&vector.values).collect();
    weights.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let weights = weights.into_iter().map(|(token, weight)| format!("{token}:{weight:.4}"));
    format!("sparse {} [{}]", vector.indices.len(), listed(weights))
}

fn multi_vector_part(multi_vector: &MultiVector) -> String {
    let dimensions = multi_vector.vectors.first().map_or(0, Vec::len);
    format!("multi-vector {} x {dimensions}", multi_vector.vectors.len())
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let rest = if items.len() > SHOWN { " …" } else { "" };
    items.take(SHOWN).collect::<Vec<_>>().join(" ") + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_show_what_there_is() {
        let mut lines = SummaryLines(Vec::new());
        let sparse = |count: u32| SparseVector {
            indices: (0..count).collect(),
            values: (0..count).map(|token| token as f32).collect(),
        };
        let dense = vec![0.5, -1.0];
        lines.row(&Embedding { embedding: dense.clone(), sparse: Some(sparse(7)), ..Embedding::default() }).expect("x");
        let multi_vector = Some(MultiVector { vectors: vec![vec![1.0, 0.0]; 3] });
        lines.row(&Embedding { embedding: dense, multi_vector, ..Embedding::default() }).expect("x");
        lines.row(&Embedding { sparse: Some(sparse(0)), ..Embedding::default() }).expect("x");
        let text = String::from_utf8(lines.0).expect("UTF-8");
        let expected = [
            "dense 2 [0.5000 -1.0000]  sparse 7 [6:6.0000 5:5.0000 4:4.0000 3:3.0000 2:2.0000 …]",
            "dense 2 [0.5000 -1.0000]  multi-vector 3 x 2",
            "sparse 0 []",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
