//! NomicBERT: BERT with rotary positions and a SwiGLU feed-forward.
//!
//! Source: <https://arxiv.org/abs/2402.01613>; `NomicBertConfig`, which names its fields as GPT-2 does.

use std::path::Path;

use gllm_core::{LoadProblem, Result};
use serde::Deserialize;

use crate::config::{AttentionPositions, Biases, ClassifierConfig, NormOrder, TokenTypes, unsupported};
use crate::{Activation, EncoderConfig, RotaryConfig, RotaryScaling};

#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the published layout")]
struct File {
    vocab_size: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    n_positions: usize,
    activation_function: String,
    layer_norm_epsilon: f64,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(default)]
    prenorm: bool,
    #[serde(default)]
    use_rms_norm: Option<bool>,
    #[serde(default)]
    qkv_proj_bias: bool,
    #[serde(default)]
    mlp_fc1_bias: bool,
    #[serde(default)]
    mlp_fc2_bias: bool,
    rotary_emb_base: f64,
    rotary_emb_fraction: f64,
    #[serde(default)]
    rotary_emb_interleaved: bool,
    #[serde(default)]
    rotary_emb_scale_base: Option<f64>,
    #[serde(default)]
    rotary_scaling_factor: Option<f64>,
    #[serde(default)]
    max_trained_positions: Option<usize>,
    #[serde(default)]
    num_experts: usize,
}

pub(super) fn read(folder: &Path) -> Result<EncoderConfig> {
    EncoderConfig::read(folder, |file: File| {
        file.check()?;
        let scaling = match (file.rotary_scaling_factor, file.max_trained_positions) {
            (Some(factor), Some(trained)) => RotaryScaling::DynamicNtk { factor, trained },
            (Some(factor), None) => RotaryScaling::DynamicNtk { factor, trained: file.n_positions },
            (None, _) => RotaryScaling::None,
        };
        let types = TokenTypes { rows: file.type_vocab_size, from_tokenizer: true };
        Ok(EncoderConfig {
            vocab_size: file.vocab_size,
            hidden_size: file.n_embd,
            embedding_size: file.n_embd,
            num_hidden_layers: file.n_layer,
            num_attention_heads: file.n_head,
            intermediate_size: file.n_inner.unwrap_or(file.n_embd.saturating_mul(4)),
            activation: Activation::Silu,
            max_length: file.n_positions,
            learned_positions: None,
            token_types: (file.type_vocab_size > 0).then_some(types),
            attention_positions: AttentionPositions::Rotary(RotaryConfig { theta: file.rotary_emb_base, scaling }),
            local_attention: None,
            norm_order: NormOrder::Post,
            layer_norm_eps: file.layer_norm_epsilon,
            biases: Biases {
                norm: true,
                qkv: file.qkv_proj_bias,
                attention_output: file.qkv_proj_bias,
                up: file.mlp_fc1_bias,
                down: file.mlp_fc2_bias,
            },
            classifier: ClassifierConfig::BERT,
        })
    })
}

impl File {
    /// Refuses what the published encoders of this family don't use.
    fn check(&self) -> std::result::Result<(), LoadProblem> {
        let refused = [
            ("activation_function", self.activation_function != "swiglu", self.activation_function.clone(), "swiglu"),
            ("prenorm", self.prenorm, "true".into(), "false"),
            ("use_rms_norm", self.use_rms_norm == Some(true), "true".into(), "false"),
            ("num_experts", self.num_experts > 0, self.num_experts.to_string(), "0: no mixture of experts"),
            (
                "rotary_emb_fraction",
                (self.rotary_emb_fraction - 1.0).abs() > f64::EPSILON,
                self.rotary_emb_fraction.to_string(),
                "1.0",
            ),
            ("rotary_emb_interleaved", self.rotary_emb_interleaved, "true".into(), "false"),
            ("rotary_emb_scale_base", self.rotary_emb_scale_base.is_some(), "a number".into(), "null"),
        ];
        match refused.into_iter().find(|(_, is_refused, ..)| *is_refused) {
            Some((field, _, found, supported)) => Err(unsupported(field, found, supported)),
            None => Ok(()),
        }
    }
}
