//! Linear layers with the same input, computed at once where they can be.

use burn::tensor::Tensor;

use super::Linear;

/// At least one layer, all of as many inputs.
#[derive(Debug)]
pub(crate) struct Linears(Vec<Linear>);

impl Linears {
    pub(crate) fn new(layers: impl Into<Vec<Linear>>) -> Self {
        Self(layers.into())
    }

    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - returns `[tokens, outputs of all layers]`, in a row those of the first layer first
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        #[cfg(feature = "cpu")]
        {
            let packed: Option<Vec<_>> = self.0.iter().map(Linear::packed).collect();
            if let Some(packed) = packed {
                return crate::ops::packed_linears(x, &packed);
            }
        }
        let mut outputs: Vec<_> = self.0.iter().map(|layer| layer.forward(x.clone())).collect();
        if outputs.len() == 1 { outputs.swap_remove(0) } else { Tensor::cat(outputs, 1) }
    }
}
