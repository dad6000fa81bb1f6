//! Layer normalisation with its weights.

use burn::tensor::{Bytes, Tensor};
use gllm_core::Result;

#[cfg(feature = "cpu")]
use crate::ops::Norm;
use crate::{EncoderConfig, Weights, ops};

/// `weight`, `bias`: `[hidden]`, and where kernels read them.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    #[cfg(feature = "cpu")]
    host: (Vec<f32>, Option<Vec<f32>>),
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and, where there is one, `bias`, which checkpoints converted from TensorFlow call `gamma` and
    /// `beta`.
    pub(crate) fn load(weights: &Weights<'_>, hidden: usize, eps: f64, has_bias: bool) -> Result<Self> {
        let [weight, bias] = if weights.contains("gamma") { ["gamma", "beta"] } else { ["weight", "bias"] };
        let weight = weights.values(weight, hidden)?;
        let bias = has_bias.then(|| weights.values(bias, hidden)).transpose()?;
        let upload = |values: &Vec<f32>| weights.upload(Bytes::from_elems(values.clone()), [hidden]);
        Ok(Self {
            weight: upload(&weight),
            bias: bias.as_ref().map(upload),
            #[cfg(feature = "cpu")]
            host: (weight, bias),
            eps,
        })
    }

    /// As [`LayerNorm::load`], over the hidden states of an encoder of this configuration.
    pub(crate) fn load_for(config: &EncoderConfig, weights: &Weights<'_>) -> Result<Self> {
        Self::load(weights, config.hidden_size, config.layer_norm_eps, config.biases.norm)
    }

    /// `[hidden]`.
    pub(crate) fn weight(&self) -> Tensor<1> {
        self.weight.clone()
    }

    /// `[hidden]`.
    pub(crate) fn bias(&self) -> Option<Tensor<1>> {
        self.bias.clone()
    }

    /// Added to the variance.
    pub(crate) fn eps(&self) -> f64 {
        self.eps
    }

    /// As kernels take it.
    #[cfg(feature = "cpu")]
    pub(crate) fn host(&self) -> Norm<'_> {
        Norm { weight: &self.host.0, bias: self.host.1.as_deref(), eps: self.eps as f32 }
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`, returns the same
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::norm(x, self)
    }

    /// Normalises `x + residual`.
    ///
    /// # Shapes
    /// - `x`, `residual`: `[tokens, hidden]`, returns the same
    pub(crate) fn forward_add(&self, x: Tensor<2>, residual: Tensor<2>) -> Tensor<2> {
        ops::add_norm(x, residual, self)
    }
}
