//! BERT, and the configuration fields that its descendants share.
//!
//! Source: <https://arxiv.org/abs/1810.04805>; `BertConfig` of transformers, whose defaults hold here.

use std::path::Path;

use gllm_core::{LoadProblem, Result};
use serde::Deserialize;

use crate::EncoderConfig;
use crate::config::{
    AttentionPositions, Biases, ClassifierConfig, LearnedPositions, NormOrder, TokenTypes, activation, unsupported,
};

/// `config.json` as BERT writes it.
#[derive(Deserialize)]
pub(super) struct File {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "super::gelu")]
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "default_eps")]
    layer_norm_eps: f64,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

fn two() -> usize {
    2
}

fn default_eps() -> f64 {
    1e-12
}

pub(super) fn read(folder: &Path) -> Result<EncoderConfig> {
    EncoderConfig::read(folder, |file: File| file.absolute())
}

impl File {
    /// An encoder with learned positions.
    pub(super) fn absolute(self) -> std::result::Result<EncoderConfig, LoadProblem> {
        if let Some(kind) = self.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return Err(unsupported("position_embedding_type", kind, "absolute"));
        }
        self.encoder()
    }

    /// An encoder with learned positions, whatever `position_embedding_type` says.
    pub(super) fn encoder(self) -> std::result::Result<EncoderConfig, LoadProblem> {
        if self.is_decoder {
            return Err(unsupported("is_decoder", "true", "false: an encoder"));
        }
        Ok(EncoderConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            embedding_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            intermediate_size: self.intermediate_size,
            activation: activation("hidden_act", &self.hidden_act)?,
            max_length: self.max_position_embeddings,
            learned_positions: Some(LearnedPositions { rows: self.max_position_embeddings, padding: None }),
            token_types: Some(TokenTypes { rows: self.type_vocab_size, from_tokenizer: true }),
            attention_positions: AttentionPositions::None,
            local_attention: None,
            norm_order: NormOrder::Post,
            layer_norm_eps: self.layer_norm_eps,
            biases: Biases::ALL,
            classifier: ClassifierConfig::BERT,
        })
    }

    /// The value of `position_embedding_type`.
    pub(super) fn position_embedding_type(&self) -> Option<&str> {
        self.position_embedding_type.as_deref()
    }
}
