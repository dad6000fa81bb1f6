//! The network below the heads of an embedding model: an encoder or a decoder. Behind this, nothing knows which.

use burn::tensor::{Device, Tensor};
use gllm_core::Result;

use crate::decoder::Decoder;
use crate::text::Tokens;
use crate::{DecoderConfig, Encoder, EncoderConfig, Sequences, Wanted};

/// Token ids to hidden states.
#[derive(Debug)]
pub(crate) enum Backbone {
    Encoder(Box<Encoder>),
    Decoder(Box<Decoder>),
}

impl Backbone {
    /// The device that it is on.
    pub(crate) fn device(&self) -> &Device {
        match self {
            Self::Encoder(encoder) => encoder.device(),
            Self::Decoder(decoder) => decoder.device(),
        }
    }

    /// About how many bytes [`Backbone::forward`] takes for `tokens` tokens, beside the weights.
    pub(crate) fn activation_bytes(&self, tokens: usize) -> u64 {
        match self {
            Self::Encoder(encoder) => encoder_bytes(encoder.config(), tokens),
            Self::Decoder(decoder) => decoder_bytes(decoder.config(), tokens),
        }
    }

    /// Hidden states of the last layer for the wanted tokens of a batch, and the boundaries of what is there of its
    /// sequences.
    ///
    /// # Shapes
    /// - returns `[tokens, hidden]`, the sequences one after the other in the order of `batch`
    ///
    /// # Errors
    /// [`gllm_core::InferenceError`] for a sequence that a decoder can't take.
    ///
    /// # Panics
    /// As [`Encoder::forward`].
    pub(crate) fn forward(&self, batch: &[&Tokens], wanted: Wanted) -> Result<(Tensor<2>, Sequences)> {
        match self {
            Self::Encoder(encoder) => Ok(encoder.forward(batch, wanted)),
            Self::Decoder(decoder) => {
                let texts: Vec<&[u32]> = batch.iter().map(|tokens| tokens.ids.as_slice()).collect();
                let caches = texts.iter().map(|text| decoder.new_cache(text.len()));
                let hidden = decoder.forward_to_the_end(texts.iter().copied().zip(caches).collect(), wanted)?;
                let lengths = texts.iter().map(|text| text.len()).collect();
                Ok((hidden, Sequences::new(lengths, decoder.device()).kept(wanted, decoder.device())))
            }
        }
    }
}

/// What an encoder's layer has at once of each token, about: its input, queries, keys, values and what attention makes of
/// them; then its input, and the feed-forward layer's two widths.
pub(crate) fn encoder_bytes(config: &EncoderConfig, tokens: usize) -> u64 {
    float_bytes(tokens, 5 * config.hidden_size + 2 * config.intermediate_size)
}

/// The same of a decoder, with the keys and values that are kept of all layers.
pub(crate) fn decoder_bytes(config: &DecoderConfig, tokens: usize) -> u64 {
    let kept = 2 * config.key_width() * config.num_hidden_layers;
    float_bytes(tokens, 5 * config.hidden_size + 2 * config.intermediate_size + kept)
}

fn float_bytes(tokens: usize, width: usize) -> u64 {
    (tokens as u64).saturating_mul(width as u64).saturating_mul(size_of::<f32>() as u64)
}
