//! Self-attention of a decoder with its projections.

use burn::tensor::Tensor;
use gllm_core::Result;

use super::self_attention::INT8_GROUP;
use super::{Linear, Linears, RmsNorm};
use crate::decoder_names::DecoderNames;
use crate::kv_cache::LayerCache;
use crate::ops::cached_attention::{CachedOptions, GroupedHeads, Scores, Span, cached_attention};
use crate::ops::rotary::Rotation;
use crate::{DecoderConfig, Weights};

/// Query, key and value projections, `[hidden, heads * head_dim]`, and the output projection back.
#[derive(Debug)]
pub(crate) struct CausalAttention {
    qkv: Linears,
    norms: Option<[RmsNorm; 2]>,
    output: Linear,
    heads: GroupedHeads,
    scores: Scores,
}

impl CausalAttention {
    /// Reads the projections from block `layer`.
    pub(crate) fn load(
        config: &DecoderConfig,
        names: &DecoderNames,
        layer: usize,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let (hidden, biases) = (config.hidden_size, config.biases);
        let [query, key, value] = names.qkv;
        let qkv = [(query, config.query_width()), (key, config.key_width()), (value, config.key_width())];
        let norm = |name| RmsNorm::load(&weights.enter(name), config.head_dim, config.rms_norm_eps, config.norm_offset);
        let [queries, keys] = names.qk_norms;
        Ok(Self {
            qkv: Linears::load(&weights.finer(INT8_GROUP), &qkv, hidden, biases.qkv)?,
            norms: if config.qk_norm { Some([norm(queries)?, norm(keys)?]) } else { None },
            output: Linear::load(
                &weights.enter(names.attention_output),
                config.query_width(),
                hidden,
                biases.attention_output,
            )?,
            heads: GroupedHeads {
                heads: config.num_attention_heads,
                kv_heads: config.num_key_value_heads,
                head_dim: config.head_dim,
            },
            scores: Scores {
                scale: config.attention_scale,
                soft_cap: config.attention_soft_cap,
                window: config.window(layer),
            },
        })
    }

    /// Lets the tokens attend to those before them, and adds their keys and values to the caches.
    ///
    /// # Shapes
    /// - `x`: `[tokens, hidden]`
    /// - returns `[tokens, heads · head_dim]`, for [`CausalAttention::project`]
    pub(crate) fn attend(
        &self,
        x: Tensor<2>,
        rotation: &Rotation,
        spans: &[Span],
        layers: Vec<&mut LayerCache>,
    ) -> Tensor<2> {
        let options = CachedOptions { heads: self.heads, scores: self.scores, norms: self.norms.as_ref() };
        cached_attention(self.qkv.forward(x), &options, rotation, spans, layers)
    }

    /// # Shapes
    /// - `attended`: `[tokens, heads · head_dim]`
    /// - returns `[tokens, hidden]`
    pub(crate) fn project(&self, attended: Tensor<2>) -> Tensor<2> {
        self.output.forward(attended)
    }
}
