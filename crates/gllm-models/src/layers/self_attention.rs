//! Multi-head self-attention with its projections.

use burn::tensor::Tensor;
use gllm_core::Result;

use super::Linear;
use crate::{Sequences, Weights, ops};

/// Query, key and value projections, all `[hidden, hidden]`.
#[derive(Debug)]
pub(crate) struct SelfAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    n_heads: usize,
}

impl SelfAttention {
    /// Reads `query`, `key` and `value`.
    pub(crate) fn load(weights: &Weights<'_>, hidden: usize, n_heads: usize) -> Result<Self> {
        let projection = |name| Linear::load(&weights.enter(name), hidden, hidden);
        Ok(Self { query: projection("query")?, key: projection("key")?, value: projection("value")?, n_heads })
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`, returns the same
    pub(crate) fn forward(&self, x: &Tensor<2>, sequences: &Sequences) -> Tensor<2> {
        let [q, k, v] = [&self.query, &self.key, &self.value].map(|projection| projection.forward(x.clone()));
        ops::attention(q, k, v, self.n_heads, sequences)
    }
}
