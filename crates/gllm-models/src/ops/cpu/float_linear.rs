//! A linear layer whose weights are floats in the model's files, in the numbers that it is multiplied in.

use gllm_core::Precision;

use super::bf16::Bf16Linear;
use super::dense::DenseLinear;
use super::int8::Int8Linear;
use super::share::{Part, Then, has_rows_for_all, share_rows};

/// The weights of a layer.
#[derive(Clone, Debug)]
pub(crate) enum FloatLinear {
    F32(DenseLinear),
    Bf16(Bf16Linear),
    Int8(Int8Linear),
}

impl FloatLinear {
    /// A layer `[outputs, inputs]` with or without a bias, in `f32` where there is nothing for `precision`; in 8 bits, at
    /// most `group` inputs share a scale.
    pub(crate) fn new(
        (precision, group): (Precision, usize),
        weight: &[f32],
        bias: Option<&[f32]>,
        inputs: usize,
    ) -> Self {
        let narrow = match precision {
            Precision::Bf16 => Bf16Linear::new(weight, bias, inputs).map(Self::Bf16),
            Precision::Int8 => Some(Self::Int8(Int8Linear::new(weight, bias, inputs, group))),
            _ => None,
        };
        narrow.unwrap_or_else(|| Self::F32(DenseLinear::new(weight, bias, inputs)))
    }

    fn inputs(&self) -> usize {
        match self {
            Self::F32(layer) => layer.panels.inputs,
            Self::Bf16(layer) => layer.panels.inputs,
            Self::Int8(layer) => layer.panels.inputs,
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::F32(layer) => layer.panels.outputs,
            Self::Bf16(layer) => layer.panels.outputs,
            Self::Int8(layer) => layer.panels.outputs,
        }
    }

    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - returns `[rows, outputs]`, in the memory of `y`
    pub(crate) fn forward(&self, x: &[f32], then: Then, y: Vec<f32>) -> Vec<f32> {
        match self {
            Self::F32(layer) => layer.forward(x, then, y),
            Self::Bf16(layer) => layer.forward(x, then, y),
            Self::Int8(layer) => layer.forward(x, then, y),
        }
    }

    /// [`FloatLinear::forward`] on the caller's thread, into `y`.
    fn rows(&self, x: &[f32], then: Then, y: &mut [f32]) {
        match self {
            Self::F32(layer) => layer.part(x, Part::whole(y, layer.panels.outputs), then),
            Self::Bf16(layer) => layer.part(x, Part::whole(y, layer.panels.outputs), then),
            Self::Int8(layer) => layer.part(x, Part::whole(y, layer.panels.outputs), then),
        }
    }
}

/// `down(then(up(x)))`, a few rows at a time where there are many, so that what is between them stays in the cache.
///
/// # Shapes
/// - `x`: `[rows, inputs of up]`
/// - returns `[rows, outputs of down]`, in the memory of `y`
pub(crate) fn feed_forward(x: &[f32], up: &FloatLinear, then: Then, down: &FloatLinear, y: Vec<f32>) -> Vec<f32> {
    let inputs = up.inputs();
    let n_rows = x.len() / inputs;
    if !has_rows_for_all(n_rows) {
        return down.forward(&up.forward(x, then, Vec::new()), Then::Nothing, y);
    }
    if let (FloatLinear::Int8(up), FloatLinear::Int8(down)) = (up, down) {
        return share_rows(n_rows, down.panels.outputs, y, |rows, y| {
            let x = &x[rows.start * inputs..rows.end * inputs];
            down.part_through(up, then, x, Part::whole(y, down.panels.outputs));
        });
    }
    share_rows(n_rows, down.outputs(), y, |rows, y| {
        let mut inner = vec![0.0; rows.len() * up.outputs()];
        up.rows(&x[rows.start * inputs..rows.end * inputs], then, &mut inner);
        down.rows(&inner, Then::Nothing, y);
    })
}
