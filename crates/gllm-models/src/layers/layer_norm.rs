//! Layer normalisation with its weights.

use burn::tensor::Tensor;
use gllm_core::Result;

use crate::{Weights, ops};

/// `weight`, `bias`: `[hidden]`.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, which checkpoints converted from TensorFlow call `gamma` and `beta`.
    pub(crate) fn load(weights: &Weights<'_>, hidden: usize, eps: f64) -> Result<Self> {
        let [weight, bias] = if weights.contains("gamma") { ["gamma", "beta"] } else { ["weight", "bias"] };
        Ok(Self { weight: weights.tensor(weight, [hidden])?, bias: weights.tensor(bias, [hidden])?, eps })
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`, returns the same
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::norm(x, self.weight.clone(), self.bias.clone(), self.eps)
    }

    /// Normalises `x + residual`.
    ///
    /// # Shapes
    /// - `x`, `residual`: `[tokens, hidden]`, returns the same
    pub(crate) fn forward_add(&self, x: Tensor<2>, residual: Tensor<2>) -> Tensor<2> {
        ops::add_norm(x, residual, self.weight.clone(), self.bias.clone(), self.eps)
    }
}
