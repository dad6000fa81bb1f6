//! Linear layers with the same input, computed at once where they can be.

use burn::tensor::Tensor;
use gllm_core::Result;

use super::Linear;
use crate::{Activation, Weights, ops};

/// At least one layer, all of as many inputs.
#[derive(Debug)]
pub(crate) struct Linears(Vec<Linear>);

impl Linears {
    /// Reads the layers of these names, each with as many outputs.
    pub(crate) fn load(weights: &Weights<'_>, names: &[(&str, usize)], inputs: usize, has_bias: bool) -> Result<Self> {
        let layers: Vec<_> = names.iter().map(|&(name, outputs)| (weights.enter(name), outputs)).collect();
        if let Some(joined) = Linear::load_joined(&layers, inputs, has_bias)? {
            return Ok(Self(vec![joined]));
        }
        let load = |(weights, outputs): &(Weights<'_>, usize)| Linear::load(weights, inputs, *outputs, has_bias);
        Ok(Self(layers.iter().map(load).collect::<Result<_>>()?))
    }

    /// `down(activation(gate(x)) · up(x))`, where these are a layer for the gate and one beside it, or halves of one layer.
    ///
    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - returns `[tokens, outputs of down]`
    pub(crate) fn forward_gated(&self, x: Tensor<2>, activation: Activation, down: &Linear) -> Tensor<2> {
        #[cfg(feature = "cpu")]
        if let [gate, up] = self.0.as_slice()
            && let (Some(gate), Some(up), Some(down)) = (gate.packed(), up.packed(), down.packed())
            && let Some(y) = ops::gated_feed_forward(x.clone(), [gate, up], activation, down)
        {
            return y;
        }
        down.forward(ops::gate(self.forward(x), activation))
    }

    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - returns `[tokens, outputs of all layers]`, in a row those of the first layer first
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        #[cfg(feature = "cpu")]
        {
            let packed: Option<Vec<_>> = self.0.iter().map(Linear::packed).collect();
            if let Some(packed) = packed {
                return ops::packed_linears(x, &packed);
            }
        }
        let mut outputs: Vec<_> = self.0.iter().map(|layer| layer.forward(x.clone())).collect();
        if outputs.len() == 1 { outputs.swap_remove(0) } else { Tensor::cat(outputs, 1) }
    }
}
