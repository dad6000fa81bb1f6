//! Attention of an encoder on bf16: products of queries with keys, and of weights with values, as those of a linear layer.
//!
//! The keys and values of a head are rounded and put into panels once. A few queries at a time have all their scores in
//! `f32` before the softmax; its weights are rounded again. Each query's result is the same, bit for bit, whatever stands
//! beside it.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use super::PARALLEL;
use super::whole::{Rows, WholeAttention};
use crate::ops::cpu::bf16::{Isa, Pair, PairKernel, Pairs};
use crate::ops::cpu::exp::rough_exp2;
use crate::ops::cpu::share::{Lines, PANEL, Sums, TILE_ROWS};
use crate::ops::cpu::simd::{LANES, Simd};

/// Queries of a task, a multiple of a tile's.
const TASK_ROWS: usize = 8 * TILE_ROWS[0];

/// Pairs of keys in a panel of them.
const KEY_PAIRS: usize = PANEL / 2;

impl WholeAttention<'_> {
    /// As [`WholeAttention::forward`], on bf16 where the processor multiplies it and nothing is added to the scores.
    pub(crate) fn forward_narrow(&self, qkv: &[f32], out: Vec<f32>) -> Vec<f32> {
        match Isa::detect().filter(|_| self.bias.is_none()) {
            Some(isa) => self.forward_with(isa, qkv, out),
            None => self.forward(qkv, out),
        }
    }

    fn forward_with(&self, isa: Isa, qkv: &[f32], mut out: Vec<f32>) -> Vec<f32> {
        let width = self.width();
        out.resize(self.queries() * width, 0.0);
        let sequences = self.sequences(&mut out);
        // The heads that are packed at once: a row is read from one end to the other.
        let share = self.n_heads.div_ceil(rayon::current_num_threads());
        let pack = |rows: Rows, first: usize| {
            isa.run(Pack { attention: self, qkv, rows, heads: first..self.n_heads.min(first + share) })
        };
        let attend = |rows: Rows, packed: &[Packed], task: usize, out: &mut [f32]| {
            isa.run(Task { attention: self, rows, packed, first: task * TASK_ROWS, out });
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

    /// A query or a key, rotated, in pairs, with zeros up to what is rounded at once.
    #[inline(always)]
    fn turned<P: Pairs>(&self, isa: P, x: &[f32], token: usize, turned: &mut [f32], pairs: &mut [Vector]) {
        let x = match self.rotation {
            Some(rotation) => {
                turned.copy_from_slice(x);
                rotation.rotate(token, turned);
                turned
            }
            None => x,
        };
        for (pairs, x) in pairs.iter_mut().zip(x.chunks(PANEL)) {
            *pairs = isa.round(&filled(x));
        }
    }

    /// The keys that a query of a sequence sees.
    fn visible(&self, query: usize, len: usize) -> Range<usize> {
        match self.reach {
            Some(reach) => query.saturating_sub(reach)..len.min(query + reach + 1),
            None => 0..len,
        }
    }

    /// Vectors of pairs of a query or a key.
    fn vectors(&self) -> usize {
        self.head_dim.div_ceil(PANEL)
    }
}

/// Sixteen pairs.
type Vector = [Pair; LANES];

/// The first of `x`, with zeros for what is missing; a copy of a known length where nothing is.
#[inline(always)]
fn filled(x: &[f32]) -> [f32; PANEL] {
    x.first_chunk().copied().unwrap_or_else(|| {
        let mut filled = [0.0; PANEL];
        filled[..x.len()].copy_from_slice(x);
        filled
    })
}

/// Some heads of a sequence; what is missing in the last panels is zeros.
#[derive(Default)]
struct Packed {
    /// `[heads, queries, vectors]`.
    queries: Vec<Vector>,
    /// `[heads, panels of keys, pairs of dimensions]`.
    keys: Vec<Lines<Pair>>,
    /// `[heads, panels of dimensions, pairs of keys]`.
    values: Vec<Lines<Pair>>,
    heads: usize,
}

/// One of them.
#[derive(Clone, Copy)]
struct Head<'a> {
    queries: &'a [Vector],
    keys: &'a [Lines<Pair>],
    values: &'a [Lines<Pair>],
}

impl Packed {
    fn heads(&self) -> impl Iterator<Item = Head<'_>> {
        (0..self.heads).map(|head| Head {
            queries: part(&self.queries, head, self.heads),
            keys: part(&self.keys, head, self.heads),
            values: part(&self.values, head, self.heads),
        })
    }
}

/// One of `parts` of the same size.
fn part<T>(all: &[T], index: usize, parts: usize) -> &[T] {
    let len = all.len() / parts;
    &all[index * len..][..len]
}

thread_local! {
    /// Memory that a thread keeps for the next sequences and tiles.
    static ROOM: Cell<Room> = const { Cell::new(Room::EMPTY) };
}

/// Keeps the memory of what is done with.
fn give(packed: Vec<Packed>) {
    let room = ROOM.take();
    ROOM.set(Room { packed, ..room });
}

/// Rounds the queries, keys and values of some heads.
struct Pack<'a> {
    attention: &'a WholeAttention<'a>,
    qkv: &'a [f32],
    rows: Rows,
    heads: Range<usize>,
}

impl PairKernel for Pack<'_> {
    type Output = Packed;

    #[inline(always)]
    fn eval<P: Pairs>(self, isa: P) -> Packed {
        let Self { attention, qkv, rows: Rows { first, len, queries }, heads } = self;
        let (vectors, panels) = (attention.vectors(), len.div_ceil(PANEL));
        let mut room = ROOM.take();
        let mut packed = room.packed.pop().unwrap_or_default();
        ROOM.set(room);
        packed.heads = heads.len();
        packed.queries.resize(heads.len() * queries * vectors, [0; LANES]);
        let lines_of_head = panels * vectors * LANES;
        packed.keys.resize(heads.len() * lines_of_head, Lines([0; PANEL]));
        packed.values.resize(heads.len() * lines_of_head, Lines([0; PANEL]));
        let mut turned = vec![0.0; attention.head_dim];
        let mut rounded = vec![[0; LANES]; vectors * LANES];
        for block in 0..panels * PANEL / LANES {
            let tokens = (block * LANES).min(len)..((block + 1) * LANES).min(len);
            for (index, head) in heads.clone().enumerate() {
                let part = |token: usize, part: usize| attention.part(qkv, first + token, part, head);
                for token in tokens.clone() {
                    if token < queries {
                        let queries = &mut packed.queries[(index * queries + token) * vectors..][..vectors];
                        attention.turned(isa, part(token, 0), first + token, &mut turned, queries);
                    }
                    let rounded = &mut rounded[(token - tokens.start) * vectors..][..vectors];
                    attention.turned(isa, part(token, 1), first + token, &mut turned, rounded);
                }
                rounded[tokens.len() * vectors..].fill([0; LANES]);
                let keys = &mut packed.keys[index * lines_of_head..][..lines_of_head];
                let panel = &mut keys[block / 2 * vectors * LANES..][..vectors * LANES];
                for (vector, lines) in panel.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    let mut square = [[0; LANES]; LANES];
                    for (row, rounded) in square.iter_mut().zip(rounded.chunks_exact(vectors)) {
                        *row = rounded[vector];
                    }
                    for (lines, column) in lines.iter_mut().zip(&transposed(isa, square)) {
                        lines.0.as_chunks_mut().0[block % 2] = *column;
                    }
                }
                let values = &mut packed.values[index * lines_of_head..][..lines_of_head];
                for pair in block * LANES / 2..(block + 1) * LANES / 2 {
                    let [even, odd] =
                        [2 * pair, 2 * pair + 1].map(|token| if token < len { part(token, 2) } else { &[] });
                    for vector in 0..vectors {
                        let [even, odd] = [even, odd].map(|x| filled(x.get(vector * PANEL..).unwrap_or_default()));
                        let lines = values[vector * panels * KEY_PAIRS + pair].0.as_chunks_mut::<LANES>().0;
                        for (half, lines) in lines.iter_mut().enumerate() {
                            *lines = isa.round(&isa.zip(&even.as_chunks().0[half], &odd.as_chunks().0[half]));
                        }
                    }
                }
            }
        }
        packed
    }
}

/// Rows and columns exchanged.
#[inline(always)]
fn transposed<P: Pairs>(isa: P, mut square: [Vector; LANES]) -> [Vector; LANES] {
    for _ in 0..LANES.ilog2() {
        let mut zipped = [[0; LANES]; LANES];
        for row in 0..LANES / 2 {
            let both = isa.zip_pairs(&square[row], &square[row + LANES / 2]);
            zipped[2 * row] = both[0];
            zipped[2 * row + 1] = both[1];
        }
        square = zipped;
    }
    square
}

/// Some queries of a sequence, in all heads.
struct Task<'a> {
    attention: &'a WholeAttention<'a>,
    rows: Rows,
    packed: &'a [Packed],
    /// The first of the queries.
    first: usize,
    /// `[queries, n_heads * head_dim]`.
    out: &'a mut [f32],
}

impl PairKernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<P: Pairs>(self, isa: P) {
        let Self { attention, rows: Rows { len, .. }, packed, first, out } = self;
        let width = attention.width();
        let mut room = ROOM.take();
        for (head, packed) in packed.iter().flat_map(Packed::heads).enumerate() {
            for (tile, out) in out.chunks_mut(TILE_ROWS[0] * width).enumerate() {
                let first = first + tile * TILE_ROWS[0];
                let tile = Tile { attention, len, packed, head, queries: first..first + out.len() / width };
                match tile.queries.len() {
                    1 => tile.eval::<P, 1>(isa, &mut room, out),
                    2..=3 => tile.eval::<P, 3>(isa, &mut room, out),
                    4..=6 => tile.eval::<P, 6>(isa, &mut room, out),
                    _ => tile.eval::<P, 12>(isa, &mut room, out),
                }
            }
        }
        ROOM.set(room);
    }
}

/// What sequences are packed in, and what a tile computes in, kept for the next ones.
struct Room {
    packed: Vec<Packed>,
    /// `[queries, pairs of dimensions]`, where there are fewer than the tile has rows.
    queries: Vec<Pair>,
    /// `[queries, panels of keys]`.
    scores: Vec<Sums>,
    /// `[queries, pairs of keys]`.
    weights: Vec<Pair>,
}

impl Room {
    const EMPTY: Self = Self { packed: Vec::new(), queries: Vec::new(), scores: Vec::new(), weights: Vec::new() };
}

impl Default for Room {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// A few queries of a head.
struct Tile<'a> {
    attention: &'a WholeAttention<'a>,
    len: usize,
    packed: Head<'a>,
    head: usize,
    queries: Range<usize>,
}

impl Tile<'_> {
    /// `R` is at least the number of queries.
    #[inline(always)]
    fn eval<P: Pairs, const R: usize>(self, isa: P, room: &mut Room, out: &mut [f32]) {
        let Self { attention, len, packed, head, queries } = self;
        let (simd, vectors, head_dim) = (isa.floats(), attention.vectors(), attention.head_dim);
        let n_pairs = vectors * LANES;
        let own = packed.queries[queries.start * vectors..queries.end * vectors].as_flattened();
        let x = if queries.len() == R {
            own
        } else {
            room.queries.clear();
            room.queries.extend_from_slice(own);
            room.queries.resize(R * n_pairs, 0);
            &room.queries
        };
        // The panels that any of the queries sees.
        let seen = attention.visible(queries.start, len).start..attention.visible(queries.end - 1, len).end;
        let panels = seen.start / PANEL..seen.end.div_ceil(PANEL);
        let n_panels = panels.len();
        if room.scores.len() < n_panels * R {
            room.scores.resize(n_panels * R, Lines([0.0; PANEL]));
        }
        for (at, panel) in panels.clone().enumerate() {
            let found = products::<P, R>(isa, &packed.keys[panel * n_pairs..][..n_pairs], x, n_pairs);
            // Of a known number of rows: what is found would have to be stored first to be run through.
            for row in 0..R {
                let halves = room.scores[row * n_panels + at].0.as_chunks_mut::<LANES>().0;
                halves[0] = simd.to_array(found[row][0]);
                halves[1] = simd.to_array(found[row][1]);
            }
        }
        let key_pairs = n_panels * KEY_PAIRS;
        room.weights.resize(R * key_pairs, 0);
        let factor = std::f32::consts::LOG2_E / (head_dim as f32).sqrt();
        let mut sums = [1.0; R];
        let rows = room.scores.chunks_exact_mut(n_panels).zip(room.weights.chunks_exact_mut(key_pairs));
        for ((query, sum), (scores, weights)) in queries.clone().zip(&mut sums).zip(rows) {
            let visible = attention.visible(query, len);
            let visible = visible.start - panels.start * PANEL..visible.end - panels.start * PANEL;
            *sum = softmax(isa, scores, factor, visible, weights.as_chunks_mut().0);
        }
        let all_pairs = len.div_ceil(PANEL) * KEY_PAIRS;
        let width = attention.width();
        for (panel, values) in packed.values.chunks_exact(all_pairs).enumerate() {
            // Up to the last key that any of them sees: what follows weighs nothing.
            let values = &values[panels.start * KEY_PAIRS..seen.end.div_ceil(2)];
            let mixed = products::<P, R>(isa, values, &room.weights, key_pairs);
            let column = head * head_dim + panel * PANEL;
            let columns = column..(column + PANEL).min((head + 1) * head_dim);
            for ((out, mixed), sum) in out.chunks_exact_mut(width).zip(mixed).zip(sums) {
                let inverse = simd.splat(1.0 / sum);
                let first = simd.to_array(simd.mul(mixed[0], inverse));
                let second = simd.to_array(simd.mul(mixed[1], inverse));
                let out = &mut out[columns.clone()];
                match out.as_chunks_mut::<LANES>().0 {
                    // Copies of a known length are two instructions.
                    [low, high] => (*low, *high) = (first, second),
                    _ => out.copy_from_slice(&[first, second].as_flattened()[..out.len()]),
                }
            }
        }
    }
}

/// `x · weights` for `R` rows of `x`, which are `stride` apart.
#[inline(always)]
fn products<P: Pairs, const R: usize>(
    isa: P,
    weights: &[Lines<Pair>],
    x: &[Pair],
    stride: usize,
) -> [[<P::Floats as Simd>::V; 2]; R] {
    // Loops, because closures aren't always compiled for the instruction set of their caller.
    let mut rows: [&[Pair]; R] = [&[]; R];
    for (row, of_row) in rows.iter_mut().enumerate() {
        *of_row = &x[row * stride..][..weights.len()];
    }
    let mut sums = [[isa.floats().splat(0.0); 2]; R];
    for (pair, weights) in weights.iter().enumerate() {
        let halves = weights.0.as_chunks::<LANES>().0;
        for (sums, row) in sums.iter_mut().zip(rows) {
            sums[0] = isa.dot(sums[0], row[pair], &halves[0]);
            sums[1] = isa.dot(sums[1], row[pair], &halves[1]);
        }
    }
    sums
}

/// Highest scores: of keys that are seen, then of keys that aren't.
const LIMITS: [f32; 2 * PANEL] = {
    let mut limits = [f32::INFINITY; 2 * PANEL];
    let mut at = PANEL;
    while at < limits.len() {
        limits[at] = f32::NEG_INFINITY;
        at += 1;
    }
    limits
};

/// The same with those first that aren't.
const LOW_LIMITS: [f32; 2 * PANEL] = {
    let mut limits = LIMITS;
    limits.rotate_left(PANEL);
    limits
};

/// Puts the scores of keys outside of `visible`, which counts from the first of the panel, at minus infinity.
#[inline(always)]
fn hide<S: Simd>(simd: S, scores: &mut Sums, visible: Range<usize>) {
    let above = &LIMITS[PANEL - visible.end.min(PANEL)..];
    let below = &LOW_LIMITS[PANEL - visible.start..];
    let limits = above.as_chunks::<LANES>().0.iter().zip(below.as_chunks::<LANES>().0);
    for (scores, (above, below)) in scores.0.as_chunks_mut::<LANES>().0.iter_mut().zip(limits) {
        let seen = simd.min(simd.load(scores), simd.load(above));
        *scores = simd.to_array(simd.min(seen, simd.load(below)));
    }
}

/// The weights of the keys of a query, rounded, not yet divided by their sum, which is returned: powers of 2 of the scores
/// times `factor`. `visible` counts from the first panel of the scores.
#[inline(always)]
fn softmax<P: Pairs>(
    isa: P,
    scores: &mut [Sums],
    factor: f32,
    visible: Range<usize>,
    weights: &mut [[Pair; KEY_PAIRS]],
) -> f32 {
    let simd = isa.floats();
    let seen = visible.start / PANEL..visible.end.div_ceil(PANEL);
    weights[..seen.start].fill([0; KEY_PAIRS]);
    weights[seen.end..].fill([0; KEY_PAIRS]);
    let (scores, weights) = (&mut scores[seen.clone()], &mut weights[seen.clone()]);
    let visible = visible.start - seen.start * PANEL..visible.end - seen.start * PANEL;
    if let [first, ..] = scores
        && visible.start > 0
    {
        hide(simd, first, visible.start..PANEL);
    }
    if let [.., last] = scores
        && !visible.end.is_multiple_of(PANEL)
    {
        hide(simd, last, 0..visible.end % PANEL);
    }
    let mut highest = [simd.splat(f32::NEG_INFINITY); 2];
    for scores in &*scores {
        for (highest, scores) in highest.iter_mut().zip(scores.0.as_chunks::<LANES>().0) {
            *highest = simd.max(*highest, simd.load(scores));
        }
    }
    // From the highest one down.
    let off = simd.splat(simd.largest(simd.max(highest[0], highest[1])) * -factor);
    let factor = simd.splat(factor);
    let mut sums = [simd.splat(0.0); 2];
    for (scores, weights) in scores.iter().zip(weights) {
        let halves = scores.0.as_chunks::<LANES>().0;
        let low = rough_exp2(simd, simd.fma(simd.load(&halves[0]), factor, off));
        let high = rough_exp2(simd, simd.fma(simd.load(&halves[1]), factor, off));
        sums = [simd.add(sums[0], low), simd.add(sums[1], high)];
        *weights = isa.round_vectors(low, high);
    }
    simd.sum(simd.add(sums[0], sums[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wanted;
    use crate::ops::cpu::simd::Scalar;

    fn number(i: usize) -> f32 {
        ((i * 7919) % 2003) as f32 / 800.0 - 1.25
    }

    fn of(lengths: &[usize], n_heads: usize, head_dim: usize, reach: Option<usize>) -> WholeAttention<'_> {
        WholeAttention { n_heads, head_dim, rotation: None, lengths, reach, bias: None, wanted: Wanted::All }
    }

    #[test]
    fn it_is_near_f32_and_the_same_on_every_instruction_set_and_alone() {
        let lengths = [1, 13, 33, 2, 100, 6, 64];
        for (n_heads, head_dim) in [(3, 10), (2, 32), (1, 40), (2, 64)] {
            let width = 3 * n_heads * head_dim;
            let qkv: Vec<f32> = (0..lengths.iter().sum::<usize>() * width).map(|i| number(3 * i + i / 7)).collect();
            for reach in [None, Some(0), Some(5), Some(40)] {
                let expected = of(&lengths, n_heads, head_dim, reach).forward(&qkv, Vec::new());
                let scalar = of(&lengths, n_heads, head_dim, reach).forward_with(Isa::Scalar(Scalar), &qkv, Vec::new());
                for (found, expected) in scalar.iter().zip(&expected) {
                    assert!((found - expected).abs() <= 0.02, "{head_dim} {reach:?}: {found}, expected {expected}");
                }
                let first_of_each = |all: &[f32]| -> Vec<f32> {
                    let starts = lengths.iter().scan(0, |end, len| Some(std::mem::replace(end, *end + len)));
                    starts.flat_map(|first| &all[first * width / 3..(first + 1) * width / 3]).copied().collect()
                };
                let first = WholeAttention { wanted: Wanted::First, ..of(&lengths, n_heads, head_dim, reach) };
                assert_eq!(first.forward(&qkv, Vec::new()), first_of_each(&expected), "{head_dim} {reach:?}");
                for isa in std::iter::once(Isa::Scalar(Scalar)).chain(Isa::detect()) {
                    let found = first.forward_with(isa, &qkv, Vec::new());
                    assert_eq!(found, first_of_each(&scalar), "{isa:?} {head_dim} {reach:?}");
                    let found = of(&lengths, n_heads, head_dim, reach).forward_with(isa, &qkv, vec![f32::NAN; 5]);
                    assert_eq!(found, scalar, "{isa:?} {head_dim} {reach:?}");
                    let mut first = 0;
                    for (place, &len) in lengths.iter().enumerate() {
                        let (own, own_lengths) = (first..first + len, [len]);
                        let alone = of(&own_lengths, n_heads, head_dim, reach).forward_with(
                            isa,
                            &qkv[own.start * width..own.end * width],
                            Vec::new(),
                        );
                        assert_eq!(
                            found[own.start * width / 3..own.end * width / 3],
                            alone,
                            "{isa:?}, sequence {place}"
                        );
                        first = own.end;
                    }
                }
            }
        }
    }
}
