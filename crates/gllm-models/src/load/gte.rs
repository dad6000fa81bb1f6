//! GTE's `new` encoders: BERT with rotary positions and a gated feed-forward.
//!
//! Source: <https://arxiv.org/abs/2407.19669>; `NewConfig` of Alibaba-NLP/new-impl.

use std::path::Path;

use gllm_core::{LoadProblem, Result};
use serde::Deserialize;

use super::bert;
use crate::config::{AttentionPositions, Biases, TokenTypes, unsupported};
use crate::{EncoderConfig, RotaryConfig, RotaryScaling};

#[derive(Deserialize)]
struct File {
    #[serde(flatten)]
    bert: bert::File,
    #[serde(default = "layer_norm")]
    layer_norm_type: String,
    #[serde(default = "default_theta")]
    rope_theta: f64,
    #[serde(default)]
    rope_scaling: Option<Scaling>,
    #[serde(default = "yes")]
    pack_qkv: bool,
    #[serde(default)]
    logn_attention_scale: bool,
}

#[derive(Deserialize)]
struct Scaling {
    #[serde(rename = "type")]
    kind: String,
    factor: f64,
    #[serde(default)]
    mixed_b: Option<f64>,
}

fn layer_norm() -> String {
    "layer_norm".into()
}

fn default_theta() -> f64 {
    10_000.0
}

fn yes() -> bool {
    true
}

pub(super) fn read(folder: &Path) -> Result<EncoderConfig> {
    EncoderConfig::read(folder, |file: File| {
        match file.bert.position_embedding_type() {
            Some("rope") | None => {}
            Some(other) => return Err(unsupported("position_embedding_type", other, "rope")),
        }
        if file.layer_norm_type != "layer_norm" {
            return Err(unsupported("layer_norm_type", file.layer_norm_type, "layer_norm"));
        }
        if !file.pack_qkv {
            return Err(unsupported("pack_qkv", "false", "true"));
        }
        if file.logn_attention_scale {
            return Err(unsupported("logn_attention_scale", "true", "false"));
        }
        let rotary = RotaryConfig {
            theta: file.rope_theta,
            scaling: file.rope_scaling.as_ref().map_or(Ok(RotaryScaling::None), scaling)?,
        };
        let config = file.bert.encoder()?;
        // With fewer than two segments the tokenizer's are ignored, and with none there is no table.
        let token_types = config.token_types.filter(|types| types.rows > 0);
        Ok(EncoderConfig {
            learned_positions: None,
            token_types: token_types.map(|types| TokenTypes { from_tokenizer: types.rows > 1, ..types }),
            attention_positions: AttentionPositions::Rotary(rotary),
            biases: Biases { up: false, ..Biases::ALL },
            ..config
        })
    })
}

fn scaling(scaling: &Scaling) -> std::result::Result<RotaryScaling, LoadProblem> {
    match (scaling.kind.as_str(), scaling.mixed_b) {
        ("ntk", None) => Ok(RotaryScaling::Ntk { factor: scaling.factor }),
        ("ntk", Some(mixed_b)) => Err(unsupported("rope_scaling.mixed_b", mixed_b.to_string(), "null")),
        (other, _) => Err(unsupported("rope_scaling.type", other, "ntk")),
    }
}
