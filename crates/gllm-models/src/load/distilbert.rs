//! DistilBERT: BERT without segments, in other words.
//!
//! Source: <https://arxiv.org/abs/1910.01108>; `DistilBertConfig` of transformers, whose defaults hold here.

use std::path::Path;

use gllm_core::Result;
use serde::Deserialize;

use crate::config::{AttentionPositions, Biases, ClassifierConfig, LearnedPositions, NormOrder, activation};
use crate::{Activation, EncoderConfig};

#[derive(Deserialize)]
struct File {
    vocab_size: usize,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    #[serde(default = "super::gelu")]
    activation: String,
    max_position_embeddings: usize,
}

pub(super) fn read(folder: &Path) -> Result<EncoderConfig> {
    EncoderConfig::read(folder, |file: File| {
        let rows = file.max_position_embeddings;
        Ok(EncoderConfig {
            vocab_size: file.vocab_size,
            hidden_size: file.dim,
            embedding_size: file.dim,
            num_hidden_layers: file.n_layers,
            num_attention_heads: file.n_heads,
            intermediate_size: file.hidden_dim,
            activation: activation("activation", &file.activation)?,
            max_length: rows,
            // With `sinusoidal_pos_embds` the table only starts out otherwise: it is saved and read the same way.
            learned_positions: Some(LearnedPositions { rows, padding: None }),
            token_types: None,
            attention_positions: AttentionPositions::None,
            local_attention: None,
            norm_order: NormOrder::Post,
            layer_norm_eps: 1e-12,
            biases: Biases::ALL,
            classifier: ClassifierConfig { activation: Activation::Relu, ..ClassifierConfig::BERT },
        })
    })
}
