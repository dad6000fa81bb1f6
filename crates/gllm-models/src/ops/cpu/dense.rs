//! A linear layer on floats: `y = f(x · Wᵀ + b)`.
//!
//! Weights are sorted once: thirty-two outputs make a panel, which has their weights side by side, in the order of the
//! inputs. Each result is summed in the order of the inputs, so it is the same, bit for bit, whatever rows stand beside
//! it, on any number of threads and with any instruction set.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use rayon::prelude::*;

use super::erf::gelu;
use super::exp::{gelu_tanh, silu, tanh};
use super::simd::{Isa, Kernel, LANES, Simd};

/// Outputs of a panel.
const PANEL: usize = 2 * LANES;

/// Rows that are multiplied with a panel at once, the most first.
const TILE_ROWS: [usize; 4] = [12, 6, 3, 1];

/// Rows that a task takes through all panels: their activations stay in the cache.
const TASK_ROWS: usize = 8 * TILE_ROWS[0];

/// Inputs that are summed before the next tile of rows: the panel's weights for them stay in the first cache.
const STEP: usize = 192;

/// What becomes of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    Gelu,
    GeluTanh,
    Silu,
    Tanh,
    Relu,
}

/// The weights of one or more layers with the same inputs.
#[derive(Clone, Debug)]
pub(crate) struct DenseLinear {
    inputs: usize,
    outputs: usize,
    /// `[panels, inputs, PANEL]`; outputs that are missing in the last panel are zeros.
    panels: Vec<f32>,
    /// `[outputs]`, padded to whole panels.
    bias: Vec<f32>,
}

impl DenseLinear {
    /// Of layers, each `[outputs, inputs]` with or without a bias, whose outputs follow one another.
    pub(crate) fn new(layers: &[(&[f32], Option<&[f32]>)], inputs: usize) -> Self {
        let outputs: usize = layers.iter().map(|(weight, _)| weight.len() / inputs).sum();
        let n_panels = outputs.div_ceil(PANEL);
        let rows: Vec<&[f32]> = layers.iter().flat_map(|(weight, _)| weight.chunks_exact(inputs)).collect();
        let mut panels = vec![0.0; n_panels * inputs * PANEL];
        panels.par_chunks_exact_mut(inputs * PANEL).zip(rows.par_chunks(PANEL)).for_each(|(panel, rows)| {
            for (lane, row) in rows.iter().enumerate() {
                panel[lane..].iter_mut().step_by(PANEL).zip(*row).for_each(|(to, weight)| *to = *weight);
            }
        });
        let mut bias = Vec::with_capacity(n_panels * PANEL);
        for (weight, of_layer) in layers {
            match of_layer {
                Some(of_layer) => bias.extend_from_slice(of_layer),
                None => bias.resize(bias.len() + weight.len() / inputs, 0.0),
            }
        }
        bias.resize(n_panels * PANEL, 0.0);
        Self { inputs, outputs, panels, bias }
    }

    /// Layers one after the other as one, where panels have room for it: all but the last have whole ones.
    pub(crate) fn joined(layers: &[&Self]) -> Option<Self> {
        let (last, others) = layers.split_last()?;
        if !others.iter().all(|layer| layer.outputs.is_multiple_of(PANEL) && layer.inputs == last.inputs) {
            return None;
        }
        Some(Self {
            inputs: last.inputs,
            outputs: layers.iter().map(|layer| layer.outputs).sum(),
            panels: layers.iter().flat_map(|layer| &layer.panels).copied().collect(),
            bias: layers.iter().flat_map(|layer| &layer.bias).copied().collect(),
        })
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - returns `[rows, outputs]`, in the memory of `y`
    pub(crate) fn forward(&self, x: &[f32], then: Then, y: Vec<f32>) -> Vec<f32> {
        self.forward_with(Isa::detect(), x, then, y)
    }

    fn forward_with(&self, isa: Isa, x: &[f32], then: Then, mut y: Vec<f32>) -> Vec<f32> {
        let n_rows = x.len() / self.inputs;
        y.resize(n_rows * self.outputs, 0.0);
        let n_panels = self.bias.len() / PANEL;
        let threads = rayon::current_num_threads();
        if n_rows >= threads * TASK_ROWS / 2 || n_rows * self.inputs * self.outputs < 1 << 18 {
            let tasks = n_rows.div_ceil(n_rows.div_ceil(TASK_ROWS).next_multiple_of(threads)).max(TILE_ROWS[0]);
            let rows = x.par_chunks(tasks * self.inputs).zip(y.par_chunks_mut(tasks * self.outputs));
            rows.with_max_len(1).for_each(|(x, y)| {
                isa.run(Block { layer: self, first_panel: 0, panels: n_panels, x, y, width: self.outputs, then });
            });
            return y;
        }
        // Few rows: the threads share the outputs.
        let share = n_panels.div_ceil(threads);
        let starts: Vec<usize> = (0..n_panels).step_by(share).collect();
        let parts = starts.par_iter().with_max_len(1).map(|&first_panel| {
            let panels = share.min(n_panels - first_panel);
            let width = (panels * PANEL).min(self.outputs - first_panel * PANEL);
            let mut part = vec![0.0; n_rows * width];
            isa.run(Block { layer: self, first_panel, panels, x, y: &mut part, width, then });
            (first_panel * PANEL, width, part)
        });
        for (first, width, part) in parts.collect::<Vec<_>>() {
            for (row, part) in y.chunks_exact_mut(self.outputs).zip(part.chunks_exact(width)) {
                row[first..first + width].copy_from_slice(part);
            }
        }
        y
    }
}

/// Some rows, through some panels.
struct Block<'a> {
    layer: &'a DenseLinear,
    first_panel: usize,
    panels: usize,
    x: &'a [f32],
    /// `[rows, width]`.
    y: &'a mut [f32],
    width: usize,
    then: Then,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let Self { layer, first_panel, panels, x, y, width, then } = self;
        let inputs = layer.inputs;
        let n_rows = x.len() / inputs;
        let mut sums = vec![[0.0_f32; PANEL]; n_rows];
        for panel in 0..panels {
            let weights = &layer.panels[(first_panel + panel) * inputs * PANEL..][..inputs * PANEL];
            let weights: &[[f32; PANEL]] = weights.as_chunks().0;
            sums.fill([0.0; PANEL]);
            for first in (0..inputs).step_by(STEP) {
                let step = first..inputs.min(first + STEP);
                let weights = &weights[step.clone()];
                let mut row = 0;
                while row < n_rows {
                    let most = S::ROWS.min(n_rows - row);
                    let rows = TILE_ROWS.into_iter().find(|rows| *rows <= most).unwrap_or(1);
                    let x = &x[row * inputs + step.start..];
                    let sums = &mut sums[row..row + rows];
                    match rows {
                        12 => add_products::<S, 12>(simd, weights, x, inputs, sums),
                        6 => add_products::<S, 6>(simd, weights, x, inputs, sums),
                        3 => add_products::<S, 3>(simd, weights, x, inputs, sums),
                        _ => add_products::<S, 1>(simd, weights, x, inputs, sums),
                    }
                    row += rows;
                }
            }
            let bias = &layer.bias[(first_panel + panel) * PANEL..][..PANEL];
            let column = panel * PANEL;
            let len = PANEL.min(width - column);
            let bias = bias.as_chunks::<LANES>().0;
            let bias = [simd.load(&bias[0]), simd.load(&bias[1])];
            for (sums, row) in sums.iter().zip(y.chunks_exact_mut(width)) {
                let halves = sums.as_chunks::<LANES>().0;
                let sums = [simd.add(simd.load(&halves[0]), bias[0]), simd.add(simd.load(&halves[1]), bias[1])];
                let done = [apply(simd, sums[0], then), apply(simd, sums[1], then)];
                // Copies of a known length are two instructions.
                if let ([first, second, ..], _) = row[column..].as_chunks_mut::<LANES>() {
                    *first = simd.to_array(done[0]);
                    *second = simd.to_array(done[1]);
                } else {
                    let both = [simd.to_array(done[0]), simd.to_array(done[1])];
                    row[column..].copy_from_slice(&both.as_flattened()[..len]);
                }
            }
        }
    }
}

/// `then` of each lane.
#[inline(always)]
pub(super) fn apply<S: Simd>(simd: S, x: S::V, then: Then) -> S::V {
    match then {
        Then::Nothing => x,
        Then::Gelu => gelu(simd, x),
        Then::GeluTanh => gelu_tanh(simd, x),
        Then::Silu => silu(simd, x),
        Then::Tanh => tanh(simd, x),
        Then::Relu => simd.max(x, simd.splat(0.0)),
    }
}

/// `sums += x · weights` for `R` rows of `x`, which are `stride` apart.
#[inline(always)]
fn add_products<S: Simd, const R: usize>(
    simd: S,
    weights: &[[f32; PANEL]],
    x: &[f32],
    stride: usize,
    sums: &mut [[f32; PANEL]],
) {
    let rows: [&[f32]; R] = std::array::from_fn(|row| &x[row * stride..][..weights.len()]);
    let mut totals: [[S::V; 2]; R] = std::array::from_fn(|row| {
        let halves = sums[row].as_chunks::<LANES>().0;
        [simd.load(&halves[0]), simd.load(&halves[1])]
    });
    for (input, weights) in weights.iter().enumerate() {
        let halves = weights.as_chunks::<LANES>().0;
        let weights = [simd.load(&halves[0]), simd.load(&halves[1])];
        for (totals, row) in totals.iter_mut().zip(rows) {
            let x = simd.splat(row[input]);
            totals[0] = simd.fma(x, weights[0], totals[0]);
            totals[1] = simd.fma(x, weights[1], totals[1]);
        }
    }
    for (sums, totals) in sums.iter_mut().zip(totals) {
        let halves = sums.as_chunks_mut::<LANES>().0;
        halves[0] = simd.to_array(totals[0]);
        halves[1] = simd.to_array(totals[1]);
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
            let layer = DenseLinear::new(&[(&weight, Some(&bias))], inputs);
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

    #[test]
    fn joined_layers_are_as_those_one_by_one() {
        let (inputs, x) = (50, numbers(3 * 50, 4));
        let layers =
            [64, 32, 20].map(|outputs| DenseLinear::new(&[(&numbers(outputs * inputs, outputs), None)], inputs));
        let joined = DenseLinear::joined(&layers.each_ref()).expect("whole panels but for the last");
        let y = joined.forward(&x, Then::Silu, Vec::new());
        let apart = layers.each_ref().map(|layer| layer.forward(&x, Then::Silu, Vec::new()));
        for (row, y) in y.chunks(116).enumerate() {
            let expected = apart.iter().zip([64, 32, 20]).flat_map(|(y, width)| &y[row * width..(row + 1) * width]);
            assert!(y.iter().eq(expected), "row {row}");
        }
        assert!(DenseLinear::joined(&[&layers[2], &layers[0]]).is_none());
    }
}
