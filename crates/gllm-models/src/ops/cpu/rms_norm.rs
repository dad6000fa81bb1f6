//! Root-mean-square normalisation of rows.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use rayon::prelude::*;

use super::simd::{Isa, Kernel, LANES, Simd};

/// Floats that are worth a task of their own: 64 KiB.
const TASK: usize = 16 * 1024;

/// # Shapes
/// - `x`: `[rows, weight.len()]`, in place
pub(crate) fn rms_norm(x: &mut [f32], weight: &[f32], eps: f32) {
    let isa = Isa::detect();
    let rows = (TASK / weight.len()).max(1) * weight.len();
    if x.len() <= TASK {
        isa.run(Rows { x, weight, eps });
    } else {
        x.par_chunks_mut(rows).for_each(|x| isa.run(Rows { x, weight, eps }));
    }
}

/// As [`rms_norm`], of one row.
pub(super) fn rms_norm_row(x: &mut [f32], weight: &[f32], eps: f32) {
    Isa::detect().run(Rows { x, weight, eps });
}

struct Rows<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let (weights, last_weights) = self.weight.as_chunks::<LANES>();
        for row in self.x.chunks_exact_mut(self.weight.len()) {
            let width = row.len() as f32;
            let (chunks, last) = row.as_chunks_mut::<LANES>();
            let mut squares = simd.splat(0.0);
            for chunk in &*chunks {
                let x = simd.load(chunk);
                squares = simd.fma(x, x, squares);
            }
            let rest = last.iter().fold(0.0, |sum: f32, x| x.mul_add(*x, sum));
            let factor = 1.0 / ((simd.sum(squares) + rest) / width + self.eps).sqrt();
            for (chunk, weight) in chunks.iter_mut().zip(weights) {
                let x = simd.mul(simd.load(chunk), simd.splat(factor));
                *chunk = simd.to_array(simd.mul(x, simd.load(weight)));
            }
            for (x, weight) in last.iter_mut().zip(last_weights) {
                *x = *x * factor * weight;
            }
        }
    }
}
