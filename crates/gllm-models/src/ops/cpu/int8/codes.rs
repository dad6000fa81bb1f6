//! Rows of activations as whole numbers from 0 to 255, scaled from the lowest to the highest of each group of inputs.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use super::{GROUP, QUAD, QUADS, Quad};
use crate::ops::cpu::share::TILE_ROWS;
use crate::ops::cpu::simd::{LANES, Simd};

/// How the codes of a group of inputs are to be read, for each row of a tile of the most rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranges {
    pub(super) steps: [f32; TILE_ROWS[0]],
    pub(super) lows: [f32; TILE_ROWS[0]],
}

/// Rows of activations in codes.
pub(super) struct Codes {
    /// `[groups, rows]`.
    pub(super) quads: Vec<[Quad; QUADS]>,
    /// `[groups, tiles]`.
    pub(super) ranges: Vec<Ranges>,
    pub(super) rows: usize,
}

impl Codes {
    /// Room for those of rows of `inputs`.
    pub(super) fn new(rows: usize, inputs: usize) -> Self {
        let groups = inputs.div_ceil(GROUP);
        let nothing = Ranges { steps: [0.0; TILE_ROWS[0]], lows: [0.0; TILE_ROWS[0]] };
        Self {
            quads: vec![[0; QUADS]; groups * rows],
            ranges: vec![nothing; groups * rows.div_ceil(TILE_ROWS[0])],
            rows,
        }
    }

    #[inline(always)]
    pub(super) fn of<S: Simd>(simd: S, x: &[f32], inputs: usize) -> Self {
        let mut made = Self::new(x.len() / inputs, inputs);
        for (row, x) in x.chunks_exact(inputs).enumerate() {
            for (group, x) in x.chunks(GROUP).enumerate() {
                made.put(simd, (row, group), x);
            }
        }
        made
    }

    /// Sets a group of a row.
    #[inline(always)]
    pub(super) fn put<S: Simd>(&mut self, simd: S, (row, group): (usize, usize), x: &[f32]) {
        let (step, low) = quantize(simd, x, &mut self.quads[group * self.rows + row]);
        let ranges = &mut self.ranges[group * self.rows.div_ceil(TILE_ROWS[0]) + row / TILE_ROWS[0]];
        ranges.steps[row % TILE_ROWS[0]] = step;
        ranges.lows[row % TILE_ROWS[0]] = low;
    }
}

/// Added to a number below 2²², it leaves the nearest integer in the lowest bits, the even one of two.
const ROUND: f32 = (3 << 22) as f32;

/// Writes the codes of a group, and returns their step and the number that code 0 stands for. Where a number isn't
/// finite, neither are they.
#[inline(always)]
fn quantize<S: Simd>(simd: S, x: &[f32], quads: &mut [Quad; QUADS]) -> (f32, f32) {
    let mut padded = [x[0]; GROUP];
    let x: &[f32; GROUP] = if let Some(x) = x.as_array() {
        x
    } else {
        padded[..x.len()].copy_from_slice(x);
        &padded
    };
    let vectors = x.as_chunks::<LANES>().0;
    let (mut lowest, mut highest) = (simd.splat(f32::INFINITY), simd.splat(f32::NEG_INFINITY));
    let mut zero = simd.splat(0.0);
    for vector in vectors {
        let x = simd.load(vector);
        lowest = simd.min(x, lowest);
        highest = simd.max(x, highest);
        // Unless a number isn't finite: comparisons lose what isn't a number.
        zero = simd.fma(x, simd.splat(0.0), zero);
    }
    if simd.has_nan(zero) {
        return (f32::NAN, f32::NAN);
    }
    let low = simd.smallest(lowest);
    let span = simd.largest(highest) - low;
    let inverse = 255.0 / span;
    // Infinite for numbers that are all the same, or nearly.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let (off, factor, round) = (simd.splat(low), simd.splat(inverse), simd.splat(ROUND));
    for (quads, vector) in quads.as_chunks_mut::<{ LANES / QUAD }>().0.iter_mut().zip(vectors) {
        let codes = simd.fma(simd.sub(simd.load(vector), off), factor, round);
        *quads = simd.low_bytes(codes);
    }
    (span / 255.0, low)
}
