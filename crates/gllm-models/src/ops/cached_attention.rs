//! Attention of a decoder: each token sees itself and what its sequence's cache has of those before.

use std::ops::Range;

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Tensor, TensorData};

#[cfg(feature = "cpu")]
use super::cpu::{self, attention::CachedAttention, attention::QkWeights};
use super::rotary::{RotaryTables, Rotation, rotate};
use crate::kv_cache::{LayerCache, TensorLayer};
use crate::layers::RmsNorm;

/// How many heads there are, several of queries to one of keys and values, and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupedHeads {
    pub(crate) heads: usize,
    /// Divides `heads`.
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
}

/// What becomes of `query · key`, and whether it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scores {
    pub(crate) scale: f32,
    /// Scores `s` become `c · tanh(s / c)`.
    pub(crate) soft_cap: Option<f32>,
    /// Tokens that one sees, itself the last of them.
    pub(crate) window: Option<usize>,
}

/// The rows that are of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) rows: Range<usize>,
    /// Of the first one in its sequence.
    pub(crate) place: usize,
}

/// What attention of a block needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CachedOptions<'a> {
    pub(crate) heads: GroupedHeads,
    pub(crate) scores: Scores,
    /// Of each head's queries, and of its keys.
    pub(crate) norms: Option<&'a [RmsNorm; 2]>,
}

/// Appends keys and values to the sequences' caches, and attends.
///
/// # Shapes
/// - `qkv`: `[tokens, (heads + 2 · kv_heads) · head_dim]`, in each row queries, keys, values
/// - `spans`, `layers`: for each sequence
/// - returns `[tokens, heads · head_dim]`
pub(crate) fn cached_attention(
    qkv: Tensor<2>,
    options: &CachedOptions<'_>,
    rotation: &Rotation,
    spans: &[Span],
    layers: Vec<&mut LayerCache>,
) -> Tensor<2> {
    let tables = match rotation {
        #[cfg(feature = "cpu")]
        Rotation::Host(rotation) => {
            let norms = options.norms.map(|[queries, keys]| QkWeights {
                queries: queries.host(),
                keys: keys.host(),
                eps: queries.eps() as f32,
            });
            let attention = CachedAttention { heads: options.heads, scores: options.scores, norms, rotation, spans };
            let paged = layers.into_iter().filter_map(|layer| match layer {
                LayerCache::Paged(layer) => Some(layer),
                LayerCache::Tensors(_) => None,
            });
            let mut paged: Vec<_> = paged.collect();
            let width = options.heads.heads * options.heads.head_dim;
            return cpu::map(qkv, width, &mut |qkv, out| attention.forward(qkv, &mut paged, out));
        }
        Rotation::Tensors(tables) => tables,
    };
    composed(&qkv, options, tables, spans, layers)
}

fn composed(
    qkv: &Tensor<2>,
    options: &CachedOptions<'_>,
    tables: &RotaryTables,
    spans: &[Span],
    layers: Vec<&mut LayerCache>,
) -> Tensor<2> {
    let GroupedHeads { heads, kv_heads, head_dim } = options.heads;
    let tokens = qkv.dims()[0];
    let part = |heads: Range<usize>| qkv.clone().slice([0..tokens, heads.start * head_dim..heads.end * head_dim]);
    let rotated = |x: Tensor<2>, n_heads: usize, norm: Option<&RmsNorm>| {
        let x = match norm {
            Some(norm) => norm.forward(x.reshape([tokens * n_heads, head_dim])).reshape([tokens, n_heads * head_dim]),
            None => x,
        };
        rotate(x, n_heads, tables)
    };
    let queries = rotated(part(0..heads), heads, options.norms.map(|norms| &norms[0]));
    let keys = rotated(part(heads..heads + kv_heads), kv_heads, options.norms.map(|norms| &norms[1]));
    let values = part(heads + kv_heads..heads + 2 * kv_heads);
    let of_spans = spans.iter().zip(layers).map(|(span, layer)| {
        let rows = |x: &Tensor<2>| x.clone().slice([span.rows.clone(), 0..x.dims()[1]]);
        match layer {
            LayerCache::Tensors(layer) => attend(rows(&queries), rows(&keys), rows(&values), options, span, layer),
            // A cache of another device: the engine makes them for its own.
            #[cfg(feature = "cpu")]
            LayerCache::Paged(_) => rows(&queries).zeros_like(),
        }
    });
    let mut of_spans: Vec<_> = of_spans.collect();
    if of_spans.len() == 1 { of_spans.swap_remove(0) } else { Tensor::cat(of_spans, 0) }
}

/// Of one sequence.
fn attend(
    queries: Tensor<2>,
    keys: Tensor<2>,
    values: Tensor<2>,
    options: &CachedOptions<'_>,
    span: &Span,
    layer: &mut TensorLayer,
) -> Tensor<2> {
    let GroupedHeads { heads, kv_heads, head_dim } = options.heads;
    let (rows, group) = (span.rows.len(), heads / kv_heads);
    let device = queries.device();
    let [keys, values] = layer.append(keys, values);
    let len = keys.dims()[0];
    let [keys, values] = [keys, values].map(|x| x.reshape([len, kv_heads, head_dim]).swap_dims(0, 1));
    // The queries that share keys are rows of one product.
    let queries = queries.reshape([rows, kv_heads, group, head_dim]).swap_dims(0, 1);
    let queries = queries.reshape([kv_heads, rows * group, head_dim]) * options.scores.scale;
    let mut scores = queries.matmul(keys.swap_dims(1, 2));
    if let Some(cap) = options.scores.soft_cap {
        scores = (scores / cap).tanh() * cap;
    }
    if let Some(mask) = hidden(span, group, options.scores.window, &device) {
        scores = scores.mask_fill(mask.expand([kv_heads, rows * group, len]), f32::NEG_INFINITY);
    }
    let mixed = softmax(scores, 2).matmul(values);
    mixed.reshape([kv_heads, rows, group, head_dim]).swap_dims(0, 1).reshape([rows, heads * head_dim])
}

/// `[1, rows * group, len]`: true where a query doesn't see a key; `None` where each sees all.
fn hidden(span: &Span, group: usize, window: Option<usize>, device: &Device) -> Option<Tensor<3, Bool>> {
    let (rows, len) = (span.rows.len(), span.place + span.rows.len());
    if rows == 1 && window.is_none_or(|window| len <= window) {
        return None;
    }
    let hides = |place: usize, key: usize| key > place || window.is_some_and(|window| key + window <= place);
    let row = |row: usize| (0..len).map(move |key| (row, key));
    let values = (0..rows * group).flat_map(|query| row(span.place + query / group));
    let values: Vec<bool> = values.map(|(place, key)| hides(place, key)).collect();
    Some(Tensor::from_data(TensorData::new(values, [1, rows * group, len]), device))
}
