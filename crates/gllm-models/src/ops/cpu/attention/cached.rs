//! Attention of new tokens to all before them, whose keys and values are kept in pages.
//!
//! Query heads that share keys and values, and neighbouring tokens, make a tile.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::{PARALLEL, Pages, Seen, TILE, attend};
use crate::kv_cache::{PagedLayer, padded};
use crate::ops::cached_attention::{GroupedHeads, Scores, Span};
use crate::ops::cpu::rms_norm::rms_norm_row;
use crate::ops::cpu::simd::Isa;
use crate::ops::rotary::HostRotation;

/// The weights of the normalisation of each head's queries and keys, `[head_dim]` each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QkWeights<'a> {
    pub(crate) queries: &'a [f32],
    pub(crate) keys: &'a [f32],
    pub(crate) eps: f32,
}

/// What attention is computed with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CachedAttention<'a> {
    pub(crate) heads: GroupedHeads,
    pub(crate) scores: Scores,
    pub(crate) norms: Option<QkWeights<'a>>,
    pub(crate) rotation: &'a HostRotation,
    /// Where the rows of each sequence are.
    pub(crate) spans: &'a [Span],
}

impl CachedAttention<'_> {
    /// Appends the keys and values of the rows to the caches of their sequences, then lets the rows attend.
    ///
    /// # Shapes
    /// - `qkv`: `[tokens, (heads + 2 · kv_heads) · head_dim]`
    /// - returns `[tokens, heads · head_dim]`, in the memory of `out`
    pub(crate) fn forward(&self, qkv: &[f32], layers: &mut [&mut PagedLayer], mut out: Vec<f32>) -> Vec<f32> {
        let GroupedHeads { heads, kv_heads, head_dim } = self.heads;
        for (span, layer) in self.spans.iter().zip(layers.iter_mut()) {
            self.append(qkv, span, layer);
        }
        let group = heads / kv_heads;
        let tasks = self.spans.iter().zip(layers.iter()).flat_map(|(span, layer)| {
            let vectors = span.rows.len() * group;
            let tiles = (0..vectors).step_by(TILE).map(move |first| first..vectors.min(first + TILE));
            (0..kv_heads).flat_map(move |head| tiles.clone().map(move |tile| Task { span, layer, head, tile }))
        });
        let tasks: Vec<Task<'_>> = tasks.collect();
        let work: usize = self.spans.iter().map(|span| span.rows.len() * (span.place + span.rows.len())).sum();
        let isa = Isa::detect();
        let results: Vec<Vec<f32>> = if work * heads * head_dim < PARALLEL {
            tasks.iter().map(|task| self.tile(isa, qkv, task)).collect()
        } else {
            tasks.par_iter().map(|task| self.tile(isa, qkv, task)).collect()
        };
        out.resize(qkv.len() / self.width() * heads * head_dim, 0.0);
        for (task, result) in tasks.iter().zip(results) {
            for (vector, values) in task.tile.clone().zip(result.chunks_exact(padded(head_dim))) {
                let row = task.span.rows.start + vector / group;
                let head = task.head * group + vector % group;
                out[(row * heads + head) * head_dim..][..head_dim].copy_from_slice(&values[..head_dim]);
            }
        }
        out
    }

    /// Of a row of `qkv`.
    fn width(&self) -> usize {
        (self.heads.heads + 2 * self.heads.kv_heads) * self.heads.head_dim
    }

    fn append(&self, qkv: &[f32], span: &Span, layer: &mut PagedLayer) {
        let GroupedHeads { heads, kv_heads, head_dim } = self.heads;
        let mut key = vec![0.0; head_dim];
        for (index, row) in span.rows.clone().enumerate() {
            let of_row = &qkv[row * self.width()..(row + 1) * self.width()];
            let (keys, values) = of_row[heads * head_dim..].split_at(kv_heads * head_dim);
            for head in 0..kv_heads {
                let own = head * head_dim..(head + 1) * head_dim;
                key.copy_from_slice(&keys[own.clone()]);
                if let Some(norms) = &self.norms {
                    rms_norm_row(&mut key, norms.keys, norms.eps);
                }
                self.rotation.rotate(row, &mut key);
                layer.write(span.place + index, head, &key, &values[own]);
            }
        }
    }

    /// `[queries of the tile, padded(head_dim)]`.
    fn tile(&self, isa: Isa, qkv: &[f32], task: &Task<'_>) -> Vec<f32> {
        let GroupedHeads { heads, kv_heads, head_dim } = self.heads;
        let Scores { scale, soft_cap, window } = self.scores;
        let group = heads / kv_heads;
        let row_of = |index: usize| (task.tile.start + index) / group;
        let query = |index: usize, query: &mut [f32]| {
            let row = task.span.rows.start + row_of(index);
            let head = task.head * group + (task.tile.start + index) % group;
            query.copy_from_slice(&qkv[row * self.width() + head * head_dim..][..head_dim]);
            if let Some(norms) = &self.norms {
                rms_norm_row(query, norms.queries, norms.eps);
            }
            self.rotation.rotate(row, query);
            for x in query {
                *x *= scale;
            }
        };
        let visible = |index: usize| {
            let end = task.span.place + row_of(index) + 1;
            window.map_or(0, |window| end.saturating_sub(window))..end
        };
        let pages = HeadPages { layer: task.layer, head: task.head, head_dim };
        attend(isa, &Seen { pages: &pages, soft_cap }, task.tile.len(), head_dim, query, visible)
    }
}

/// Some queries of a sequence, of the heads that share a head of keys and values.
#[derive(Debug)]
struct Task<'a> {
    span: &'a Span,
    layer: &'a PagedLayer,
    /// Of keys and values.
    head: usize,
    /// Of the sequence's queries, those of a row side by side.
    tile: Range<usize>,
}

/// A head of a sequence's cache.
struct HeadPages<'a> {
    layer: &'a PagedLayer,
    head: usize,
    head_dim: usize,
}

impl Pages for HeadPages<'_> {
    fn keys(&self, page: usize) -> Cow<'_, [f32]> {
        self.layer.pages()[page].keys(self.head, self.head_dim)
    }

    fn values(&self, page: usize) -> Cow<'_, [f32]> {
        self.layer.pages()[page].values(self.head, self.head_dim)
    }
}
