//! A linear layer on floats: `y = f(x · Wᵀ + b)`.
//!
//! Weights are sorted once: thirty-two outputs make a panel, which has their weights side by side, in the order of the
//! inputs. Each result is summed in the order of the inputs, so it is the same, bit for bit, whatever rows stand beside
//! it, on any number of threads and with any instruction set.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use gllm_quant::HugeVec;
use rayon::prelude::*;

use super::rows::{Room, stride};
use super::share::{Lines, PANEL, Panels, Part, Sums, TILE_ROWS, Then, finish, for_tile, prefetch, share, tiles};
use super::simd::{Isa, Kernel, LANES, Simd};
use crate::threads;

/// Inputs that are summed before the next tile of rows where tiles have few: the panel's weights for them stay in the
/// first cache. A tile of many rows reads weights so seldom that the second cache gives them fast enough.
const STEP: usize = 192;

/// The weights of a layer.
#[derive(Clone, Debug)]
pub(crate) struct DenseLinear {
    /// For each, `[inputs]`; outputs that are missing in the last one are zeros.
    pub(super) panels: Panels<Lines<f32>>,
}

impl DenseLinear {
    /// A layer `[outputs, inputs]` with or without a bias.
    pub(crate) fn new(weight: &[f32], bias: Option<&[f32]>, inputs: usize) -> Self {
        let outputs = weight.len() / inputs;
        let mut panels = HugeVec::<Lines<f32>>::zeros(outputs.div_ceil(PANEL) * inputs);
        let of_panels = panels.par_chunks_exact_mut(inputs).zip(weight.par_chunks(inputs * PANEL));
        threads::on_pool(|| {
            of_panels.for_each(|(panel, rows)| {
                for (lane, row) in rows.chunks_exact(inputs).enumerate() {
                    panel.iter_mut().zip(row).for_each(|(to, weight)| to.0[lane] = *weight);
                }
            });
        });
        Self { panels: Panels::new([inputs, outputs], panels, bias) }
    }

    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - returns `[rows, outputs]`, in the memory of `y`
    pub(crate) fn forward(&self, x: &[f32], then: Then, y: Vec<f32>) -> Vec<f32> {
        self.forward_with(Isa::detect(), x, then, y)
    }

    /// A part of the results for `x`, on the caller's thread.
    pub(super) fn part(&self, x: &[f32], part: Part<'_>, then: Then) {
        Isa::detect().run(Block { layer: self, x, part, then });
    }

    fn forward_with(&self, isa: Isa, x: &[f32], then: Then, y: Vec<f32>) -> Vec<f32> {
        share(x.len() / self.panels.inputs, [self.panels.inputs, self.panels.outputs], y, |part| {
            isa.run(Block { layer: self, x, part, then });
        })
    }
}

/// Some rows, through some panels.
struct Block<'a> {
    layer: &'a DenseLinear,
    x: &'a [f32],
    part: Part<'a>,
    then: Then,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { layer, x, part: Part { rows, panels, y, width }, then } = self;
        let inputs = layer.panels.inputs;
        let (n_rows, stride) = (rows.len(), stride(inputs));
        let step = if S::ROWS < TILE_ROWS { STEP } else { inputs };
        let mut room = Room::new(n_rows * stride);
        let apart: &mut [f32] = room.numbers();
        for (to, row) in apart.chunks_exact_mut(stride).zip(x[rows.start * inputs..].chunks_exact(inputs)) {
            to[..inputs].copy_from_slice(row);
        }
        let mut sums = vec![Lines([0.0; PANEL]); n_rows];
        for (index, panel) in panels.enumerate() {
            let weights = layer.panels.of(panel, inputs);
            sums.fill(Lines([0.0; PANEL]));
            for (index, weights) in weights.chunks(step).enumerate() {
                for rows in tiles(n_rows, S::ROWS) {
                    let (x, n_rows) = (&apart[rows.start * stride + index * step..], rows.len());
                    let sums = &mut sums[rows];
                    for_tile!(n_rows, add_products::<S>(simd, weights, x, stride, sums));
                }
            }
            finish(simd, &sums, &layer.panels.bias[panel], then, y, width, index * PANEL);
        }
    }
}

/// `sums += x · weights` for `R` rows of `x`, which are `stride` apart.
#[inline(always)]
fn add_products<S: Simd, const R: usize>(simd: S, weights: &[Lines<f32>], x: &[f32], stride: usize, sums: &mut [Sums]) {
    // Loops, because closures aren't always compiled for the instruction set of their caller.
    let mut rows: [&[f32]; R] = [&[]; R];
    for (row, of_row) in rows.iter_mut().enumerate() {
        *of_row = &x[row * stride..][..weights.len()];
    }
    // One row waits for its sums, and the more of them the less.
    if S::VECTORS == 2 || R == 1 {
        add_vectors::<S, R, 2>(simd, weights, rows, 0, sums);
    } else {
        add_vectors::<S, R, 1>(simd, weights, rows, 0, sums);
        add_vectors::<S, R, 1>(simd, weights, rows, 1, sums);
    }
}

/// [`add_products`] for `W` vectors of the panel, from `first` on.
#[inline(always)]
fn add_vectors<S: Simd, const R: usize, const W: usize>(
    simd: S,
    weights: &[Lines<f32>],
    rows: [&[f32]; R],
    first: usize,
    sums: &mut [Sums],
) {
    let mut totals = [[simd.splat(0.0); W]; R];
    for (totals, sums) in totals.iter_mut().zip(&*sums) {
        let vectors = &sums.0.as_chunks::<LANES>().0[first..first + W];
        for (total, vector) in totals.iter_mut().zip(vectors) {
            *total = simd.load(vector);
        }
    }
    for (input, weights) in weights.iter().enumerate() {
        prefetch(weights);
        let vectors = &weights.0.as_chunks::<LANES>().0[first..first + W];
        let mut weights = [simd.splat(0.0); W];
        for (weights, vector) in weights.iter_mut().zip(vectors) {
            *weights = simd.load(vector);
        }
        for (totals, row) in totals.iter_mut().zip(rows) {
            for (total, weights) in totals.iter_mut().zip(weights) {
                *total = simd.fma_by(row[input], weights, *total);
            }
        }
    }
    for (sums, totals) in sums.iter_mut().zip(totals) {
        let vectors = &mut sums.0.as_chunks_mut::<LANES>().0[first..first + W];
        for (vector, total) in vectors.iter_mut().zip(totals) {
            *vector = simd.to_array(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    /// Rows, inputs, outputs: nothing divides a panel, a tile or a step.
    const SIZES: [[usize; 3]; 6] = [[1, 1, 1], [2, 7, 33], [13, 200, 70], [29, 193, 32], [101, 64, 100], [250, 40, 65]];

    #[test]
    fn products_are_right_and_the_same_on_every_instruction_set_and_row_by_row() {
        for [rows, inputs, outputs] in SIZES {
            let (weight, bias, x) = (numbers(outputs * inputs, 1), numbers(outputs, 2), numbers(rows * inputs, 3));
            let layer = DenseLinear::new(&weight, Some(&bias), inputs);
            let product = |isa, x: &[f32]| layer.forward_with(isa, x, Then::Nothing, vec![f32::NAN; 7]);
            let exact = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let mut sets = Isa::all();
            let expected = sets.next().map(|isa| product(isa, &x)).expect("scalar");
            for (row, y) in expected.chunks(outputs).enumerate() {
                for (output, found) in y.iter().enumerate() {
                    let terms = weight[output * inputs..][..inputs].iter().zip(&x[row * inputs..]);
                    let sum: f64 = terms.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                    let error = (f64::from(*found) - sum - f64::from(bias[output])).abs();
                    assert!(error <= 1e-5 * (inputs as f64).sqrt(), "{rows} {inputs} {outputs}: {error}");
                }
            }
            let expected = exact(expected);
            for isa in sets {
                assert_eq!(exact(product(isa, &x)), expected, "{isa:?} {rows} {inputs} {outputs}");
                let alone = x.chunks(inputs).flat_map(|x| exact(product(isa, x)));
                assert!(alone.eq(expected.iter().copied()), "{isa:?} {rows} {inputs} {outputs}, row by row");
            }
        }
    }
}
