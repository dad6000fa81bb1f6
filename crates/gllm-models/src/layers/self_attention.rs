//! Multi-head self-attention with its projections.

use burn::tensor::Tensor;
use gllm_core::Result;

use super::Linear;
use crate::names::{Names, Qkv};
use crate::ops::{AttentionPattern, RotaryTables};
use crate::{EncoderConfig, Sequences, Weights, ops};

/// Query, key, value and output projections, all `[hidden, hidden]`.
#[derive(Debug)]
pub(crate) struct SelfAttention {
    qkv: QkvLayers,
    output: Linear,
    n_heads: usize,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few for each model, never moved")]
enum QkvLayers {
    Apart([Linear; 3]),
    Packed(Linear),
}

impl SelfAttention {
    /// Reads the projections from a block.
    pub(crate) fn load(config: &EncoderConfig, names: &Names, weights: &Weights<'_>) -> Result<Self> {
        let (hidden, biases) = (config.hidden_size, config.biases);
        let qkv = |name, outputs| Linear::load(&weights.enter(name), hidden, outputs, biases.qkv);
        Ok(Self {
            qkv: match names.qkv {
                Qkv::Apart([q, k, v]) => QkvLayers::Apart([qkv(q, hidden)?, qkv(k, hidden)?, qkv(v, hidden)?]),
                Qkv::Packed(name) => QkvLayers::Packed(qkv(name, 3 * hidden)?),
            },
            output: Linear::load(&weights.enter(names.attention_output), hidden, hidden, biases.attention_output)?,
            n_heads: config.num_attention_heads,
        })
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`, returns the same
    pub(crate) fn forward(
        &self,
        x: &Tensor<2>,
        sequences: &Sequences,
        rotary: Option<&RotaryTables>,
        pattern: &AttentionPattern,
    ) -> Tensor<2> {
        let [q, k, v] = match &self.qkv {
            QkvLayers::Apart(layers) => layers.each_ref().map(|layer| layer.forward(x.clone())),
            QkvLayers::Packed(layer) => {
                let packed = layer.forward(x.clone());
                let [tokens, hidden] = x.dims();
                [0, 1, 2].map(|part| packed.clone().slice([0..tokens, part * hidden..(part + 1) * hidden]))
            }
        };
        let [q, k] = match rotary {
            Some(tables) => [q, k].map(|x| ops::rotate(x, self.n_heads, tables)),
            None => [q, k],
        };
        self.output.forward(ops::attention(q, k, v, self.n_heads, sequences, pattern))
    }
}
