//! Multi-head self-attention with its projections.

use burn::tensor::Tensor;
use gllm_core::{Precision, Result};

use super::{Linear, Linears};
use crate::names::{Names, Qkv};
use crate::ops::rotary::Rotation;
use crate::ops::{AttentionPattern, Heads};
use crate::{EncoderConfig, Sequences, Wanted, Weights, ops};

/// Inputs of queries, keys and values that share a scale in 8 bits: few, because scores are exponents, which magnify errors.
pub(super) const INT8_GROUP: usize = 96;

/// Query, key, value and output projections, all `[hidden, hidden]`.
#[derive(Debug)]
pub(crate) struct SelfAttention {
    qkv: Linears,
    output: Linear,
    n_heads: usize,
    precision: Precision,
}

impl SelfAttention {
    /// Reads the projections from a block.
    pub(crate) fn load(config: &EncoderConfig, names: &Names, weights: &Weights<'_>) -> Result<Self> {
        let (hidden, biases) = (config.hidden_size, config.biases);
        let qkv = |names: &[_]| Linears::load(&weights.finer(INT8_GROUP), names, hidden, biases.qkv);
        Ok(Self {
            qkv: match names.qkv {
                Qkv::Apart(names) => qkv(&names.map(|name| (name, hidden)))?,
                Qkv::Packed(name) => qkv(&[(name, 3 * hidden)])?,
            },
            output: Linear::load(&weights.enter(names.attention_output), hidden, hidden, biases.attention_output)?,
            n_heads: config.num_attention_heads,
            precision: weights.precision(),
        })
    }

    /// What the heads give, before the output projection.
    ///
    /// # Shapes
    /// - `x`: `[tokens, hidden]`
    /// - returns `[wanted tokens, hidden]`
    pub(crate) fn heads(
        &self,
        x: &Tensor<2>,
        sequences: &Sequences,
        rotation: Option<&Rotation>,
        pattern: &AttentionPattern,
        wanted: Wanted,
    ) -> Tensor<2> {
        let qkv = self.qkv.forward(x.clone());
        let heads = Heads { number: self.n_heads, precision: self.precision };
        ops::attention(qkv, heads, rotation, sequences, pattern, wanted)
    }

    /// The output projection.
    ///
    /// # Shapes
    /// - `heads`: `[tokens, hidden]`, returns the same
    pub(crate) fn output(&self, heads: Tensor<2>) -> Tensor<2> {
        self.output.forward(heads)
    }
}
