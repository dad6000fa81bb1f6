//! Rows scaled to length 1.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use rayon::prelude::*;

use super::simd::{Isa, Kernel, LANES, Simd};

/// Floats that are worth a task of their own: 64 KiB.
const TASK: usize = 16 * 1024;

/// Divides each row by its length, or by `floor` where it is shorter.
///
/// # Shapes
/// - `x`: `[rows, width]`, in place
pub(crate) fn l2_normalize(x: &mut [f32], width: usize, floor: f32) {
    let isa = Isa::detect();
    x.par_chunks_mut((TASK / width).max(1) * width).for_each(|x| isa.run(Rows { x, width, floor }));
}

/// `x · x`.
#[inline(always)]
pub(super) fn sum_of_squares<S: Simd>(simd: S, x: &[f32]) -> f32 {
    let (chunks, last) = x.as_chunks::<LANES>();
    let mut squares = simd.splat(0.0);
    for chunk in chunks {
        let x = simd.load(chunk);
        squares = simd.fma(x, x, squares);
    }
    let rest = last.iter().fold(0.0, |sum: f32, x| x.mul_add(*x, sum));
    simd.sum(squares) + rest
}

struct Rows<'a> {
    x: &'a mut [f32],
    width: usize,
    floor: f32,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        for row in self.x.chunks_exact_mut(self.width) {
            let length = sum_of_squares(simd, row).sqrt();
            // What isn't a number stays so.
            let length = if length < self.floor { self.floor } else { length };
            let (chunks, last) = row.as_chunks_mut::<LANES>();
            for chunk in chunks {
                *chunk = simd.to_array(simd.div(simd.load(chunk), simd.splat(length)));
            }
            for x in last {
                *x /= length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: f32 = 1e-12;

    fn rows(width: usize) -> Vec<f32> {
        (1..=3 * width).map(|i| (i as f32 * 0.37).sin() * 3.0).collect()
    }

    #[test]
    fn rows_have_length_one() {
        for width in [1, 15, 16, 17, 384, 1000] {
            let mut found = rows(width);
            l2_normalize(&mut found, width, FLOOR);
            for (found, x) in found.chunks(width).zip(rows(width).chunks(width)) {
                let length = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
                for (found, x) in found.iter().zip(x) {
                    assert!((f64::from(*found) - f64::from(*x) / length).abs() <= 3e-7, "{width}: {found}");
                }
            }
        }
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_no_number_stays_so() {
        let mut x = [[0.0; 20], [f32::NAN; 20]];
        l2_normalize(x.as_flattened_mut(), 20, FLOOR);
        assert!(x[0].iter().all(|x| x.to_bits() == 0));
        assert!(x[1].iter().all(|x| x.is_nan()));
    }

    #[test]
    fn every_instruction_set_agrees_with_scalar_bit_for_bit() {
        for width in [1, 5, 16, 31, 32, 100, 1024] {
            let found = |isa: Isa| {
                let mut x = rows(width);
                isa.run(Rows { x: &mut x, width, floor: FLOOR });
                x.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let mut sets = Isa::all();
            let expected = sets.next().map(found);
            for isa in sets {
                assert_eq!(Some(found(isa)), expected, "{isa:?}, {width} floats");
            }
        }
    }
}
