//! Multi-head self-attention over packed sequences: each token sees its own sequence, or a neighbourhood in it.
//!
//! Source: <https://arxiv.org/abs/1706.03762>, eq. 1.

use std::ops::Range;

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData, module};
use gllm_core::Precision;

#[cfg(feature = "cpu")]
use super::cpu::{self, attention::WholeAttention};
#[cfg(feature = "cpu")]
use super::has_kernels;
use super::pooling::kept;
use super::rotary::{Rotation, rotate};
use super::score_bias::{self, ScoreBias};
use crate::{Sequences, Wanted};

/// Scores that a bias is added to at once, at most: 64 MiB of them. With more, the heads are computed in turns.
const BIASED_SCORES: usize = 16 * 1024 * 1024;

/// Which tokens see which, and what is added to their scores, for each block of a batch.
#[derive(Debug)]
pub(crate) struct AttentionPattern {
    /// For each block `[rows or 1, 1, len, len]` or, where every query has the same, `[rows, 1, 1, len]`; true where
    /// a key isn't seen. `None` where every key is.
    masks: Vec<Option<Tensor<4, Bool>>>,
    biases: Option<Biases>,
    /// What kernels read instead.
    #[cfg(feature = "cpu")]
    host: HostPattern,
}

/// The same, on the host.
#[cfg(feature = "cpu")]
#[derive(Debug)]
struct HostPattern {
    /// How far a token sees on each side, if not all of its sequence.
    reach: Option<usize>,
    bias: Option<ScoreBias>,
}

/// A bias on a device.
#[derive(Debug)]
struct Biases {
    /// [`ScoreBias::upload`].
    values: Tensor<2>,
    /// For each block, [`ScoreBias::places`].
    places: Vec<Tensor<1, Int>>,
}

impl AttentionPattern {
    /// Each token sees its sequence, or with `reach` what is at most that far away.
    pub(crate) fn new(sequences: &Sequences, reach: Option<usize>, bias: Option<ScoreBias>, device: &Device) -> Self {
        #[cfg(feature = "cpu")]
        if has_kernels(device) {
            return Self { masks: Vec::new(), biases: None, host: HostPattern { reach, bias } };
        }
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
        let biases = bias.map(|bias| {
            let places = sequences.blocks().iter().map(|block| bias.places(block.len, device));
            Biases { values: bias.upload(device), places: places.collect() }
        });
        Self {
            masks: sequences.blocks().iter().map(mask).collect(),
            biases,
            #[cfg(feature = "cpu")]
            host: HostPattern { reach, bias: None },
        }
    }
}

/// `[1, 1, len, len]`: true where key and query are more than `reach` apart.
fn far_mask(len: usize, reach: usize, device: &Device) -> Tensor<4, Bool> {
    let values = (0..len).flat_map(|query| (0..len).map(move |key| query.abs_diff(key) > reach)).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, len, len]), device)
}

/// The heads of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    pub(crate) number: usize,
    /// Products are of bf16 where this isn't [`Precision::F32`] and there is a kernel for it.
    #[cfg_attr(not(feature = "cpu"), expect(dead_code, reason = "kernels read it"))]
    pub(crate) precision: Precision,
}

/// `softmax(q · kᵀ / √head_dim + bias) · v` for each head, queries and keys rotated first where `rotation` says how.
///
/// # Shapes
/// - `qkv`: `[tokens, 3 * n_heads * head_dim]`, in each row queries, keys, values
/// - returns `[wanted tokens, n_heads * head_dim]`
pub(crate) fn attention(
    qkv: Tensor<2>,
    heads: Heads,
    rotation: Option<&Rotation>,
    sequences: &Sequences,
    pattern: &AttentionPattern,
    wanted: Wanted,
) -> Tensor<2> {
    let [tokens, width] = qkv.dims();
    let (width, n_heads) = (width / 3, heads.number);
    let tables = match rotation {
        #[cfg(feature = "cpu")]
        None | Some(Rotation::Host(_)) if cpu::runs_here(&qkv.device()) => {
            let rotation = match rotation {
                Some(Rotation::Host(rotation)) => Some(rotation),
                _ => None,
            };
            let (lengths, HostPattern { reach, bias }) = (sequences.lengths(), &pattern.host);
            let (head_dim, reach, bias) = (width / n_heads, *reach, bias.as_ref());
            let attention = WholeAttention { n_heads, head_dim, rotation, lengths, reach, bias, wanted };
            return cpu::map(qkv, width, &mut |qkv, out| match heads.precision {
                Precision::F32 => attention.forward(qkv, out),
                _ => attention.forward_narrow(qkv, out),
            });
        }
        Some(Rotation::Tensors(tables)) => Some(tables),
        _ => None,
    };
    let [q, k, v] = [0, 1, 2].map(|part| qkv.clone().slice([0..tokens, part * width..(part + 1) * width]));
    let [q, k] = match tables {
        Some(tables) => [q, k].map(|x| rotate(x, n_heads, tables)),
        None => [q, k],
    };
    let mixed = sequences.map_blocks(&[q, k, v], |index, _, qkv| {
        let [rows, len, hidden] = qkv[0].dims();
        let head_dim = hidden / n_heads;
        let [q, k, v] = qkv.map(|x| x.reshape([rows, len, n_heads, head_dim]).swap_dims(1, 2));
        let of_heads = |heads: Range<usize>| {
            let part = |x: &Tensor<4>| x.clone().slice([0..rows, heads.clone(), 0..len, 0..head_dim]);
            let scores = [rows, heads.len(), len, len];
            // Keys are masked, queries needn't be: what they compute in the padding is never read.
            let mask = pattern.masks[index].clone().map(|mask| mask.expand(scores));
            let bias = pattern.biases.as_ref().map(|biases| {
                score_bias::gather(&biases.values, &biases.places[index], heads.clone(), len).expand(scores)
            });
            // On GPUs an explicit scale selects the kernels that compute in f32 throughout.
            let scale = Some(1.0 / (head_dim as f64).sqrt());
            let options = AttentionModuleOptions { scale, ..Default::default() };
            module::attention(part(&q), part(&k), part(&v), mask, bias, options)
        };
        let at_once = match pattern.biases {
            None => n_heads,
            Some(_) => (BIASED_SCORES / (len * len)).clamp(1, n_heads),
        };
        let parts = (0..n_heads).step_by(at_once).map(|head| of_heads(head..n_heads.min(head + at_once)));
        let mut parts: Vec<Tensor<4>> = parts.collect();
        let mixed = if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, 1) };
        mixed.swap_dims(1, 2).reshape([rows, len, hidden])
    });
    kept(mixed, wanted, sequences)
}
