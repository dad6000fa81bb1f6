//! Rows of activations as whole numbers from 0 to 255, scaled from the lowest to the highest of each group of inputs.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use super::{GROUP, QUAD, QUADS, Quad};
use crate::ops::cpu::share::PANEL;
use crate::ops::cpu::simd::{LANES, Simd};

/// Rows of activations in codes.
#[derive(Default)]
pub(super) struct Codes {
    /// `[groups, rows]`, and perhaps more.
    pub(super) quads: Vec<[Quad; QUADS]>,
    /// `[groups, rows]`: from a code to the next.
    pub(super) steps: Vec<f32>,
    /// `[groups, rows]`: what code 0 stands for.
    pub(super) lows: Vec<f32>,
    pub(super) rows: usize,
    /// Inputs of a group.
    group: usize,
}

impl Codes {
    pub(super) const NONE: Self = Self { quads: Vec::new(), steps: Vec::new(), lows: Vec::new(), rows: 0, group: 0 };

    /// Makes room for those of rows of `inputs`, in groups of so many: any, until they are set.
    pub(super) fn make_room(&mut self, rows: usize, inputs: usize, group: usize) {
        let len = inputs.div_ceil(group) * rows;
        // It never becomes less: what is added is cleared.
        if self.quads.len() < len {
            self.quads.resize(len, [0; QUADS]);
            self.steps.resize(len, 0.0);
            self.lows.resize(len, 0.0);
        }
        (self.rows, self.group) = (rows, group);
    }

    /// Sets them all.
    #[inline(always)]
    pub(super) fn put_all<S: Simd>(&mut self, simd: S, x: &[f32], inputs: usize, group: usize) {
        self.make_room(x.len() / inputs, inputs, group);
        for (row, x) in x.chunks_exact(inputs).enumerate() {
            for (index, x) in x.chunks(group).enumerate() {
                self.put(simd, (row, index), x);
            }
        }
    }

    /// Sets a group of a row.
    #[inline(always)]
    pub(super) fn put<S: Simd>(&mut self, simd: S, (row, group): (usize, usize), x: &[f32]) {
        let place = group * self.rows + row;
        let quads = &mut self.quads[place][..self.group / QUAD];
        (self.steps[place], self.lows[place]) = quantize(simd, x, quads);
    }
}

/// Added to a number below 2²², it leaves the nearest integer in the lowest bits, the even one of two.
const ROUND: f32 = (3 << 22) as f32;

/// Writes the codes of a group, and returns their step and the number that code 0 stands for. Where a number isn't
/// finite, neither are they.
#[inline(always)]
fn quantize<S: Simd>(simd: S, x: &[f32], quads: &mut [Quad]) -> (f32, f32) {
    let mut padded;
    let x = if x.len() == quads.len() * QUAD {
        x
    } else {
        padded = [x[0]; GROUP];
        padded[..x.len()].copy_from_slice(x);
        &padded[..quads.len() * QUAD]
    };
    let (mut lowest, mut highest) = ([simd.splat(f32::INFINITY); 2], [simd.splat(f32::NEG_INFINITY); 2]);
    let mut zeros = [simd.splat(0.0); 2];
    for vectors in x.as_chunks::<PANEL>().0 {
        for (at, vector) in vectors.as_chunks::<LANES>().0.iter().enumerate() {
            let x = simd.load(vector);
            lowest[at] = simd.min(x, lowest[at]);
            highest[at] = simd.max(x, highest[at]);
            // Unless a number isn't finite: comparisons lose what isn't a number.
            zeros[at] = simd.fma(x, simd.splat(0.0), zeros[at]);
        }
    }
    if simd.has_nan(simd.add(zeros[0], zeros[1])) {
        return (f32::NAN, f32::NAN);
    }
    let low = simd.smallest(simd.min(lowest[0], lowest[1]));
    let span = simd.largest(simd.max(highest[0], highest[1])) - low;
    let inverse = 255.0 / span;
    // Infinite for numbers that are all the same, or nearly.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    let (off, factor, round) = (simd.splat(low), simd.splat(inverse), simd.splat(ROUND));
    for (quads, vector) in quads.as_chunks_mut::<{ LANES / QUAD }>().0.iter_mut().zip(x.as_chunks::<LANES>().0) {
        let codes = simd.fma(simd.sub(simd.load(vector), off), factor, round);
        *quads = simd.low_bytes(codes);
    }
    (span / 255.0, low)
}
