//! A linear layer with its weights, dense or packed: what the layers above see is the same.

#[cfg(feature = "cpu")]
use std::sync::Arc;

use burn::tensor::{Bytes, Tensor};
use gllm_core::Result;
#[cfg(feature = "cpu")]
use gllm_quant::QLinear;

use crate::{Weights, ops};

/// `[outputs, inputs]` in the checkpoint; `bias`: `[outputs]`.
#[derive(Debug)]
#[cfg_attr(feature = "cpu", expect(clippy::large_enum_variant, reason = "a few for each model, never moved"))]
pub(crate) enum Linear {
    /// Floats; the weight is a view of the checkpoint's, `[inputs, outputs]`.
    Dense { weight: Tensor<2>, bias: Option<Tensor<1>> },
    /// Quantised, as small as in the checkpoint.
    #[cfg(feature = "cpu")]
    Packed(Arc<QLinear>),
}

impl Linear {
    /// Reads the weight and, where there is one, the bias. Quantised weights stay packed where the device has kernels
    /// for them; elsewhere they become floats.
    pub(crate) fn load(weights: &Weights<'_>, inputs: usize, outputs: usize, has_bias: bool) -> Result<Self> {
        let groups = weights.quantized_by_groups(outputs, inputs)?;
        #[cfg(feature = "cpu")]
        if ops::has_packed_linear(weights.device()) {
            let blocks = if groups.is_none() { weights.quantized("weight", outputs, inputs)? } else { None };
            if groups.is_some() || blocks.is_some() {
                let bias = has_bias.then(|| weights.values("bias", outputs)).transpose()?;
                let layer = match (&groups, &blocks) {
                    (Some(groups), _) => QLinear::from_groups(groups, bias),
                    (None, blocks) => blocks.as_ref().and_then(|blocks| QLinear::new(blocks, bias)),
                };
                if let Some(layer) = layer {
                    return Ok(Self::Packed(Arc::new(layer)));
                }
            }
        }
        let weight = match groups {
            Some(groups) => weights.upload(Bytes::from_elems(groups.dequantize()), [outputs, inputs]),
            None => weights.tensor("weight", [outputs, inputs])?,
        };
        let bias = has_bias.then(|| weights.tensor("bias", [outputs])).transpose()?;
        Ok(Self::Dense { weight: weight.transpose(), bias })
    }

    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - returns `[tokens, outputs]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense { weight, bias } => ops::linear(x, weight.clone(), bias.clone()),
            #[cfg(feature = "cpu")]
            Self::Packed(layer) => ops::packed_linear(x, layer),
        }
    }
}
