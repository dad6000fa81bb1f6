//! Sizes and choices of a decoder: the same for every family.
//!
//! A family's file under `load/decoder` reads the fields as that family's checkpoints spell them; nothing beyond this
//! module knows which family a model is of. Fields have the names that Llama gives them.

use gllm_core::LoadProblem;

use crate::config::{MAX_LAYERS, bad_field};
use crate::{Activation, RotaryConfig};

/// Sizes and choices of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Token ids are below this.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Heads of the queries; a multiple of `num_key_value_heads`.
    pub num_attention_heads: usize,
    /// Heads of the keys and values, each for several heads of the queries.
    /// Source: <https://arxiv.org/abs/2305.13245>.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Non-linearity of the feed-forward layer, on its gate.
    pub activation: Activation,
    /// Longest sequence that the model was made for.
    pub max_length: usize,
    /// Added to the mean square in normalisations.
    pub rms_norm_eps: f64,
    /// Added to the weights of normalisations: 1 for Gemma's checkpoints, which hold them less 1.
    pub norm_offset: f32,
    /// Normalisations behind attention and feed-forward, before the residual sums, as in Gemma-2.
    pub post_norms: bool,
    /// Normalisations of each head's queries and keys, as in Qwen3.
    pub qk_norm: bool,
    /// How queries and keys are rotated.
    pub rotary: RotaryConfig,
    /// Which coordinates of a head are rotated together.
    pub rotary_pairs: RotaryPairs,
    /// Which layers have a bias.
    pub biases: DecoderBiases,
    /// Factor on the scores of attention.
    pub attention_scale: f32,
    /// Scores `s` become `c · tanh(s / c)`.
    pub attention_soft_cap: Option<f32>,
    /// Logits `l` become `c · tanh(l / c)`.
    pub logits_soft_cap: Option<f32>,
    /// Blocks that see only the last tokens, where the family has them.
    pub sliding_window: Option<SlidingWindow>,
    /// Factor on the embeddings of tokens.
    pub embedding_scale: f32,
    /// Whether the table of embeddings is the layer that gives the logits.
    pub tied_embeddings: bool,
    /// Feed-forward layers of which a token goes through a few, where the family has them.
    pub experts: Option<ExpertsConfig>,
}

/// Which two coordinates of a head are turned together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RotaryPairs {
    /// Those half a head apart, as in transformers ("rotate half").
    Halves,
    /// Neighbours, as in the paper, and in GGUF files of Llama, whose rows are in another order for it.
    Neighbours,
}

/// Which layers of a decoder have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderBiases {
    /// Query, key and value projections.
    pub qkv: bool,
    /// The projection behind attention.
    pub attention_output: bool,
    /// The layers of the feed-forward block.
    pub feed_forward: bool,
}

/// Blocks whose tokens see only those just before them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    /// A token sees this many, itself the last of them.
    pub size: usize,
    /// `[num_hidden_layers]`: whether the block is one of these.
    pub layers: Vec<bool>,
}

/// A mixture of experts. Source: <https://arxiv.org/abs/2401.04088>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpertsConfig {
    /// Feed-forward layers to choose from.
    pub count: usize,
    /// How many of them a token goes through.
    pub per_token: usize,
    /// Width of each.
    pub intermediate_size: usize,
    /// Whether the weights of the chosen ones are scaled to a sum of 1.
    pub normalise: bool,
    /// `[num_hidden_layers]`: whether the block has them, or a feed-forward layer as usual.
    pub layers: Vec<bool>,
}

impl DecoderConfig {
    /// Width of all heads of the queries.
    #[must_use]
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all heads of the keys, and of the values.
    #[must_use]
    pub fn key_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Tokens that block `layer` sees; `None` for all before.
    #[must_use]
    pub fn window(&self, layer: usize) -> Option<usize> {
        let window = self.sliding_window.as_ref()?;
        window.layers.get(layer).copied().unwrap_or(false).then_some(window.size)
    }

    /// The mixture of block `layer`, if it has one.
    pub(crate) fn experts(&self, layer: usize) -> Option<&ExpertsConfig> {
        self.experts.as_ref().filter(|experts| experts.layers.get(layer).copied().unwrap_or(false))
    }

    /// Whether the sizes fit each other, and sums and products of a few of them into a number.
    pub(crate) fn check(&self) -> Result<(), LoadProblem> {
        let experts = self.experts.as_ref();
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_length),
            ("sliding_window", self.sliding_window.as_ref().map_or(1, |window| window.size)),
            ("num_experts", experts.map_or(1, |experts| experts.count)),
            ("num_experts_per_tok", experts.map_or(1, |experts| experts.per_token)),
            ("moe_intermediate_size", experts.map_or(1, |experts| experts.intermediate_size)),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(bad_field(name, "at least 1", size));
        }
        // So that sums and products of a few of them can't overflow.
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size > u32::MAX as usize) {
            return Err(bad_field(name, format!("at most {}", u32::MAX), size));
        }
        if self.num_hidden_layers > MAX_LAYERS {
            return Err(bad_field("num_hidden_layers", format!("at most {MAX_LAYERS}"), self.num_hidden_layers));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let divisor = format!("a divisor of num_attention_heads = {}", self.num_attention_heads);
            return Err(bad_field("num_key_value_heads", divisor, self.num_key_value_heads));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(bad_field("head_dim", "an even width, to be rotated", self.head_dim));
        }
        if let Some(experts) = experts.filter(|experts| experts.per_token > experts.count) {
            let expected = format!("at most num_experts = {}", experts.count);
            return Err(bad_field("num_experts_per_tok", expected, experts.per_token));
        }
        if !self.rms_norm_eps.is_finite() || self.rms_norm_eps < 0.0 {
            return Err(bad_field("rms_norm_eps", "a finite number, 0 or above", self.rms_norm_eps));
        }
        let caps =
            [("attn_logit_softcapping", self.attention_soft_cap), ("final_logit_softcapping", self.logits_soft_cap)];
        for (name, cap) in caps {
            if let Some(cap) = cap.filter(|cap| !(cap.is_finite() && *cap > 0.0)) {
                return Err(bad_field(name, "a finite number above 0", cap));
            }
        }
        if !(self.attention_scale.is_finite() && self.attention_scale > 0.0) {
            return Err(bad_field("query_pre_attn_scalar", "a finite number above 0", self.attention_scale));
        }
        self.rotary.check()
    }
}
