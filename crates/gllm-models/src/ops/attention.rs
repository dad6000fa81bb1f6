//! Multi-head self-attention over packed sequences: each token sees its own sequence, or a neighbourhood in it.
//!
//! Source: <https://arxiv.org/abs/1706.03762>, eq. 1.

use std::ops::Range;

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Tensor, TensorData, module};

#[cfg(feature = "cpu")]
use super::cpu::{self, attention::WholeAttention};
use super::rotary::{Rotation, rotate};
use crate::Sequences;

/// Scores that a bias is added to at once, at most: 64 MiB of them. With more, the heads are computed in turns.
const BIASED_SCORES: usize = 16 * 1024 * 1024;

/// Which tokens see which, and what is added to their scores, for each block of a batch.
#[derive(Debug)]
pub(crate) struct AttentionPattern {
    /// For each block `[rows or 1, 1, len, len]` or, where every query has the same, `[rows, 1, 1, len]`; true where
    /// a key isn't seen. `None` where every key is.
    masks: Vec<Option<Tensor<4, Bool>>>,
    bias: ScoreBias,
    /// How far a token sees on each side, if not all of its sequence.
    #[cfg(feature = "cpu")]
    reach: Option<usize>,
}

/// What is added to the scores, for each block.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each batch")]
pub(crate) enum ScoreBias {
    None,
    /// `[1, n_heads, len, len]`.
    PerHead(Vec<Tensor<4>>),
    /// `[1, 1, len, len]`, the distances negated, and `[1, n_heads, 1, 1]`, their slopes.
    Alibi(Vec<Tensor<4>>, Tensor<4>),
}

impl ScoreBias {
    /// Linear in the distance. Source: <https://arxiv.org/abs/2108.12409>, symmetric.
    pub(crate) fn alibi(n_heads: usize, sequences: &Sequences, device: &Device) -> Self {
        let distances = |len: usize| {
            let values = (0..len).flat_map(|query| (0..len).map(move |key| -(query.abs_diff(key) as f32))).collect();
            Tensor::from_data(TensorData::new(values, [1, 1, len, len]), device)
        };
        let slopes = Tensor::from_data(TensorData::new(alibi_slopes(n_heads), [1, n_heads, 1, 1]), device);
        Self::Alibi(sequences.blocks().iter().map(|block| distances(block.len)).collect(), slopes)
    }

    /// `[1, heads, len, len]`.
    fn of(&self, block: usize, heads: Range<usize>) -> Option<Tensor<4>> {
        match self {
            Self::None => None,
            Self::PerHead(bias) => {
                let [_, _, len, _] = bias[block].dims();
                Some(bias[block].clone().slice([0..1, heads, 0..len, 0..len]))
            }
            Self::Alibi(distances, slopes) => {
                Some(distances[block].clone() * slopes.clone().slice([0..1, heads, 0..1, 0..1]))
            }
        }
    }
}

/// A geometric sequence for a power of two; for other numbers, that of the next smaller one, and then every other
/// term of the next larger one's.
fn alibi_slopes(n_heads: usize) -> Vec<f32> {
    let geometric = |n: usize| (1..=n).map(move |i| (-8.0 * i as f64 / n as f64).exp2() as f32);
    let power = if n_heads.is_power_of_two() { n_heads } else { n_heads.next_power_of_two() / 2 };
    geometric(power).chain(geometric(2 * power).step_by(2)).take(n_heads).collect()
}

impl AttentionPattern {
    /// Each token sees its sequence, or with `reach` what is at most that far away.
    pub(crate) fn new(sequences: &Sequences, reach: Option<usize>, bias: ScoreBias, device: &Device) -> Self {
        let mask = |block: &crate::sequences::Block| {
            let (rows, len) = (block.rows, block.len);
            let padding = block.padding_mask().map(|mask| mask.reshape([rows, 1, 1, len]));
            let far = reach.filter(|reach| len > reach + 1).map(|reach| far_mask(len, reach, device));
            match (padding, far) {
                (Some(padding), Some(far)) => {
                    let shape = [rows, 1, len, len];
                    Some(padding.expand(shape).bool_or(far.expand(shape)))
                }
                (padding, far) => padding.or(far),
            }
        };
        Self {
            masks: sequences.blocks().iter().map(mask).collect(),
            bias,
            #[cfg(feature = "cpu")]
            reach,
        }
    }
}

/// `[1, 1, len, len]`: true where key and query are more than `reach` apart.
fn far_mask(len: usize, reach: usize, device: &Device) -> Tensor<4, Bool> {
    let values = (0..len).flat_map(|query| (0..len).map(move |key| query.abs_diff(key) > reach)).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, len, len]), device)
}

/// `softmax(q · kᵀ / √head_dim + bias) · v` for each head, queries and keys rotated first where `rotation` says how.
///
/// # Shapes
/// - `qkv`: `[tokens, 3 * n_heads * head_dim]`, in each row queries, keys, values
/// - returns `[tokens, n_heads * head_dim]`
pub(crate) fn attention(
    qkv: Tensor<2>,
    n_heads: usize,
    rotation: Option<&Rotation>,
    sequences: &Sequences,
    pattern: &AttentionPattern,
) -> Tensor<2> {
    let [tokens, width] = qkv.dims();
    let width = width / 3;
    let tables = match rotation {
        #[cfg(feature = "cpu")]
        None | Some(Rotation::Host(_)) if cpu::runs_here(&qkv.device()) && matches!(pattern.bias, ScoreBias::None) => {
            let rotation = match rotation {
                Some(Rotation::Host(rotation)) => Some(rotation),
                _ => None,
            };
            let (lengths, reach) = (sequences.lengths(), pattern.reach);
            let attention = WholeAttention { n_heads, head_dim: width / n_heads, rotation, lengths, reach };
            return cpu::map(qkv, width, &mut |qkv, out| attention.forward(qkv, out));
        }
        Some(Rotation::Tensors(tables)) => Some(tables),
        _ => None,
    };
    let [q, k, v] = [0, 1, 2].map(|part| qkv.clone().slice([0..tokens, part * width..(part + 1) * width]));
    let [q, k] = match tables {
        Some(tables) => [q, k].map(|x| rotate(x, n_heads, tables)),
        None => [q, k],
    };
    sequences.map_blocks(&[q, k, v], |index, _, qkv| {
        let [rows, len, hidden] = qkv[0].dims();
        let head_dim = hidden / n_heads;
        let [q, k, v] = qkv.map(|x| x.reshape([rows, len, n_heads, head_dim]).swap_dims(1, 2));
        let of_heads = |heads: Range<usize>| {
            let part = |x: &Tensor<4>| x.clone().slice([0..rows, heads.clone(), 0..len, 0..head_dim]);
            let scores = [rows, heads.len(), len, len];
            // Keys are masked, queries needn't be: what they compute in the padding is never read.
            let mask = pattern.masks[index].clone().map(|mask| mask.expand(scores));
            let bias = pattern.bias.of(index, heads.clone()).map(|bias| bias.expand(scores));
            // On GPUs an explicit scale selects the kernels that compute in f32 throughout.
            let scale = Some(1.0 / (head_dim as f64).sqrt());
            let options = AttentionModuleOptions { scale, ..Default::default() };
            module::attention(part(&q), part(&k), part(&v), mask, bias, options)
        };
        let at_once = match pattern.bias {
            ScoreBias::None => n_heads,
            _ => (BIASED_SCORES / (len * len)).clamp(1, n_heads),
        };
        let parts = (0..n_heads).step_by(at_once).map(|head| of_heads(head..n_heads.min(head + at_once)));
        let mut parts: Vec<Tensor<4>> = parts.collect();
        let mixed = if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, 1) };
        mixed.swap_dims(1, 2).reshape([rows, len, hidden])
    })
}

#[cfg(test)]
mod tests {
    use super::alibi_slopes;

    #[test]
    fn slopes_of_heads_that_are_no_power_of_two() {
        assert_eq!(alibi_slopes(4), [0.25, 0.0625, 0.015_625, 0.003_906_25]);
        // Those of 2 heads, then the first of 4 heads' odd terms.
        assert_eq!(alibi_slopes(3), [0.0625, 0.003_906_25, 0.25]);
    }
}
