//! JinaBERT, the encoder of jina-embeddings-v2: BERT with linear distance penalties and a gated feed-forward.
//!
//! Source: <https://arxiv.org/abs/2310.19923>; `JinaBertConfig` of jinaai/jina-bert-implementation. The checkpoints
//! call themselves `bert`; their kind of positions tells them apart.

use std::path::Path;

use gllm_core::Result;
use serde::Deserialize;

use super::bert;
use crate::config::{AttentionPositions, Biases, unsupported};
use crate::{Activation, EncoderConfig};

#[derive(Deserialize)]
struct File {
    #[serde(flatten)]
    bert: bert::File,
    #[serde(default)]
    feed_forward_type: Option<String>,
}

pub(super) fn read(folder: &Path) -> Result<EncoderConfig> {
    EncoderConfig::read(folder, |file: File| {
        let (gate, up) = match file.feed_forward_type.as_deref() {
            None | Some("original") => (None, true),
            Some("geglu") => (Some(Activation::Gelu), false),
            Some("reglu") => (Some(Activation::Relu), false),
            Some(other) => return Err(unsupported("feed_forward_type", other, "original, geglu, reglu")),
        };
        let config = file.bert.encoder()?;
        Ok(EncoderConfig {
            activation: gate.unwrap_or(config.activation),
            learned_positions: None,
            attention_positions: AttentionPositions::Alibi,
            biases: Biases { up, ..Biases::ALL },
            ..config
        })
    })
}
