//! A linear layer with its weights.

use burn::tensor::Tensor;
use gllm_core::Result;

use crate::{Weights, ops};

/// `weight`: `[inputs, outputs]`, a view of the checkpoint's `[outputs, inputs]`; `bias`: `[outputs]`.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
}

impl Linear {
    /// Reads `weight` and, where there is one, `bias`.
    pub(crate) fn load(weights: &Weights<'_>, inputs: usize, outputs: usize, has_bias: bool) -> Result<Self> {
        let weight = weights.tensor("weight", [outputs, inputs])?.transpose();
        let bias = has_bias.then(|| weights.tensor("bias", [outputs])).transpose()?;
        Ok(Self { weight, bias })
    }

    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - returns `[tokens, outputs]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::linear(x, self.weight.clone(), self.bias.clone())
    }
}
