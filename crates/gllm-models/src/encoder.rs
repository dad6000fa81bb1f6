//! The BERT encoder.
//!
//! Post-norm blocks over learned position embeddings, written once over Burn's tensors. The pooler and
//! the task heads that checkpoints carry beside it are not read.
//!
//! Source: <https://arxiv.org/abs/1810.04805>; names and order of operations as `BertModel` of transformers.

use burn::tensor::{Device, Tensor, TensorData};
use gllm_core::Result;

use crate::config::BertConfig;
use crate::layers::{EmbeddingTable, LayerNorm, Linear, SelfAttention};
use crate::text::Tokens;
use crate::{Activation, Sequences, Weights, ops};

/// Token ids to hidden states.
#[derive(Debug)]
pub struct BertEncoder {
    words: EmbeddingTable,
    positions: EmbeddingTable,
    token_types: EmbeddingTable,
    embedding_norm: LayerNorm,
    layers: Vec<BertLayer>,
    hidden: usize,
    device: Device,
}

#[derive(Debug)]
struct BertLayer {
    attention: SelfAttention,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    activation: Activation,
    output: Linear,
    output_norm: LayerNorm,
}

impl BertEncoder {
    /// Reads the encoder from the root of `weights`, or from `bert` for a checkpoint with a task head.
    ///
    /// # Errors
    /// [`gllm_core::LoadError`] for a tensor that is missing or has another shape than `config` says.
    pub fn load(config: &BertConfig, weights: &Weights<'_>, device: &Device) -> Result<Self> {
        let hidden = config.hidden_size;
        let with_head = weights.contains("bert.embeddings.word_embeddings.weight");
        let root = if with_head { weights.enter("bert") } else { weights.clone() };

        let embeddings = root.enter("embeddings");
        let table = |name: &str, rows| embeddings.enter(name).table("weight", rows, hidden);
        let layers = (0..config.num_hidden_layers)
            .map(|index| BertLayer::load(config, &root.enter(&format!("encoder.layer.{index}"))));
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions: table("position_embeddings", config.max_position_embeddings)?,
            token_types: table("token_type_embeddings", config.type_vocab_size)?,
            embedding_norm: LayerNorm::load(&embeddings.enter("LayerNorm"), hidden, config.layer_norm_eps)?,
            layers: layers.collect::<Result<_>>()?,
            hidden,
            device: device.clone(),
        })
    }

    /// Hidden states of the last layer for a batch, and the boundaries of its sequences.
    ///
    /// # Shapes
    /// - returns `[tokens, hidden]`, the sequences one after the other in the order of `batch`
    ///
    /// # Panics
    /// If a sequence is empty, longer than the positions, or has an id outside the vocabulary:
    /// [`crate::EmbeddingEngine`] checks them.
    #[must_use]
    pub fn forward(&self, batch: &[&Tokens]) -> (Tensor<2>, Sequences) {
        let sequences = Sequences::new(batch.iter().map(|tokens| tokens.ids.len()).collect(), &self.device);
        let mut x = self.embedding_norm.forward(self.embed(batch));
        for layer in &self.layers {
            x = layer.forward(x, &sequences);
        }
        (x, sequences)
    }

    /// Sum of word, position and token-type embeddings.
    fn embed(&self, batch: &[&Tokens]) -> Tensor<2> {
        let n_tokens: usize = batch.iter().map(|tokens| tokens.ids.len()).sum();
        let mut sums = vec![0.0; n_tokens * self.hidden];
        let mut rows = sums.chunks_exact_mut(self.hidden);
        for tokens in batch {
            for (position, (&id, &token_type)) in tokens.ids.iter().zip(&tokens.type_ids).enumerate() {
                let Some(row) = rows.next() else { break };
                self.words.add_row(id as usize, row);
                self.token_types.add_row(token_type as usize, row);
                self.positions.add_row(position, row);
            }
        }
        Tensor::from_data(TensorData::new(sums, [n_tokens, self.hidden]), &self.device)
    }
}

impl BertLayer {
    fn load(config: &BertConfig, weights: &Weights<'_>) -> Result<Self> {
        let (hidden, ffn, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let linear = |name, inputs, outputs| Linear::load(&weights.enter(name), inputs, outputs);
        let norm = |name| LayerNorm::load(&weights.enter(name), hidden, eps);
        Ok(Self {
            attention: SelfAttention::load(&weights.enter("attention.self"), hidden, config.num_attention_heads)?,
            attention_output: linear("attention.output.dense", hidden, hidden)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense", hidden, ffn)?,
            activation: config.activation,
            output: linear("output.dense", ffn, hidden)?,
            output_norm: norm("output.LayerNorm")?,
        })
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`, returns the same
    fn forward(&self, x: Tensor<2>, sequences: &Sequences) -> Tensor<2> {
        let mixed = self.attention_output.forward(self.attention.forward(&x, sequences));
        let x = self.attention_norm.forward_add(mixed, x);
        let inner = ops::activate(self.intermediate.forward(x.clone()), self.activation);
        self.output_norm.forward_add(self.output.forward(inner), x)
    }
}
