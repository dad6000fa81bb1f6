//! The network below the heads of an embedding model: an encoder or a decoder. Behind this, nothing knows which.

use burn::tensor::Tensor;
use gllm_core::Result;

use crate::decoder::Decoder;
use crate::text::Tokens;
use crate::{Encoder, Sequences};

/// Token ids to hidden states.
#[derive(Debug)]
pub(crate) enum Backbone {
    Encoder(Box<Encoder>),
    Decoder(Box<Decoder>),
}

impl Backbone {
    /// Hidden states of the last layer for a batch, and the boundaries of its sequences.
    ///
    /// # Shapes
    /// - returns `[tokens, hidden]`, the sequences one after the other in the order of `batch`
    ///
    /// # Errors
    /// [`gllm_core::InferenceError`] for a sequence that a decoder can't take.
    ///
    /// # Panics
    /// As [`Encoder::forward`].
    pub(crate) fn forward(&self, batch: &[&Tokens]) -> Result<(Tensor<2>, Sequences)> {
        match self {
            Self::Encoder(encoder) => Ok(encoder.forward(batch)),
            Self::Decoder(decoder) => {
                let texts: Vec<&[u32]> = batch.iter().map(|tokens| tokens.ids.as_slice()).collect();
                let caches = texts.iter().map(|text| decoder.new_cache(text.len()));
                let hidden = decoder.forward_to_the_end(texts.iter().copied().zip(caches).collect())?;
                let lengths = texts.iter().map(|text| text.len()).collect();
                Ok((hidden, Sequences::new(lengths, decoder.device())))
            }
        }
    }
}
