//! The gate of a feed-forward block: `activation(gate) · value`, where both are halves of a row.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use rayon::prelude::*;

use super::exp::{gelu_tanh, silu};
use super::simd::{Isa, Kernel, LANES, Simd};

/// Floats that are worth a task of their own: 64 KiB.
const TASK: usize = 16 * 1024;

/// The non-linearities that there is a kernel for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gate {
    Silu,
    GeluTanh,
}

/// # Shapes
/// - `both`: `[rows, 2 * width]`, in each row the gate first
/// - returns `[rows, width]`, in the memory of `out`
pub(crate) fn gate(both: &[f32], width: usize, gate: Gate, out: Vec<f32>) -> Vec<f32> {
    gate_with(Isa::detect(), both, width, gate, out)
}

fn gate_with(isa: Isa, both: &[f32], width: usize, gate: Gate, mut out: Vec<f32>) -> Vec<f32> {
    let len = both.len() / 2;
    assert!(len.is_multiple_of(width), "{len} results in rows of {width}");
    out.resize(len, 0.0);
    let rows = (TASK / width).max(1);
    if len <= TASK {
        isa.run(Rows { both, width, gate, out: &mut out });
    } else {
        let tasks = both.par_chunks(rows * 2 * width).zip(out.par_chunks_mut(rows * width));
        tasks.for_each(|(both, out)| isa.run(Rows { both, width, gate, out }));
    }
    out
}

/// `gate = activation(gate) · value`, both as long.
pub(crate) fn gate_by(gate: &mut [f32], value: &[f32], kind: Gate) {
    Isa::detect().run(Pair { gate, value, kind });
}

struct Pair<'a> {
    gate: &'a mut [f32],
    value: &'a [f32],
    kind: Gate,
}

impl Kernel for Pair<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        gate_row(simd, self.kind, self.gate, self.value);
    }
}

struct Rows<'a> {
    both: &'a [f32],
    width: usize,
    gate: Gate,
    out: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        for (both, out) in self.both.chunks_exact(2 * self.width).zip(self.out.chunks_exact_mut(self.width)) {
            let (gate, value) = both.split_at(self.width);
            out.copy_from_slice(gate);
            gate_row(simd, self.gate, out, value);
        }
    }
}

#[inline(always)]
fn gate_row<S: Simd>(simd: S, kind: Gate, gate: &mut [f32], value: &[f32]) {
    let ((gates, last_gates), (values, last_values)) = (gate.as_chunks_mut(), value.as_chunks());
    for (gate, value) in gates.iter_mut().zip(values) {
        *gate = gated(simd, kind, gate, value);
    }
    if !last_gates.is_empty() {
        let fill = |part: &[f32]| std::array::from_fn(|i| part.get(i).copied().unwrap_or(0.0));
        let last = gated(simd, kind, &fill(last_gates), &fill(last_values));
        last_gates.iter_mut().zip(last).for_each(|(gate, last)| *gate = last);
    }
}

#[inline(always)]
fn gated<S: Simd>(simd: S, kind: Gate, gate: &[f32; LANES], value: &[f32; LANES]) -> [f32; LANES] {
    let gate = match kind {
        Gate::Silu => silu(simd, simd.load(gate)),
        Gate::GeluTanh => gelu_tanh(simd, simd.load(gate)),
    };
    simd.to_array(simd.mul(gate, simd.load(value)))
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
            let both = numbers(3 * 2 * width, 1);
            let found = |isa: Isa| gate_with(isa, &both, width, Gate::Silu, Vec::new());

            let mut sets = Isa::all();
            let expected = sets.next().map(found).expect("scalar");
            for (both, y) in both.chunks(2 * width).zip(expected.chunks(width)) {
                for (index, y) in y.iter().enumerate() {
                    let (x, value) = (f64::from(both[index]), f64::from(both[width + index]));
                    assert!((x / (1.0 + (-x).exp()) * value - f64::from(*y)).abs() <= 1e-6, "{width}");
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
