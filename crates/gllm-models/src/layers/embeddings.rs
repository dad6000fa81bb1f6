//! From token ids to the first hidden states: the sum of what is learned about a token, its place and its segment.

use burn::tensor::{Device, Tensor, TensorData};
use gllm_core::Result;

use super::{EmbeddingTable, LayerNorm, Linear};
use crate::config::LearnedPositions;
use crate::names::Names;
use crate::text::Tokens;
use crate::{EncoderConfig, Weights};

/// Tables `[rows, width]` on the host, and what follows them.
#[derive(Debug)]
pub(crate) struct Embeddings {
    words: EmbeddingTable,
    positions: Option<(EmbeddingTable, LearnedPositions)>,
    /// The table, and whether the tokenizer's segments are read.
    token_types: Option<(EmbeddingTable, bool)>,
    norm: LayerNorm,
    projection: Option<Linear>,
    width: usize,
}

impl Embeddings {
    /// Reads the tables that `config` says there are.
    pub(crate) fn load(config: &EncoderConfig, names: &Names, weights: &Weights<'_>) -> Result<Self> {
        let width = config.embedding_size;
        let table = |name: &str, rows| weights.enter(name).table("weight", rows, width);
        let positions = match config.learned_positions {
            Some(learned) => Some((table(names.positions, learned.rows)?, learned)),
            None => None,
        };
        let token_types = match config.token_types {
            Some(types) => Some((table(names.token_types, types.rows)?, types.from_tokenizer)),
            None => None,
        };
        let is_projected = width != config.hidden_size;
        let projection = weights.enter(names.embeddings_projection);
        Ok(Self {
            words: table(names.words, config.vocab_size)?,
            positions,
            token_types,
            norm: LayerNorm::load(
                &weights.enter(names.embeddings_norm),
                width,
                config.layer_norm_eps,
                config.biases.norm,
            )?,
            projection: is_projected.then(|| Linear::load(&projection, width, config.hidden_size, true)).transpose()?,
            width,
        })
    }

    /// # Shapes
    /// - returns `[tokens, hidden]`, the sequences one after the other
    pub(crate) fn forward(&self, batch: &[&Tokens], device: &Device) -> Tensor<2> {
        let n_tokens: usize = batch.iter().map(|tokens| tokens.ids.len()).sum();
        let mut sums = vec![0.0; n_tokens * self.width];
        let mut rows = sums.chunks_exact_mut(self.width);
        for tokens in batch {
            let places = self.positions.as_ref().map(|(table, learned)| (table, learned.rows_of(&tokens.ids)));
            for (index, (row, &id)) in rows.by_ref().take(tokens.ids.len()).zip(&tokens.ids).enumerate() {
                self.words.add_row(id as usize, row);
                if let Some((table, from_tokenizer)) = &self.token_types {
                    let segment = if *from_tokenizer { tokens.type_ids[index] } else { 0 };
                    table.add_row(segment as usize, row);
                }
                if let Some((table, places)) = &places {
                    table.add_row(places[index], row);
                }
            }
        }
        let sums = Tensor::from_data(TensorData::new(sums, [n_tokens, self.width]), device);
        let normal = self.norm.forward(sums);
        match &self.projection {
            Some(projection) => projection.forward(normal),
            None => normal,
        }
    }
}

impl LearnedPositions {
    /// `[tokens]`: the row of each token's position.
    fn rows_of(&self, ids: &[u32]) -> Vec<usize> {
        let Some(padding) = self.padding else { return (0..ids.len()).collect() };
        let mut row = padding as usize;
        let row_of = |&id: &u32| {
            if id == padding {
                return padding as usize;
            }
            row += 1;
            row
        };
        ids.iter().map(row_of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_in_a_text_takes_no_position() {
        let positions = |padding| LearnedPositions { rows: 10, padding };
        assert_eq!(positions(None).rows_of(&[0, 7, 1, 2]), [0, 1, 2, 3]);
        assert_eq!(positions(Some(1)).rows_of(&[0, 7, 1, 2]), [2, 3, 1, 4]);
    }
}
