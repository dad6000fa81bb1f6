//! The feed-forward half of a block: up, through a non-linearity that may be gated, and down.
//!
//! Gated form: <https://arxiv.org/abs/2002.05202>.

use burn::tensor::Tensor;
use gllm_core::Result;

use super::Linear;
use crate::names::{Names, Up};
use crate::{Activation, EncoderConfig, Weights, ops};

/// `down(activation(up(x)))`, or `down(activation(gate(x)) · value(x))`.
#[derive(Debug)]
pub(crate) struct FeedForward {
    up: UpLayer,
    activation: Activation,
    down: Linear,
    width: usize,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few for each model, never moved")]
enum UpLayer {
    Plain(Linear),
    Packed { layer: Linear, gate_first: bool },
    Apart { gate: Linear, value: Linear },
}

impl FeedForward {
    /// Reads the layers from a block.
    pub(crate) fn load(config: &EncoderConfig, names: &Names, weights: &Weights<'_>) -> Result<Self> {
        let (hidden, width, biases) = (config.hidden_size, config.intermediate_size, config.biases);
        let up = |name, outputs| Linear::load(&weights.enter(name), hidden, outputs, biases.up);
        Ok(Self {
            up: match names.up {
                Up::Plain(name) => UpLayer::Plain(up(name, width)?),
                Up::Packed { name, gate_first } => UpLayer::Packed { layer: up(name, 2 * width)?, gate_first },
                Up::Apart { gate, value } => UpLayer::Apart { gate: up(gate, width)?, value: up(value, width)? },
            },
            activation: config.activation,
            down: Linear::load(&weights.enter(names.down), width, hidden, biases.down)?,
            width,
        })
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`, returns the same
    pub(crate) fn forward(&self, x: &Tensor<2>) -> Tensor<2> {
        let gated = |gate, value: Tensor<2>| ops::activate(gate, self.activation) * value;
        let inner = match &self.up {
            UpLayer::Plain(layer) => ops::activate(layer.forward(x.clone()), self.activation),
            UpLayer::Apart { gate, value } => gated(gate.forward(x.clone()), value.forward(x.clone())),
            UpLayer::Packed { layer, gate_first } => {
                let both = layer.forward(x.clone());
                let tokens = both.dims()[0];
                let half = |index: usize| both.clone().slice([0..tokens, index * self.width..(index + 1) * self.width]);
                let [gate, value] = if *gate_first { [half(0), half(1)] } else { [half(1), half(0)] };
                gated(gate, value)
            }
        };
        self.down.forward(inner)
    }
}
