//! The encoder, for every family: what differs between them is in the configuration and the names.
//!
//! Embeddings, then blocks of self-attention and feed-forward around residual sums. The task heads that checkpoints
//! carry on top of it are read elsewhere ([`crate::CrossEncoder`], [`crate::SparseHead`]).

#[cfg(feature = "cpu")]
mod parts;

#[cfg(feature = "cpu")]
use std::ops::Range;

use burn::tensor::{Device, Tensor};
use gllm_core::Result;
#[cfg(feature = "cpu")]
use rayon::prelude::*;

use crate::config::{AttentionPositions, NormOrder};
use crate::layers::{Embeddings, FeedForward, LayerNorm, RelativeBias, SelfAttention};
use crate::names::Names;
#[cfg(feature = "cpu")]
use crate::ops;
use crate::ops::rotary::Rotation;
use crate::ops::{AttentionPattern, ScoreBias};
use crate::text::Tokens;
use crate::{EncoderConfig, Sequences, Weights, threads};

/// Token ids to hidden states.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    embeddings: Embeddings,
    relative_bias: Option<RelativeBias>,
    blocks: Vec<Block>,
    final_norm: Option<LayerNorm>,
    device: Device,
}

#[derive(Debug)]
struct Block {
    order: NormOrder,
    is_local: bool,
    attention: SelfAttention,
    /// `None` where the embeddings' own stands in for it.
    attention_norm: Option<LayerNorm>,
    feed_forward: FeedForward,
    feed_forward_norm: LayerNorm,
}

/// What attention needs to know about the places of tokens in a batch.
struct Places {
    rotation: Option<Rotation>,
    pattern: AttentionPattern,
}

impl Encoder {
    /// Reads the encoder from the top of `weights`, or from where a checkpoint with a task head has it.
    ///
    /// # Errors
    /// [`gllm_core::LoadError`] for a tensor that is missing or has another shape than `config` says.
    pub(crate) fn load(config: EncoderConfig, names: &Names, weights: &Weights<'_>) -> Result<Self> {
        let weights = &Self::root(names, weights);
        let relative_bias = match config.attention_positions {
            AttentionPositions::Relative => {
                Some(RelativeBias::load(&weights.enter(names.relative_bias), config.num_attention_heads)?)
            }
            _ => None,
        };
        let blocks = (0..config.num_hidden_layers)
            .map(|index| Block::load(&config, names, index, &weights.enter(&format!("{}.{index}", names.layers))));
        let final_norm = (config.norm_order == NormOrder::Pre)
            .then(|| LayerNorm::load_for(&config, &weights.enter(names.final_norm)))
            .transpose()?;
        Ok(Self {
            embeddings: Embeddings::load(&config, names, weights)?,
            relative_bias,
            blocks: blocks.collect::<Result<_>>()?,
            final_norm,
            device: weights.device().clone(),
            config,
        })
    }

    /// Where the encoder lies in the checkpoint.
    pub(crate) fn root<'a>(names: &Names, weights: &Weights<'a>) -> Weights<'a> {
        let with_head = weights.contains(&format!("{}.{}.weight", names.root, names.words));
        if with_head { weights.enter(names.root) } else { weights.clone() }
    }

    /// Sizes and choices.
    #[must_use]
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Where its tensors are.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Hidden states of the last layer for a batch, and the boundaries of its sequences.
    ///
    /// # Shapes
    /// - returns `[tokens, hidden]`, the sequences one after the other in the order of `batch`
    ///
    /// # Panics
    /// If a sequence is empty, longer than the positions, or has an id outside the vocabulary: the engines check them.
    #[must_use]
    pub fn forward(&self, batch: &[&Tokens]) -> (Tensor<2>, Sequences) {
        let lengths: Vec<usize> = batch.iter().map(|tokens| tokens.ids.len()).collect();
        let hidden = threads::run(&self.device, || {
            #[cfg(feature = "cpu")]
            if ops::has_kernels(&self.device)
                && let Some(parts) = parts::parts(&lengths, rayon::current_num_threads())
            {
                let of_part = |part: Range<usize>| ops::reused(|| self.compute(&batch[part]));
                return Tensor::cat(parts.into_par_iter().with_max_len(1).map(of_part).collect(), 0);
            }
            self.compute(batch)
        });
        (hidden, Sequences::new(lengths, &self.device))
    }

    /// The hidden states of some sequences.
    fn compute(&self, batch: &[&Tokens]) -> Tensor<2> {
        let sequences = Sequences::new(batch.iter().map(|tokens| tokens.ids.len()).collect(), &self.device);
        let global = self.global_places(&sequences);
        let local = self.local_places(&sequences);
        let mut x = self.embeddings.forward(batch, &self.device);
        for block in &self.blocks {
            let places = local.as_ref().filter(|_| block.is_local).unwrap_or(&global);
            x = block.forward(x, &sequences, places);
        }
        if let Some(norm) = &self.final_norm {
            x = norm.forward(x);
        }
        x
    }

    fn global_places(&self, sequences: &Sequences) -> Places {
        let heads = self.config.num_attention_heads;
        let longest = sequences.lengths().iter().copied().max().unwrap_or(0);
        let bias = match (self.config.attention_positions, &self.relative_bias) {
            (AttentionPositions::Alibi, _) => Some(ScoreBias::alibi(heads, longest)),
            (_, Some(relative)) => Some(relative.forward(longest)),
            _ => None,
        };
        let rotation = match self.config.attention_positions {
            AttentionPositions::Rotary(rotary) => {
                Some(Rotation::of_sequences(rotary, self.config.head_dim(), sequences.lengths(), &self.device))
            }
            _ => None,
        };
        Places { rotation, pattern: AttentionPattern::new(sequences, None, bias, &self.device) }
    }

    fn local_places(&self, sequences: &Sequences) -> Option<Places> {
        let local = self.config.local_attention.as_ref()?;
        let rotation = Rotation::of_sequences(local.rotary, self.config.head_dim(), sequences.lengths(), &self.device);
        let pattern = AttentionPattern::new(sequences, Some(local.reach), None, &self.device);
        Some(Places { rotation: Some(rotation), pattern })
    }
}

impl Block {
    fn load(config: &EncoderConfig, names: &Names, index: usize, weights: &Weights<'_>) -> Result<Self> {
        let norm = |name| LayerNorm::load_for(config, &weights.enter(name));
        let is_bare = config.norm_order == NormOrder::Pre && index == 0;
        let local = config.local_attention.as_ref();
        Ok(Self {
            order: config.norm_order,
            is_local: local.and_then(|local| local.layers.get(index)).copied().unwrap_or(false),
            attention: SelfAttention::load(config, names, weights)?,
            attention_norm: (!is_bare).then(|| norm(names.attention_norm)).transpose()?,
            feed_forward: FeedForward::load(config.feed_forward(), &names.up, names.down, weights)?,
            feed_forward_norm: norm(names.feed_forward_norm)?,
        })
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`, returns the same
    fn forward(&self, x: Tensor<2>, sequences: &Sequences, places: &Places) -> Tensor<2> {
        let attend = |x: &Tensor<2>| self.attention.forward(x, sequences, places.rotation.as_ref(), &places.pattern);
        let normalise = |x: Tensor<2>| match &self.attention_norm {
            Some(norm) => norm.forward(x),
            None => x,
        };
        match self.order {
            NormOrder::Post => {
                let x = match &self.attention_norm {
                    Some(norm) => norm.forward_add(attend(&x), x),
                    None => attend(&x) + x,
                };
                self.feed_forward_norm.forward_add(self.feed_forward.forward(&x), x)
            }
            NormOrder::Pre => {
                let x = attend(&normalise(x.clone())) + x;
                self.feed_forward.forward(&self.feed_forward_norm.forward(x.clone())) + x
            }
        }
    }
}
