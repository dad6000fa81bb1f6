//! Multi-head self-attention over packed sequences, each token seeing the whole of its own sequence.
//!
//! Source: <https://arxiv.org/abs/1706.03762>, eq. 1.

use burn::tensor::Tensor;
use burn::tensor::module;
use burn::tensor::ops::AttentionModuleOptions;

use crate::Sequences;

/// `softmax(q · kᵀ / √head_dim) · v` for each head.
///
/// # Shapes
/// - `q`, `k`, `v`: `[tokens, n_heads * head_dim]`, returns the same
pub(crate) fn attention(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, n_heads: usize, sequences: &Sequences) -> Tensor<2> {
    sequences.map_blocks(&[q, k, v], |block, qkv| {
        let [rows, len, hidden] = qkv[0].dims();
        let head_dim = hidden / n_heads;
        let [q, k, v] = qkv.map(|x| x.reshape([rows, len, n_heads, head_dim]).swap_dims(1, 2));
        let mask = block.padding_mask().map(|mask| {
            // Keys are masked, queries needn't be: what they compute in the padding is never read.
            mask.reshape([rows, 1, 1, len]).expand([rows, n_heads, len, len])
        });
        // On GPUs an explicit scale selects the kernels that compute in f32 throughout.
        let scale = Some(1.0 / (head_dim as f64).sqrt());
        let options = AttentionModuleOptions { scale, ..Default::default() };
        let mixed = module::attention(q, k, v, mask, None, options);
        mixed.swap_dims(1, 2).reshape([rows, len, hidden])
    })
}
