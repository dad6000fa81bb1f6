//! Attention of new tokens to all before them, whose keys and values are kept in pages.
//!
//! The softmax is computed as it goes, a page at a time (<https://arxiv.org/abs/2205.14135>), so no more than a page's
//! scores are there at once. Query heads that share keys and values, and neighbouring tokens, are computed in tiles, for
//! which a page is read once. Each query's result is the same, bit for bit, whatever tile it is in.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use std::array;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::exp::{exp, tanh};
use super::rms_norm::rms_norm_row;
use super::simd::{Isa, Kernel, LANES, Simd};
use crate::kv_cache::{PAGE, Page, PagedLayer, padded};
use crate::ops::cached_attention::{Heads, Scores, Span};
use crate::ops::rotary::HostRotation;

/// Queries of a tile.
const TILE: usize = 8;

/// Multiplications that are worth waking other threads for.
const PARALLEL: usize = 1 << 19;

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
    pub(crate) heads: Heads,
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
    /// - returns `[tokens, heads · head_dim]`
    pub(crate) fn forward(&self, qkv: &[f32], layers: &mut [&mut PagedLayer]) -> Vec<f32> {
        let Heads { heads, kv_heads, head_dim } = self.heads;
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
        let mut out = vec![0.0; qkv.len() / self.width() * heads * head_dim];
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
        let Heads { heads, kv_heads, head_dim } = self.heads;
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
        match task.tile.len() {
            1 => self.tile_of::<1>(isa, qkv, task),
            2..=4 => self.tile_of::<4>(isa, qkv, task),
            _ => self.tile_of::<TILE>(isa, qkv, task),
        }
    }

    fn tile_of<const T: usize>(&self, isa: Isa, qkv: &[f32], task: &Task<'_>) -> Vec<f32> {
        let Heads { heads, kv_heads, head_dim } = self.heads;
        let group = heads / kv_heads;
        let mut queries = vec![[0.0; T]; head_dim];
        let mut query = vec![0.0; head_dim];
        for (column, vector) in task.tile.clone().enumerate() {
            let row = task.span.rows.start + vector / group;
            let head = task.head * group + vector % group;
            query.copy_from_slice(&qkv[row * self.width() + head * head_dim..][..head_dim]);
            if let Some(norms) = &self.norms {
                rms_norm_row(&mut query, norms.queries, norms.eps);
            }
            self.rotation.rotate(row, &mut query);
            for (row, x) in queries.iter_mut().zip(&query) {
                row[column] = x * self.scores.scale;
            }
        }
        // What fills up the tile sees what its last query sees.
        let last = task.tile.len() - 1;
        let places = array::from_fn(|column| task.span.place + (task.tile.start + column.min(last)) / group);
        let mut out = vec![0.0; T * padded(head_dim)];
        let Scores { soft_cap, window, .. } = self.scores;
        let pages = task.layer.pages();
        isa.run(Tile { queries: &queries, places, head: task.head, pages, soft_cap, window, out: &mut out });
        out
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

struct Tile<'a, const T: usize> {
    /// `[head_dim]`, scaled.
    queries: &'a [[f32; T]],
    /// Of each query in its sequence.
    places: [usize; T],
    head: usize,
    pages: &'a [Arc<Page>],
    soft_cap: Option<f32>,
    window: Option<usize>,
    /// `[T, padded(head_dim)]`, zeros.
    out: &'a mut [f32],
}

impl<const T: usize> Tile<'_, T> {
    /// The places of a page that a query sees.
    #[inline(always)]
    fn visible(&self, query: usize, page: usize) -> Range<usize> {
        let first = self.window.map_or(0, |window| (self.places[query] + 1).saturating_sub(window));
        let start = first.saturating_sub(page * PAGE).min(PAGE);
        start..(self.places[query] + 1).saturating_sub(page * PAGE).min(PAGE).max(start)
    }
}

impl<const T: usize> Kernel for Tile<'_, T> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let head_dim = self.queries.len();
        let width = padded(head_dim);
        let mut largest = [f32::NEG_INFINITY; T];
        let mut sums = [simd.splat(0.0); T];
        let mut weights = [[0.0; PAGE]; T];
        let first =
            (0..T).filter_map(|query| self.window.map(|window| (self.places[query] + 1).saturating_sub(window) / PAGE));
        let first = first.min().unwrap_or(0);
        let last = self.places.iter().max().map_or(0, |place| place / PAGE);
        for page in first..=last {
            let keys: Cow<'_, [f32]> = self.pages[page].keys(self.head, head_dim);
            dot_products(simd, self.queries, &keys, &mut weights);
            let mut seen = PAGE..0;
            for query in 0..T {
                let visible = self.visible(query, page);
                if visible.is_empty() {
                    weights[query] = [0.0; PAGE];
                    continue;
                }
                seen = seen.start.min(visible.start)..seen.end.max(visible.end);
                let out = &mut self.out[query * width..(query + 1) * width];
                let state = (&mut largest[query], &mut sums[query]);
                softmax_step(simd, &mut weights[query], &visible, self.soft_cap, state, out);
            }
            let values: Cow<'_, [f32]> = self.pages[page].values(self.head, head_dim);
            add_values(simd, &weights, &values, seen, self.out);
        }
        for (out, sum) in self.out.chunks_exact_mut(width).zip(sums) {
            let inverse = simd.splat(1.0 / simd.sum(sum));
            for out in out.as_chunks_mut().0 {
                *out = simd.to_array(simd.mul(simd.load(out), inverse));
            }
        }
    }
}

/// `queries · keys` for a page.
#[inline(always)]
fn dot_products<S: Simd, const T: usize>(simd: S, queries: &[[f32; T]], keys: &[f32], products: &mut [[f32; PAGE]; T]) {
    let keys = keys.as_chunks::<PAGE>().0;
    for part in 0..PAGE / (2 * LANES) {
        let mut sums = [[simd.splat(0.0); 2]; T];
        for (query, keys) in queries.iter().zip(keys) {
            let keys = &keys.as_chunks::<LANES>().0[2 * part..];
            let keys = [simd.load(&keys[0]), simd.load(&keys[1])];
            for (sums, query) in sums.iter_mut().zip(query) {
                let query = simd.splat(*query);
                sums[0] = simd.fma(query, keys[0], sums[0]);
                sums[1] = simd.fma(query, keys[1], sums[1]);
            }
        }
        for (products, sums) in products.iter_mut().zip(sums) {
            let products = &mut products.as_chunks_mut::<LANES>().0[2 * part..];
            products[0] = simd.to_array(sums[0]);
            products[1] = simd.to_array(sums[1]);
        }
    }
}

/// Makes weights of a query's scores, relative to the largest so far, and what was summed before relative to it too.
#[inline(always)]
fn softmax_step<S: Simd>(
    simd: S,
    weights: &mut [f32; PAGE],
    visible: &Range<usize>,
    soft_cap: Option<f32>,
    (largest, sum): (&mut f32, &mut S::V),
    out: &mut [f32],
) {
    if let Some(cap) = soft_cap {
        for chunk in weights.as_chunks_mut().0 {
            let share = tanh(simd, simd.div(simd.load(chunk), simd.splat(cap)));
            *chunk = simd.to_array(simd.mul(share, simd.splat(cap)));
        }
    }
    weights[..visible.start].fill(f32::NEG_INFINITY);
    weights[visible.end..].fill(f32::NEG_INFINITY);
    let chunks = weights.as_chunks_mut::<LANES>().0;
    let mut highest = simd.splat(*largest);
    for chunk in &*chunks {
        highest = simd.max(highest, simd.load(chunk));
    }
    let highest = simd.largest(highest);
    if highest > *largest {
        let shrunk = exp(simd, simd.splat(*largest - highest));
        for out in out.as_chunks_mut().0 {
            *out = simd.to_array(simd.mul(simd.load(out), shrunk));
        }
        *sum = simd.mul(*sum, shrunk);
        *largest = highest;
    }
    let highest = simd.splat(highest);
    for chunk in chunks {
        let weight = exp(simd, simd.sub(simd.load(chunk), highest));
        *sum = simd.add(*sum, weight);
        *chunk = simd.to_array(weight);
    }
}

/// `out += weights · values` for the tokens of a page that one of the queries sees.
#[inline(always)]
fn add_values<S: Simd, const T: usize>(
    simd: S,
    weights: &[[f32; PAGE]; T],
    values: &[f32],
    seen: Range<usize>,
    out: &mut [f32],
) {
    let width = out.len() / T;
    let vectors = width / LANES;
    for pair in 0..vectors.div_ceil(2) {
        // Where the number is odd, the last one twice.
        let columns = [2 * pair * LANES, (2 * pair + 1).min(vectors - 1) * LANES];
        let mut sums = [[simd.splat(0.0); 2]; T];
        for (query, sums) in sums.iter_mut().enumerate() {
            *sums = columns.map(|column| simd.load(vector(&out[query * width + column..])));
        }
        for place in seen.start..seen.end.min(PAGE) {
            let row = &values[place * width..(place + 1) * width];
            let values = columns.map(|column| simd.load(vector(&row[column..])));
            for (weights, sums) in weights.iter().zip(&mut sums) {
                let weight = simd.splat(weights[place]);
                sums[0] = simd.fma(weight, values[0], sums[0]);
                sums[1] = simd.fma(weight, values[1], sums[1]);
            }
        }
        for (query, sums) in sums.into_iter().enumerate() {
            for (column, sum) in columns.into_iter().zip(sums) {
                out[query * width + column..][..LANES].copy_from_slice(&simd.to_array(sum));
            }
        }
    }
}

/// The first vector of `x`.
#[inline(always)]
fn vector(x: &[f32]) -> &[f32; LANES] {
    x.first_chunk().unwrap_or(&[0.0; LANES])
}
