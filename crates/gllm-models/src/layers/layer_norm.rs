//! Layer normalisation with its weights.

use burn::tensor::Tensor;
use gllm_core::Result;

use crate::{EncoderConfig, Weights, ops};

/// `weight`, `bias`: `[hidden]`.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and, where there is one, `bias`, which checkpoints converted from TensorFlow call `gamma` and
    /// `beta`.
    pub(crate) fn load(weights: &Weights<'_>, hidden: usize, eps: f64, has_bias: bool) -> Result<Self> {
        let [weight, bias] = if weights.contains("gamma") { ["gamma", "beta"] } else { ["weight", "bias"] };
        let bias = has_bias.then(|| weights.tensor(bias, [hidden])).transpose()?;
        Ok(Self { weight: weights.tensor(weight, [hidden])?, bias, eps })
    }

    /// As [`LayerNorm::load`], over the hidden states of an encoder of this configuration.
    pub(crate) fn load_for(config: &EncoderConfig, weights: &Weights<'_>) -> Result<Self> {
        Self::load(weights, config.hidden_size, config.layer_norm_eps, config.biases.norm)
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
