//! Attention of an encoder: each token of a sequence sees all of it, or what is near.
//!
//! The keys and values of a head are put into pages first, then used for all tiles of the sequence.

use std::borrow::Cow;

use rayon::prelude::*;

use super::{Pages, Seen, TILE, attend};
use crate::Wanted;
use crate::kv_cache::{PAGE, padded};
use crate::ops::ScoreBias;
use crate::ops::cpu::simd::Isa;
use crate::ops::rotary::HostRotation;

/// Multiplications that are worth sharing, with threads that are awake: those of a text of a few words.
const PARALLEL: usize = 1 << 16;

/// What attention is computed with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WholeAttention<'a> {
    pub(crate) n_heads: usize,
    pub(crate) head_dim: usize,
    /// How queries and keys are rotated, if they are.
    pub(crate) rotation: Option<&'a HostRotation>,
    /// Tokens of each sequence.
    pub(crate) lengths: &'a [usize],
    /// How far a token sees on each side, if not all.
    pub(crate) reach: Option<usize>,
    /// What is added to the scores.
    pub(crate) bias: Option<&'a ScoreBias>,
    /// Whose queries attend.
    pub(crate) wanted: Wanted,
}

/// Where the rows of a sequence are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) first: usize,
    pub(super) len: usize,
    /// Those whose queries attend, from the first on.
    pub(super) queries: usize,
}

impl WholeAttention<'_> {
    /// # Shapes
    /// - `qkv`: `[tokens, 3 · n_heads · head_dim]`, in each row queries, keys, values
    /// - returns `[wanted tokens, n_heads · head_dim]`, in the memory of `out`
    pub(crate) fn forward(&self, qkv: &[f32], mut out: Vec<f32>) -> Vec<f32> {
        out.resize(self.queries() * self.width(), 0.0);
        let sequences = self.sequences(&mut out);
        let isa = Isa::detect();
        if self.work() < PARALLEL {
            for (rows, out) in sequences {
                for head in 0..self.n_heads {
                    self.put(head, &self.head(isa, qkv, rows, head), out);
                }
            }
        } else {
            sequences.into_par_iter().with_max_len(1).for_each(|(rows, out)| {
                let heads = (0..self.n_heads).into_par_iter().map(|head| self.head(isa, qkv, rows, head));
                for (head, values) in heads.collect::<Vec<_>>().iter().enumerate() {
                    self.put(head, values, out);
                }
                // As between the tasks of a product.
                std::thread::yield_now();
            });
        }
        out
    }

    pub(super) fn width(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Of all sequences.
    pub(super) fn queries(&self) -> usize {
        self.lengths.iter().map(|&len| self.wanted.of(len)).sum()
    }

    /// Multiplications of queries with keys.
    pub(super) fn work(&self) -> usize {
        self.lengths.iter().map(|&len| self.wanted.of(len) * len * self.width()).sum()
    }

    /// Where the rows of each sequence are, with their places in `out`.
    pub(super) fn sequences<'o>(&self, out: &'o mut [f32]) -> Vec<(Rows, &'o mut [f32])> {
        let (mut rest, mut first) = (out, 0);
        let sequences = self.lengths.iter().map(|&len| {
            let rows = Rows { first, len, queries: self.wanted.of(len) };
            first += len;
            (rows, rest.split_off_mut(..rows.queries * self.width()).unwrap_or_default())
        });
        sequences.collect()
    }

    /// `[queries, padded(head_dim)]`.
    fn head(&self, isa: Isa, qkv: &[f32], rows: Rows, head: usize) -> Vec<f32> {
        let (len, head_dim, width) = (rows.len, self.head_dim, self.width());
        let part = |token: usize, part: usize| {
            let start = ((rows.first + token) * 3 + part) * width + head * head_dim;
            &qkv[start..start + head_dim]
        };
        let rotate = |token: usize, x: &mut [f32]| {
            if let Some(rotation) = self.rotation {
                rotation.rotate(rows.first + token, x);
            }
        };
        let mut pages = PackedHead::new(len, head_dim);
        let mut key = vec![0.0; head_dim];
        for token in 0..len {
            key.copy_from_slice(part(token, 1));
            rotate(token, &mut key);
            pages.write(token, &key, part(token, 2));
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        let mut out = Vec::with_capacity(rows.queries * padded(head_dim));
        for first in (0..rows.queries).step_by(TILE) {
            let query = |index: usize, query: &mut [f32]| {
                query.copy_from_slice(part(first + index, 0));
                rotate(first + index, query);
                for x in query {
                    *x *= scale;
                }
            };
            let visible = |index: usize| match self.reach {
                Some(reach) => (first + index).saturating_sub(reach)..len.min(first + index + reach + 1),
                None => 0..len,
            };
            let bias = self.bias.map(|bias| bias.of_head(head, first));
            let seen = Seen { pages: &pages, soft_cap: None, bias };
            out.extend(attend(isa, &seen, TILE.min(rows.queries - first), head_dim, query, visible));
        }
        out
    }

    /// Puts a head's results into its place among the others'.
    fn put(&self, head: usize, values: &[f32], out: &mut [f32]) {
        let rows = out.chunks_exact_mut(self.width());
        for (row, values) in rows.zip(values.chunks_exact(padded(self.head_dim))) {
            row[head * self.head_dim..(head + 1) * self.head_dim].copy_from_slice(&values[..self.head_dim]);
        }
    }
}

/// The keys and values of a head of a sequence.
struct PackedHead {
    head_dim: usize,
    /// `[pages, head_dim, PAGE]`.
    keys: Vec<f32>,
    /// `[pages, PAGE, padded(head_dim)]`.
    values: Vec<f32>,
}

impl PackedHead {
    fn new(len: usize, head_dim: usize) -> Self {
        let tokens = len.next_multiple_of(PAGE);
        Self { head_dim, keys: vec![0.0; tokens * head_dim], values: vec![0.0; tokens * padded(head_dim)] }
    }

    fn write(&mut self, token: usize, key: &[f32], value: &[f32]) {
        let first = token / PAGE * PAGE * self.head_dim + token % PAGE;
        self.keys[first..].iter_mut().step_by(PAGE).zip(key).for_each(|(to, x)| *to = *x);
        self.values[token * padded(self.head_dim)..][..self.head_dim].copy_from_slice(value);
    }
}

impl Pages for PackedHead {
    fn keys(&self, page: usize) -> Cow<'_, [f32]> {
        let size = self.head_dim * PAGE;
        Cow::Borrowed(&self.keys[page * size..(page + 1) * size])
    }

    fn values(&self, page: usize) -> Cow<'_, [f32]> {
        let size = padded(self.head_dim) * PAGE;
        Cow::Borrowed(&self.values[page * size..(page + 1) * size])
    }
}
