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
        let load = |(name, outputs): &(&str, usize)| Linear::load(&weights.enter(name), inputs, *outputs, has_bias);
        let layers = names.iter().map(load).collect::<Result<Vec<_>>>()?;
        Ok(Self(Linear::joined(&layers).map_or(layers, |joined| vec![joined])))
    }

    /// The gate of two layers, or of two halves of one: `activation(first) · second`.
    ///
    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - returns `[tokens, half of all outputs]`
    pub(crate) fn forward_gated(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        #[cfg(feature = "cpu")]
        if let [gate, value] = self.0.as_slice()
            && let (Some(gate), Some(value)) = (gate.packed(), value.packed())
            && let Some(gated) = ops::gate_packed(x.clone(), [gate, value], activation)
        {
            return gated;
        }
        ops::gate(self.forward(x), activation)
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
