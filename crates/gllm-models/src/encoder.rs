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
use crate::ops::rotary::Rotation;
use crate::ops::{self, AttentionPattern, ScoreBias};
use crate::text::Tokens;
use crate::{EncoderConfig, Sequences, Wanted, Weights, threads};

/// Token ids to hidden states.
#[derive(Debug)]
pub struct Encoder {
    config: EncoderConfig,
    embeddings: Embeddings,
    relative_bias: Option<RelativeBias>,
    /// All but the last.
    blocks: Vec<Block>,
    last: Block,
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

/// A block's input and what its heads make of it, for the same tokens: `[tokens, hidden]`.
struct Unfinished {
    x: Tensor<2>,
    heads: Tensor<2>,
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
        let block = |index| Block::load(&config, names, index, &weights.enter(&format!("{}.{index}", names.layers)));
        let last = config.num_hidden_layers - 1;
        let final_norm = (config.norm_order == NormOrder::Pre)
            .then(|| LayerNorm::load_for(&config, &weights.enter(names.final_norm)))
            .transpose()?;
        Ok(Self {
            embeddings: Embeddings::load(&config, names, weights)?,
            relative_bias,
            blocks: (0..last).map(block).collect::<Result<_>>()?,
            last: block(last)?,
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

    /// Hidden states of the last layer for the wanted tokens of a batch, and the boundaries of what is there of its
    /// sequences. What nobody wants of the last layer isn't computed.
    ///
    /// # Shapes
    /// - returns `[wanted tokens, hidden]`, the sequences one after the other in the order of `batch`
    ///
    /// # Panics
    /// If a sequence is empty, longer than the positions, or has an id outside the vocabulary: the engines check them.
    #[must_use]
    pub fn forward(&self, batch: &[&Tokens], wanted: Wanted) -> (Tensor<2>, Sequences) {
        let lengths: Vec<usize> = batch.iter().map(|tokens| tokens.ids.len()).collect();
        let hidden = threads::run(&self.device, || {
            #[cfg(feature = "cpu")]
            if ops::has_kernels(&self.device)
                && let Some(parts) = parts::parts(&lengths, rayon::current_num_threads())
            {
                return self.in_parts(batch, parts, wanted);
            }
            self.finish(self.compute(batch, wanted))
        });
        (hidden, Sequences::new(lengths, &self.device).kept(wanted, &self.device))
    }

    /// The same, each part on a thread; of the last layer, a few wanted tokens of all parts are computed together.
    #[cfg(feature = "cpu")]
    fn in_parts(&self, batch: &[&Tokens], parts: Vec<Range<usize>>, wanted: Wanted) -> Tensor<2> {
        let parts = parts.into_par_iter().with_max_len(1);
        let compute = |part: Range<usize>| self.compute(&batch[part], wanted);
        match wanted {
            Wanted::All => {
                let of_part = |part| ops::reused(|| ops::alone(|| self.finish(compute(part))));
                Tensor::cat(parts.map(of_part).collect(), 0)
            }
            Wanted::First | Wanted::Last => {
                let of_part = |part| ops::reused(|| ops::alone(|| compute(part)));
                let (x, heads) = parts.map(of_part).map(|Unfinished { x, heads }| (x, heads)).unzip();
                self.finish(Unfinished { x: Tensor::cat(x, 0), heads: Tensor::cat(heads, 0) })
            }
        }
    }

    /// Some sequences up to what the heads of the last layer give.
    fn compute(&self, batch: &[&Tokens], wanted: Wanted) -> Unfinished {
        let sequences = Sequences::new(batch.iter().map(|tokens| tokens.ids.len()).collect(), &self.device);
        let global = self.global_places(&sequences);
        let local = self.local_places(&sequences);
        let places = |block: &Block| local.as_ref().filter(|_| block.is_local).unwrap_or(&global);
        let mut x = self.embeddings.forward(batch, &self.device);
        for block in &self.blocks {
            let heads = block.heads(&x, &sequences, places(block), Wanted::All);
            x = block.finish(Unfinished { x, heads });
        }
        let heads = self.last.heads(&x, &sequences, places(&self.last), wanted);
        Unfinished { x: ops::kept(x, wanted, &sequences), heads }
    }

    /// The rest, token by token.
    fn finish(&self, unfinished: Unfinished) -> Tensor<2> {
        let x = self.last.finish(unfinished);
        match &self.final_norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
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
    /// - `x`: `[tokens, hidden]`
    /// - returns `[wanted tokens, hidden]`
    fn heads(&self, x: &Tensor<2>, sequences: &Sequences, places: &Places, wanted: Wanted) -> Tensor<2> {
        let Places { rotation, pattern } = places;
        let attend = |x: &Tensor<2>| self.attention.heads(x, sequences, rotation.as_ref(), pattern, wanted);
        match (self.order, &self.attention_norm) {
            (NormOrder::Pre, Some(norm)) => attend(&norm.forward(x.clone())),
            _ => attend(x),
        }
    }

    /// # Shapes
    /// - returns `[tokens, hidden]`
    fn finish(&self, Unfinished { x, heads }: Unfinished) -> Tensor<2> {
        let attended = self.attention.output(heads);
        match self.order {
            NormOrder::Post => {
                let x = match &self.attention_norm {
                    Some(norm) => norm.forward_add(attended, x),
                    None => attended + x,
                };
                self.feed_forward_norm.forward_add(self.feed_forward.forward(&x), x)
            }
            NormOrder::Pre => {
                let x = attended + x;
                self.feed_forward.forward(&self.feed_forward_norm.forward(x.clone())) + x
            }
        }
    }
}
