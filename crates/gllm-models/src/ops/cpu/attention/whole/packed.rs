//! Queries, keys and values of a sequence as products read them.

use std::cell::Cell;
use std::ops::Range;

use super::numbers::{Numbers, OfFloats, OfPairs};
use super::{Rows, Vector, WholeAttention};
use crate::ops::cpu::bf16::{PairKernel, Pairs};
use crate::ops::cpu::share::{Lines, PANEL};
use crate::ops::cpu::simd::{Kernel, LANES, Simd};

/// Some heads of a sequence; what is missing in the last panels is zeros.
#[derive(Default)]
pub(super) struct Packed {
    /// `[heads, queries, vectors]`.
    queries: Vec<Vector>,
    /// `[heads, panels of keys, numbers of dimensions]`.
    keys: Vec<Lines<u32>>,
    /// `[heads, panels of dimensions, numbers of keys]`.
    values: Vec<Lines<u32>>,
    heads: usize,
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) queries: &'a [Vector],
    pub(super) keys: &'a [Lines<u32>],
    pub(super) values: &'a [Lines<u32>],
}

impl Packed {
    pub(super) fn heads(&self) -> impl Iterator<Item = Head<'_>> {
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
    /// Memory for the next sequences.
    static ROOM: Cell<Vec<Packed>> = const { Cell::new(Vec::new()) };
}

/// Lines of the largest heads whose memory is kept: a megabyte for keys, and one for values.
const LASTING: usize = 1 << 13;

/// Keeps the memory of what is done with.
pub(super) fn give(mut packed: Vec<Packed>) {
    packed.retain(|packed| packed.keys.capacity().max(packed.values.capacity()) <= LASTING);
    ROOM.set(packed);
}

fn take() -> Packed {
    let mut room = ROOM.take();
    let packed = room.pop().unwrap_or_default();
    ROOM.set(room);
    packed
}

/// Packs some heads.
pub(super) struct Pack<'a> {
    pub(super) attention: &'a WholeAttention<'a>,
    pub(super) qkv: &'a [f32],
    pub(super) rows: Rows,
    pub(super) heads: Range<usize>,
}

impl Kernel for Pack<'_> {
    type Output = Packed;

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) -> Packed {
        self.pack(OfFloats(simd))
    }
}

impl PairKernel for Pack<'_> {
    type Output = Packed;

    #[inline(always)]
    fn eval<P: Pairs>(self, isa: P) -> Packed {
        self.pack(OfPairs(isa))
    }
}

impl Pack<'_> {
    #[inline(always)]
    fn pack<N: Numbers>(self, isa: N) -> Packed {
        let Self { attention, qkv, rows: Rows { first, len, asking, queries }, heads } = self;
        let (vectors, panels) = (attention.vectors(N::INPUTS), len.div_ceil(PANEL));
        let (lines_of_keys, lines_of_values) =
            (panels * vectors * LANES, attention.head_dim.div_ceil(PANEL) * panels * (PANEL / N::INPUTS));
        let mut packed = take();
        packed.heads = heads.len();
        packed.queries.resize(heads.len() * queries * vectors, [0; LANES]);
        packed.keys.resize(heads.len() * lines_of_keys, Lines([0; PANEL]));
        packed.values.resize(heads.len() * lines_of_values, Lines([0; PANEL]));
        let mut turned = vec![0.0; attention.head_dim];
        let mut rows = vec![[0; LANES]; vectors * LANES];
        for block in 0..panels * PANEL / LANES {
            let tokens = (block * LANES).min(len)..((block + 1) * LANES).min(len);
            for (index, head) in heads.clone().enumerate() {
                let part = |token: usize, part: usize| attention.part(qkv, first + token, part, head);
                for token in tokens.clone() {
                    if (asking..asking + queries).contains(&token) {
                        let at = index * queries + token - asking;
                        let queries = &mut packed.queries[at * vectors..][..vectors];
                        turn(isa, attention, part(token, 0), first + token, &mut turned, queries);
                    }
                    let row = &mut rows[(token - tokens.start) * vectors..][..vectors];
                    turn(isa, attention, part(token, 1), first + token, &mut turned, row);
                }
                rows[tokens.len() * vectors..].fill([0; LANES]);
                let keys = &mut packed.keys[index * lines_of_keys..][..lines_of_keys];
                let panel = &mut keys[block / 2 * vectors * LANES..][..vectors * LANES];
                for (vector, lines) in panel.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
                    let mut square = [[0; LANES]; LANES];
                    for (row, rows) in square.iter_mut().zip(rows.chunks_exact(vectors)) {
                        *row = rows[vector];
                    }
                    for (lines, column) in lines.iter_mut().zip(&transposed(isa, square)) {
                        lines.0.as_chunks_mut().0[block % 2] = *column;
                    }
                }
                let values = &mut packed.values[index * lines_of_values..][..lines_of_values];
                for number in block * LANES / N::INPUTS..(block + 1) * LANES / N::INPUTS {
                    let token = number * N::INPUTS;
                    let rows = [token, token + 1].map(|token| if token < len { part(token, 2) } else { &[] });
                    for panel in 0..attention.head_dim.div_ceil(PANEL) {
                        let [a, b] = rows.map(|row| row.get(panel * PANEL..).unwrap_or_default());
                        let halves = isa.across([a, b]);
                        let lines = &mut values[panel * panels * (PANEL / N::INPUTS) + number];
                        lines.0.as_chunks_mut().0.copy_from_slice(&halves);
                    }
                }
            }
        }
        packed
    }
}

/// A query or a key, rotated, in numbers, with zeros up to whole vectors.
#[inline(always)]
fn turn<N: Numbers>(
    isa: N,
    attention: &WholeAttention<'_>,
    x: &[f32],
    token: usize,
    turned: &mut [f32],
    vectors: &mut [Vector],
) {
    let x = match attention.rotation {
        Some(rotation) => {
            turned.copy_from_slice(x);
            rotation.rotate(token, turned);
            turned
        }
        None => x,
    };
    for (vector, x) in vectors.iter_mut().zip(x.chunks(LANES * N::INPUTS)) {
        *vector = isa.numbers(x);
    }
}

/// Rows and columns exchanged.
#[inline(always)]
fn transposed<N: Numbers>(isa: N, mut square: [Vector; LANES]) -> [Vector; LANES] {
    for _ in 0..LANES.ilog2() {
        let mut zipped = [[0; LANES]; LANES];
        for row in 0..LANES / 2 {
            let both = isa.zip(&square[row], &square[row + LANES / 2]);
            zipped[2 * row] = both[0];
            zipped[2 * row + 1] = both[1];
        }
        square = zipped;
    }
    square
}
