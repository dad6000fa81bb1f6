//! ModernBERT: normalised before each layer, rotary positions, gated feed-forward, and local attention in most blocks.
//!
//! Source: <https://arxiv.org/abs/2412.13663>; `ModernBertConfig` of transformers, in the fields of version 5
//! (`layer_types`, `rope_parameters`) and in those that were published before.

use std::path::Path;

use gllm_core::{LoadProblem, Result};
use serde::Deserialize;

use crate::config::{
    AttentionPositions, Biases, ClassifierConfig, LocalAttention, MAX_LAYERS, NormOrder, activation, bad_field,
    local_layers, unsupported,
};
use crate::{EncoderConfig, PoolingMode, RotaryConfig, RotaryScaling};

#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the published layout")]
struct File {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "super::gelu")]
    hidden_activation: String,
    max_position_embeddings: usize,
    #[serde(default = "default_eps")]
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "every_third")]
    global_attn_every_n_layers: usize,
    #[serde(default = "window")]
    local_attention: usize,
    #[serde(default)]
    layer_types: Option<Vec<String>>,
    #[serde(default)]
    global_rope_theta: Option<f64>,
    #[serde(default)]
    local_rope_theta: Option<f64>,
    #[serde(default)]
    rope_parameters: Option<RopeParameters>,
    #[serde(default = "cls")]
    classifier_pooling: String,
    #[serde(default = "super::gelu")]
    classifier_activation: String,
    #[serde(default)]
    classifier_bias: bool,
}

#[derive(Default, Deserialize)]
struct RopeParameters {
    #[serde(default)]
    full_attention: Option<Rope>,
    #[serde(default)]
    sliding_attention: Option<Rope>,
}

#[derive(Deserialize)]
struct Rope {
    #[serde(default)]
    rope_type: Option<String>,
    rope_theta: f64,
}

fn cls() -> String {
    "cls".into()
}

fn default_eps() -> f64 {
    1e-5
}

fn every_third() -> usize {
    3
}

fn window() -> usize {
    128
}

pub(super) fn read(folder: &Path) -> Result<EncoderConfig> {
    EncoderConfig::read(folder, |file: File| {
        let layers = file.local_layers()?;
        let classifier = ClassifierConfig {
            pooling: match file.classifier_pooling.as_str() {
                "cls" => PoolingMode::Cls,
                "mean" => PoolingMode::Mean,
                other => return Err(unsupported("classifier_pooling", other, "cls, mean")),
            },
            activation: activation("classifier_activation", &file.classifier_activation)?,
            bias: file.classifier_bias,
        };
        let ropes = file.rope_parameters.unwrap_or_default();
        let global = rotary(ropes.full_attention, file.global_rope_theta.unwrap_or(160_000.0))?;
        let local = rotary(ropes.sliding_attention, file.local_rope_theta.unwrap_or(10_000.0))?;
        Ok(EncoderConfig {
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            embedding_size: file.hidden_size,
            num_hidden_layers: file.num_hidden_layers,
            num_attention_heads: file.num_attention_heads,
            intermediate_size: file.intermediate_size,
            activation: activation("hidden_activation", &file.hidden_activation)?,
            max_length: file.max_position_embeddings,
            learned_positions: None,
            token_types: None,
            attention_positions: AttentionPositions::Rotary(global),
            local_attention: Some(LocalAttention { reach: file.local_attention / 2, rotary: local, layers }),
            norm_order: NormOrder::Pre,
            layer_norm_eps: file.norm_eps,
            biases: Biases {
                norm: file.norm_bias,
                qkv: file.attention_bias,
                attention_output: file.attention_bias,
                up: file.mlp_bias,
                down: file.mlp_bias,
            },
            classifier,
        })
    })
}

impl File {
    /// For each block, whether its attention is local.
    fn local_layers(&self) -> std::result::Result<Vec<bool>, LoadProblem> {
        let Some(types) = &self.layer_types else {
            let every = self.global_attn_every_n_layers;
            if every == 0 {
                return Err(bad_field("global_attn_every_n_layers", "at least 1", every));
            }
            if self.num_hidden_layers > MAX_LAYERS {
                return Err(bad_field("num_hidden_layers", format!("at most {MAX_LAYERS}"), self.num_hidden_layers));
            }
            return Ok((0..self.num_hidden_layers).map(|layer| !layer.is_multiple_of(every)).collect());
        };
        local_layers(types, self.num_hidden_layers)
    }
}

fn rotary(rope: Option<Rope>, default: f64) -> std::result::Result<RotaryConfig, LoadProblem> {
    let kind = rope.as_ref().and_then(|rope| rope.rope_type.clone());
    match kind.as_deref() {
        None | Some("default") => {
            let theta = rope.map_or(default, |rope| rope.rope_theta);
            Ok(RotaryConfig { theta, scaling: RotaryScaling::None })
        }
        Some(other) => Err(unsupported("rope_type", other, "default")),
    }
}
