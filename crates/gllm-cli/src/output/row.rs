//! A text's vectors as JSON has them.

use gllm::{Embedding, MultiVector, SparseVector};
use serde::Serialize;

/// What is there; a model without an embedding leaves it out.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    index: usize,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    embedding: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    sparse: Option<&'a SparseVector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_vector: Option<&'a MultiVector>,
}

impl<'a> From<&'a Embedding> for Row<'a> {
    fn from(embedding: &'a Embedding) -> Self {
        let Embedding { index, embedding, sparse, multi_vector } = embedding;
        Self { index: *index, embedding, sparse: sparse.as_ref(), multi_vector: multi_vector.as_ref() }
    }
}
