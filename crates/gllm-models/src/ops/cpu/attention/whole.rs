//! Attention of an encoder: each token of a sequence sees all of it, or what is near.
//!
//! Products of queries with keys, and of weights with values, are as those of a linear layer: the queries, keys and values
//! of a head are packed once, in floats or rounded to bf16. A few queries at a time have all their scores in `f32` before
//! the softmax. Each query's result is the same, bit for bit, whatever stands beside it.

mod numbers;
mod packed;
mod tile;

use std::ops::Range;

use rayon::prelude::*;

use self::packed::{Pack, Packed, give};
use self::tile::Task;
use crate::Wanted;
use crate::ops::ScoreBias;
use crate::ops::cpu::bf16;
use crate::ops::cpu::share::TILE_ROWS;
use crate::ops::cpu::simd::{Isa, LANES};
use crate::ops::rotary::HostRotation;

/// Queries of a task, a multiple of a tile's.
const TASK_ROWS: usize = 8 * TILE_ROWS;

/// Multiplications that are worth sharing, with threads that are awake: those of a text of a few words.
const PARALLEL: usize = 1 << 16;

/// Sixteen numbers.
type Vector = [u32; LANES];

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
struct Rows {
    first: usize,
    len: usize,
    /// The first of those whose queries attend.
    asking: usize,
    /// Those whose queries attend.
    queries: usize,
}

impl WholeAttention<'_> {
    /// # Shapes
    /// - `qkv`: `[tokens, 3 · n_heads · head_dim]`, in each row queries, keys, values
    /// - returns `[wanted tokens, n_heads · head_dim]`, in the memory of `out`
    pub(crate) fn forward(&self, qkv: &[f32], out: Vec<f32>) -> Vec<f32> {
        self.forward_with(Numbers::Floats(Isa::detect()), qkv, out)
    }

    /// The same on bf16, where the processor multiplies it.
    pub(crate) fn forward_narrow(&self, qkv: &[f32], out: Vec<f32>) -> Vec<f32> {
        match bf16::Isa::detect() {
            Some(isa) => self.forward_with(Numbers::Pairs(isa), qkv, out),
            None => self.forward(qkv, out),
        }
    }

    fn forward_with(&self, numbers: Numbers, qkv: &[f32], mut out: Vec<f32>) -> Vec<f32> {
        let width = self.width();
        out.resize(self.queries() * width, 0.0);
        let sequences = self.sequences(&mut out);
        // The heads that are packed at once: a row is read from one end to the other.
        let share = self.n_heads.div_ceil(rayon::current_num_threads());
        let pack = |rows: Rows, first: usize| {
            numbers.pack(Pack { attention: self, qkv, rows, heads: first..self.n_heads.min(first + share) })
        };
        let attend = |rows: Rows, packed: &[Packed], task: usize, out: &mut [f32]| {
            numbers.attend(Task { attention: self, rows, packed, first: task * TASK_ROWS, out });
        };
        if self.work() < PARALLEL {
            for (rows, out) in sequences {
                let packed: Vec<Packed> = (0..self.n_heads).step_by(share).map(|first| pack(rows, first)).collect();
                out.chunks_mut(TASK_ROWS * width).enumerate().for_each(|(task, out)| attend(rows, &packed, task, out));
                give(packed);
            }
        } else {
            sequences.into_par_iter().with_max_len(1).for_each(|(rows, out)| {
                let firsts = (0..self.n_heads).step_by(share);
                let packed: Vec<Packed> = if rows.queries <= TASK_ROWS {
                    let packed: Vec<_> = firsts.map(|first| pack(rows, first)).collect();
                    attend(rows, &packed, 0, out);
                    packed
                } else {
                    let firsts: Vec<usize> = firsts.collect();
                    let packed: Vec<_> = firsts.into_par_iter().map(|first| pack(rows, first)).collect();
                    let tasks = out.par_chunks_mut(TASK_ROWS * width).enumerate();
                    tasks.for_each(|(task, out)| attend(rows, &packed, task, out));
                    packed
                };
                give(packed);
                // As between the tasks of a product.
                std::thread::yield_now();
            });
        }
        out
    }

    /// A part of a token's row of a head: query, key or value.
    #[inline(always)]
    fn part<'a>(&self, qkv: &'a [f32], token: usize, part: usize, head: usize) -> &'a [f32] {
        let start = (token * 3 + part) * self.width() + head * self.head_dim;
        &qkv[start..start + self.head_dim]
    }

    /// The keys that a query of a sequence sees.
    fn visible(&self, query: usize, len: usize) -> Range<usize> {
        match self.reach {
            Some(reach) => query.saturating_sub(reach)..len.min(query + reach + 1),
            None => 0..len,
        }
    }

    /// Vectors of a query or a key, where so many inputs lie in a number.
    fn vectors(&self, inputs: usize) -> usize {
        self.head_dim.div_ceil(LANES * inputs)
    }

    fn width(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Of all sequences.
    fn queries(&self) -> usize {
        self.lengths.iter().map(|&len| self.wanted.of(len).len()).sum()
    }

    /// Multiplications of queries with keys.
    fn work(&self) -> usize {
        self.lengths.iter().map(|&len| self.wanted.of(len).len() * len * self.width()).sum()
    }

    /// Where the rows of each sequence are, with their places in `out`.
    fn sequences<'o>(&self, out: &'o mut [f32]) -> Vec<(Rows, &'o mut [f32])> {
        let (mut rest, mut first) = (out, 0);
        let sequences = self.lengths.iter().map(|&len| {
            let asking = self.wanted.of(len);
            let rows = Rows { first, len, asking: asking.start, queries: asking.len() };
            first += len;
            (rows, rest.split_off_mut(..rows.queries * self.width()).unwrap_or_default())
        });
        sequences.collect()
    }
}

/// What is multiplied, and by which instructions.
#[derive(Clone, Copy, Debug)]
enum Numbers {
    Floats(Isa),
    Pairs(bf16::Isa),
}

impl Numbers {
    fn pack(self, pack: Pack<'_>) -> Packed {
        match self {
            Self::Floats(isa) => isa.run(pack),
            Self::Pairs(isa) => isa.run(pack),
        }
    }

    fn attend(self, task: Task<'_>) {
        match self {
            Self::Floats(isa) => isa.run(task),
            Self::Pairs(isa) => isa.run(task),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cpu::simd::Scalar;

    fn number(i: usize) -> f32 {
        ((i * 7919) % 2003) as f32 / 800.0 - 1.25
    }

    /// Of each query of a sequence, from the definition.
    fn expected(attention: &WholeAttention<'_>, qkv: &[f32], bias: impl Fn(usize, isize) -> f32) -> Vec<f64> {
        let (width, head_dim) = (attention.width(), attention.head_dim);
        let len = qkv.len() / 3 / width;
        let at = |token: usize, part: usize, column: usize| f64::from(qkv[(token * 3 + part) * width + column]);
        let mut out = Vec::with_capacity(len * width);
        for query in 0..len {
            for head in 0..attention.n_heads {
                let columns = head * head_dim..(head + 1) * head_dim;
                let weights: Vec<f64> = (attention.visible(query, len))
                    .map(|key| {
                        let dot: f64 = columns.clone().map(|d| at(query, 0, d) * at(key, 1, d)).sum();
                        let bias = bias(head, key as isize - query as isize);
                        (dot / (head_dim as f64).sqrt() + f64::from(bias)).exp()
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                out.extend(columns.map(|d| {
                    let keys = attention.visible(query, len);
                    keys.zip(&weights).map(|(key, weight)| weight * at(key, 2, d)).sum::<f64>() / total
                }));
            }
        }
        out
    }

    #[test]
    fn it_is_near_and_the_same_on_every_instruction_set_and_alone() {
        let lengths = [1, 13, 33, 2, 100, 6, 64];
        let offset = |head: usize, offset: isize| number(17 * head + (offset + 500).cast_unsigned()) * 0.5;
        for (n_heads, head_dim) in [(3, 10), (2, 32), (1, 40), (2, 64)] {
            let width = n_heads * head_dim;
            let qkv: Vec<f32> = (0..lengths.iter().sum::<usize>() * 3 * width).map(|i| number(3 * i + i / 7)).collect();
            let bias = ScoreBias::new(n_heads, 100, offset);
            for (reach, bias) in [(None, None), (Some(0), None), (Some(5), None), (Some(40), None), (None, Some(&bias))]
            {
                let of = |wanted| WholeAttention {
                    n_heads,
                    head_dim,
                    rotation: None,
                    lengths: &lengths,
                    reach,
                    bias,
                    wanted,
                };
                let floats = Isa::all().map(Numbers::Floats);
                let pairs = std::iter::once(bf16::Isa::Scalar(Scalar)).chain(bf16::Isa::detect()).map(Numbers::Pairs);
                for (sets, limit) in [(floats.collect::<Vec<_>>(), 2e-6), (pairs.collect(), 0.02)] {
                    let scalar = of(Wanted::All).forward_with(sets[0], &qkv, Vec::new());
                    for isa in sets {
                        let case = format!("{isa:?}, heads of {head_dim}, {reach:?}, {}", bias.is_some());
                        let found = of(Wanted::All).forward_with(isa, &qkv, vec![f32::NAN; 5]);
                        assert_eq!(found, scalar, "{case}");
                        let [first, last] =
                            [Wanted::First, Wanted::Last].map(|wanted| of(wanted).forward_with(isa, &qkv, Vec::new()));
                        let mut start = 0;
                        for (place, &len) in lengths.iter().enumerate() {
                            let own = &qkv[start * 3 * width..(start + len) * 3 * width];
                            let found = &found[start * width..(start + len) * width];
                            let own_length = [len];
                            let alone = WholeAttention { lengths: &own_length, ..of(Wanted::All) };
                            assert_eq!(alone.forward_with(isa, own, Vec::new()), found, "{case}, sequence {place}");
                            let row = place * width..(place + 1) * width;
                            assert_eq!(first[row.clone()], found[..width], "{case}, {place}");
                            assert_eq!(last[row], found[found.len() - width..], "{case}, {place}");
                            let added = |head, at| if bias.is_some() { offset(head, at) } else { 0.0 };
                            for (found, exact) in found.iter().zip(expected(&alone, own, added)) {
                                assert!(
                                    (f64::from(*found) - exact).abs() <= limit,
                                    "{case}: {found}, expected {exact}"
                                );
                            }
                            start += len;
                        }
                    }
                }
            }
        }
    }
}
