//! A few queries at a time: all their scores, the softmax, and the sums of values.

use std::cell::Cell;
use std::ops::Range;

use super::numbers::{Numbers, OfFloats, OfPairs, V};
use super::packed::{Head, Packed};
use super::{Rows, WholeAttention};
use crate::ops::cpu::bf16::{PairKernel, Pairs};
use crate::ops::cpu::share::{Lines, PANEL, Sums};
use crate::ops::cpu::simd::{Kernel, LANES, Simd};

/// Some queries of a sequence, in all heads.
pub(super) struct Task<'a> {
    pub(super) attention: &'a WholeAttention<'a>,
    pub(super) rows: Rows,
    pub(super) packed: &'a [Packed],
    /// The first of them among those that attend.
    pub(super) first: usize,
    /// `[queries, n_heads * head_dim]`.
    pub(super) out: &'a mut [f32],
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        self.attend(OfFloats(simd));
    }
}

impl PairKernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<P: Pairs>(self, isa: P) {
        self.attend(OfPairs(isa));
    }
}

impl Task<'_> {
    #[inline(always)]
    fn attend<N: Numbers>(self, isa: N) {
        let Self { attention, rows, packed, first, out } = self;
        let width = attention.width();
        let mut room = ROOM.take();
        for (head, packed) in packed.iter().flat_map(Packed::heads).enumerate() {
            for (tile, out) in out.chunks_mut(N::ROWS * width).enumerate() {
                let first = first + tile * N::ROWS;
                let tile = Tile { attention, rows, packed, head, asked: first..first + out.len() / width };
                match tile.asked.len() {
                    1 => tile.eval::<N, 1>(isa, &mut room, out),
                    2..=3 => tile.eval::<N, 3>(isa, &mut room, out),
                    4..=6 if N::ROWS > 3 => tile.eval::<N, 6>(isa, &mut room, out),
                    _ if N::ROWS > 6 => tile.eval::<N, 12>(isa, &mut room, out),
                    _ => {}
                }
            }
        }
        ROOM.set(room);
    }
}

/// What a tile computes in, kept for the next one.
#[derive(Default)]
struct Room {
    /// `[queries, numbers of dimensions]`, where there are fewer than the tile has rows.
    queries: Vec<u32>,
    /// `[queries, panels of keys]`.
    scores: Vec<Sums>,
    /// `[queries, numbers of keys]`.
    weights: Vec<u32>,
}

thread_local! {
    static ROOM: Cell<Room> =
        const { Cell::new(Room { queries: Vec::new(), scores: Vec::new(), weights: Vec::new() }) };
}

/// A few queries of a head.
struct Tile<'a> {
    attention: &'a WholeAttention<'a>,
    rows: Rows,
    packed: Head<'a>,
    head: usize,
    /// The queries, counted from the first that attends.
    asked: Range<usize>,
}

impl Tile<'_> {
    /// `R` is at least the number of queries.
    #[inline(always)]
    fn eval<N: Numbers, const R: usize>(self, isa: N, room: &mut Room, out: &mut [f32]) {
        let Self { attention, rows: Rows { len, asking, .. }, packed, head, asked } = self;
        let (simd, vectors, head_dim) = (isa.floats(), attention.vectors(N::INPUTS), attention.head_dim);
        let numbers = vectors * LANES;
        let own = packed.queries[asked.start * vectors..asked.end * vectors].as_flattened();
        let queries = asking + asked.start..asking + asked.end;
        let x = if queries.len() == R {
            own
        } else {
            room.queries.clear();
            room.queries.extend_from_slice(own);
            room.queries.resize(R * numbers, 0);
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
            let found = products::<N, R>(isa, &packed.keys[panel * numbers..][..numbers], x, numbers);
            // Of a known number of rows: what is found would have to be stored first to be run through.
            for (row, found) in found.into_iter().enumerate() {
                let halves = room.scores[row * n_panels + at].0.as_chunks_mut::<LANES>().0;
                halves[0] = simd.to_array(found[0]);
                halves[1] = simd.to_array(found[1]);
            }
        }
        let in_panel = PANEL / N::INPUTS;
        let keys = n_panels * in_panel;
        room.weights.resize(R * keys, 0);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let bias = attention.bias.map(|bias| bias.of_head(head, queries.start));
        let mut sums = [1.0; R];
        let rows = room.scores.chunks_exact_mut(n_panels).zip(room.weights.chunks_exact_mut(keys));
        for ((query, sum), (scores, weights)) in queries.clone().zip(&mut sums).zip(rows) {
            let visible = attention.visible(query, len);
            let visible = visible.start - panels.start * PANEL..visible.end - panels.start * PANEL;
            let factor = match bias {
                Some(bias) => {
                    let bias = bias.of(query - queries.start, panels.start * PANEL);
                    add_bias(simd, scores, scale, bias);
                    N::LOG_E
                }
                None => N::LOG_E * scale,
            };
            *sum = softmax(isa, scores, factor, visible, weights);
        }
        let all_keys = len.div_ceil(PANEL) * in_panel;
        let width = attention.width();
        for (panel, values) in packed.values.chunks_exact(all_keys).enumerate() {
            // Up to the last key that any of them sees: what follows weighs nothing.
            let values = &values[panels.start * in_panel..seen.end.div_ceil(N::INPUTS)];
            let mixed = products::<N, R>(isa, values, &room.weights, keys);
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
fn products<N: Numbers, const R: usize>(isa: N, weights: &[Lines<u32>], x: &[u32], stride: usize) -> [[V<N>; 2]; R] {
    // Loops, because closures aren't always compiled for the instruction set of their caller.
    let mut rows: [&[u32]; R] = [&[]; R];
    for (row, of_row) in rows.iter_mut().enumerate() {
        *of_row = &x[row * stride..][..weights.len()];
    }
    let mut sums = [[isa.floats().splat(0.0); 2]; R];
    for (number, weights) in weights.iter().enumerate() {
        let halves = weights.0.as_chunks::<LANES>().0;
        for (sums, row) in sums.iter_mut().zip(rows) {
            sums[0] = isa.dot(sums[0], row[number], &halves[0]);
            sums[1] = isa.dot(sums[1], row[number], &halves[1]);
        }
    }
    sums
}

/// Makes `scores` those times `scale`, with `bias` added.
#[inline(always)]
fn add_bias<S: Simd>(simd: S, scores: &mut [Sums], scale: f32, bias: &[f32]) {
    let scale = simd.splat(scale);
    for (scores, bias) in scores.iter_mut().zip(bias.chunks_exact(PANEL)) {
        let halves = scores.0.as_chunks_mut::<LANES>().0.iter_mut();
        for (scores, bias) in halves.zip(bias.as_chunks::<LANES>().0) {
            *scores = simd.to_array(simd.fma(simd.load(scores), scale, simd.load(bias)));
        }
    }
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

/// The weights of the keys of a query in numbers, not yet divided by their sum, which is returned: powers of the scores
/// times `factor`. `visible` counts from the first panel of the scores.
#[inline(always)]
fn softmax<N: Numbers>(isa: N, scores: &mut [Sums], factor: f32, visible: Range<usize>, weights: &mut [u32]) -> f32 {
    let simd = isa.floats();
    let seen = visible.start / PANEL..visible.end.div_ceil(PANEL);
    let in_panel = PANEL / N::INPUTS;
    weights[..seen.start * in_panel].fill(0);
    weights[seen.end * in_panel..].fill(0);
    let (scores, weights) = (&mut scores[seen.clone()], &mut weights[seen.start * in_panel..seen.end * in_panel]);
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
    for (scores, weights) in scores.iter().zip(weights.chunks_exact_mut(in_panel)) {
        let halves = scores.0.as_chunks::<LANES>().0;
        let low = isa.power(simd.fma(simd.load(&halves[0]), factor, off));
        let high = isa.power(simd.fma(simd.load(&halves[1]), factor, off));
        sums = [simd.add(sums[0], low), simd.add(sums[1], high)];
        isa.put(low, high, weights);
    }
    simd.sum(simd.add(sums[0], sums[1]))
}
