//! Layer normalisation of rows, alone and of a sum.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use rayon::prelude::*;

use super::simd::{Isa, Kernel, LANES, Simd};

/// Floats that are worth a task of their own: 64 KiB.
const TASK: usize = 16 * 1024;

/// What rows are normalised with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm<'a> {
    /// `[width]`.
    pub(crate) weight: &'a [f32],
    /// `[width]`.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) eps: f32,
}

/// Normalises `x`, or `x + residual`.
///
/// # Shapes
/// - `x`, `residual`: `[rows, weight.len()]`, `x` in place
pub(crate) fn layer_norm(x: &mut [f32], residual: Option<&[f32]>, norm: Norm<'_>) {
    let isa = Isa::detect();
    let rows = (TASK / norm.weight.len()).max(1) * norm.weight.len();
    if x.len() <= TASK {
        isa.run(Rows { x, residual, norm });
        return;
    }
    match residual {
        Some(residual) => {
            let tasks = x.par_chunks_mut(rows).zip(residual.par_chunks(rows));
            tasks.for_each(|(x, residual)| isa.run(Rows { x, residual: Some(residual), norm }));
        }
        None => x.par_chunks_mut(rows).for_each(|x| isa.run(Rows { x, residual: None, norm })),
    }
}

struct Rows<'a> {
    x: &'a mut [f32],
    residual: Option<&'a [f32]>,
    norm: Norm<'a>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Norm { weight, bias, eps } = self.norm;
        let width = weight.len();
        for (index, row) in self.x.chunks_exact_mut(width).enumerate() {
            if let Some(residual) = self.residual {
                let residual = &residual[index * width..(index + 1) * width];
                row.iter_mut().zip(residual).for_each(|(x, residual)| *x += residual);
            }
            let mean = sum(simd, row, |x| x, |x| x) / width as f32;
            let off = simd.splat(mean);
            let square = |x| {
                let x = simd.sub(x, off);
                simd.mul(x, x)
            };
            let variance = sum(simd, row, square, |x| (x - mean) * (x - mean)) / width as f32;
            let factor = 1.0 / (variance + eps).sqrt();
            let (chunks, last) = row.as_chunks_mut::<LANES>();
            let (weights, last_weights) = weight.as_chunks::<LANES>();
            for (at, (chunk, weight)) in chunks.iter_mut().zip(weights).enumerate() {
                let x = simd.mul(simd.sub(simd.load(chunk), off), simd.splat(factor));
                let x = match bias.map(|bias| &bias.as_chunks::<LANES>().0[at]) {
                    Some(bias) => simd.fma(x, simd.load(weight), simd.load(bias)),
                    None => simd.mul(x, simd.load(weight)),
                };
                *chunk = simd.to_array(x);
            }
            let done = width - last.len();
            for (at, (x, weight)) in last.iter_mut().zip(last_weights).enumerate() {
                let bias = bias.map_or(0.0, |bias| bias[done + at]);
                *x = ((*x - mean) * factor).mul_add(*weight, bias);
            }
        }
    }
}

/// The sum of a function of each element, in a fixed order.
#[inline(always)]
fn sum<S: Simd>(simd: S, row: &[f32], of: impl Fn(S::V) -> S::V, of_last: impl Fn(f32) -> f32) -> f32 {
    let (chunks, last) = row.as_chunks::<LANES>();
    let total = chunks.iter().fold(simd.splat(0.0), |total, chunk| simd.add(total, of(simd.load(chunk))));
    last.iter().fold(simd.sum(total), |total, x| total + of_last(*x))
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
            let (x, residual) = (numbers(3 * width, 1), numbers(3 * width, 4));
            let (weight, bias) = (numbers(width, 2), numbers(width, 3));
            let found = |isa: Isa| {
                let mut y = x.clone();
                let norm = Norm { weight: &weight, bias: Some(&bias), eps: 1e-3 };
                isa.run(Rows { x: &mut y, residual: Some(&residual), norm });
                y
            };
            let mut sets = Isa::all();
            let expected = sets.next().map(found).expect("scalar");
            let sums: Vec<f64> = x.iter().zip(&residual).map(|(x, residual)| f64::from(x + residual)).collect();
            for (x, y) in sums.chunks(width).zip(expected.chunks(width)) {
                let mean = x.iter().sum::<f64>() / width as f64;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
                for (index, (x, y)) in x.iter().zip(y).enumerate() {
                    let normal = (x - mean) / (variance + 1e-3).sqrt();
                    let exact = normal * f64::from(weight[index]) + f64::from(bias[index]);
                    assert!((exact - f64::from(*y)).abs() <= 1e-5, "{width}: {y}, expected {exact}");
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
