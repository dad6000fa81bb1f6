//! The feed-forward half of a block: up, through a non-linearity that may be gated, and down.
//!
//! Gated form: <https://arxiv.org/abs/2002.05202>.

use burn::tensor::Tensor;
use gllm_core::Result;

use super::{Linear, Linears};
use crate::names::Up;
use crate::{Activation, Weights, ops};

/// Inputs of the first layer that share a scale in 8 bits: normalised, a few of them are far larger than the others. Those
/// of the second layer aren't.
const INT8_GROUP: usize = 192;

/// Sizes and choices of a feed-forward block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FeedForwardConfig {
    pub(crate) hidden: usize,
    pub(crate) width: usize,
    pub(crate) activation: Activation,
    /// Of the first layer, or its two.
    pub(crate) up_bias: bool,
    pub(crate) down_bias: bool,
}

/// `down(activation(up(x)))`, or `down(activation(gate(x)) · value(x))`.
#[derive(Debug)]
pub(crate) struct FeedForward {
    up: UpLayer,
    activation: Activation,
    down: Linear,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few for each model, never moved")]
enum UpLayer {
    Plain(Linear),
    /// Gate and value in one row of outputs.
    Gated {
        layers: Linears,
        gate_first: bool,
    },
}

impl FeedForward {
    /// Reads the layers from a block.
    pub(crate) fn load(config: FeedForwardConfig, up: &Up, down: &str, weights: &Weights<'_>) -> Result<Self> {
        let FeedForwardConfig { hidden, width, activation, up_bias, down_bias } = config;
        let inner = weights.finer(INT8_GROUP);
        let gated = |names: &[_]| Linears::load(&inner, names, hidden, up_bias);
        Ok(Self {
            up: match *up {
                Up::Plain(name) => UpLayer::Plain(Linear::load(&inner.enter(name), hidden, width, up_bias)?),
                Up::Packed { name, gate_first } => UpLayer::Gated { layers: gated(&[(name, 2 * width)])?, gate_first },
                Up::Apart { gate, value } => {
                    UpLayer::Gated { layers: gated(&[(gate, width), (value, width)])?, gate_first: true }
                }
            },
            activation,
            down: Linear::load(&weights.enter(down), width, hidden, down_bias)?,
        })
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`, returns the same
    pub(crate) fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        match &self.up {
            UpLayer::Plain(layer) => layer.forward_into(x.clone(), self.activation, &self.down),
            UpLayer::Gated { layers, gate_first: true } => layers.forward_gated(x.clone(), self.activation, &self.down),
            UpLayer::Gated { layers, gate_first: false } => {
                let both = layers.forward(x.clone());
                let [tokens, width] = both.dims();
                let half = |range| both.clone().slice([0..tokens, range]);
                let both = Tensor::cat(vec![half(width / 2..width), half(0..width / 2)], 1);
                self.down.forward(ops::gate(both, self.activation))
            }
        }
    }
}
