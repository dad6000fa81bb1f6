//! Root-mean-square normalisation of rows.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use rayon::prelude::*;

use super::l2_norm::sum_of_squares;
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
            let factor = 1.0 / (sum_of_squares(simd, row) / width + self.eps).sqrt();
            let (chunks, last) = row.as_chunks_mut::<LANES>();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_agrees_with_scalar_bit_for_bit() {
        for width in [1, 2, 15, 16, 17, 33, 100] {
            let numbers = |len: usize, seed: usize| -> Vec<f32> {
                (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
            };
            let (x, weight) = (numbers(3 * width, 1), numbers(width, 2));
            let found = |isa: Isa| {
                let mut y = x.clone();
                isa.run(Rows { x: &mut y, weight: &weight, eps: 1e-6 });
                y
            };
            let mut sets = Isa::all();
            let expected = sets.next().map(found).expect("scalar");
            for (x, y) in x.chunks(width).zip(expected.chunks(width)) {
                let squares: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
                let factor = 1.0 / (squares / width as f64 + 1e-6).sqrt();
                for ((x, weight), y) in x.iter().zip(&weight).zip(y) {
                    assert!((f64::from(*x) * factor * f64::from(*weight) - f64::from(*y)).abs() <= 1e-6, "{width}");
                }
            }
            for isa in sets {
                assert!(
                    found(isa).iter().map(|x| x.to_bits()).eq(expected.iter().map(|x| x.to_bits())),
                    "{isa:?} {width}"
                );
            }
        }
    }
}
