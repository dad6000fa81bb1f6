//! The decoder, for every family: what differs between them is in the configuration and the names.
//!
//! Embeddings, then blocks of causal self-attention and feed-forward around residual sums, and a last normalisation.
//! What it has read of a sequence is in that sequence's [`KvCache`]; one pass takes steps of several sequences.

use burn::tensor::{Device, Tensor, TensorData};
use gllm_core::{InferenceError, Result};

use crate::decoder_names::DecoderNames;
use crate::layers::{CausalAttention, EmbeddingTable, Experts, FeedForward, FeedForwardConfig, Linear, RmsNorm};
use crate::ops::cached_attention::Span;
use crate::ops::rotary::{Rotation, angles};
use crate::{CacheType, DecoderConfig, KvCache, Wanted, Weights, threads};

/// Token ids to hidden states.
#[derive(Debug)]
pub(crate) struct Decoder {
    config: DecoderConfig,
    words: EmbeddingTable,
    blocks: Vec<Block>,
    norm: RmsNorm,
    /// `[head_dim / 2]`: what rotary frequencies are divided by.
    rotary_divisors: Option<Vec<f32>>,
    device: Device,
}

/// New tokens of a sequence.
#[derive(Debug)]
pub struct Step<'a> {
    /// At least one, each below [`DecoderConfig::vocab_size`].
    pub tokens: &'a [u32],
    /// What was read of the sequence before; the new tokens are added.
    pub cache: &'a mut KvCache,
}

#[derive(Debug)]
struct Block {
    attention_norm: RmsNorm,
    attention: CausalAttention,
    attention_post_norm: Option<RmsNorm>,
    feed_forward_norm: RmsNorm,
    feed_forward: Mixer,
    feed_forward_post_norm: Option<RmsNorm>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each block, never moved")]
enum Mixer {
    One(FeedForward),
    Experts(Experts),
}

impl Decoder {
    /// Reads the decoder from the top of `weights`, or from where a checkpoint with a head has it.
    ///
    /// # Errors
    /// [`gllm_core::LoadError`] for a tensor that is missing or has another shape than `config` says.
    pub(crate) fn load(config: DecoderConfig, names: &DecoderNames, weights: &Weights<'_>) -> Result<Self> {
        let top = weights;
        let weights = &Self::root(names, weights);
        let mut blocks = Vec::new();
        for layer in 0..config.num_hidden_layers {
            let weights = weights.enter(&format!("{}.{layer}", names.layers));
            blocks.push(Block::load(&config, names, layer, &weights)?);
        }
        let divisors = names.rotary_divisors.map(|name| top.enter(name)).filter(|tensor| tensor.contains("weight"));
        Ok(Self {
            words: weights.enter(names.words).table("weight", config.vocab_size, config.hidden_size)?,
            blocks,
            norm: norm(&config, weights, names.final_norm)?,
            rotary_divisors: divisors.map(|tensor| tensor.values("weight", config.head_dim / 2)).transpose()?,
            device: weights.device().clone(),
            config,
        })
    }

    /// Where the decoder lies in the checkpoint.
    pub(crate) fn root<'a>(names: &DecoderNames, weights: &Weights<'a>) -> Weights<'a> {
        let with_head = weights.contains(&format!("{}.{}.weight", names.root, names.words));
        if with_head { weights.enter(names.root) } else { weights.clone() }
    }

    /// Sizes and choices.
    pub(crate) fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Where its tensors are.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The cache of a sequence without tokens, which may grow to `limit` of them.
    pub(crate) fn new_cache(&self, limit: usize) -> KvCache {
        KvCache::new(&self.config, CacheType::default(), limit, &self.device)
    }

    /// Hidden states of the wanted new tokens, one sequence after the other. What nobody wants of the last block isn't
    /// computed.
    ///
    /// # Shapes
    /// - returns `[wanted tokens of all steps, hidden]`
    ///
    /// # Errors
    /// [`InferenceError`] for a token out of range, or a context that is full: then no cache has changed.
    pub(crate) fn forward(&self, batch: &mut [Step<'_>], wanted: Wanted) -> Result<Tensor<2>> {
        threads::run(&self.device, || self.compute(batch, wanted, false))
    }

    /// As [`Decoder::forward`], of sequences that end with these tokens. Each block's keys and values are gone once the
    /// block has read them, so that they take the memory of one block, not of all.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub(crate) fn forward_to_the_end(&self, batch: Vec<(&[u32], KvCache)>, wanted: Wanted) -> Result<Tensor<2>> {
        let (tokens, mut caches): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let steps = tokens.into_iter().zip(&mut caches).map(|(tokens, cache)| Step { tokens, cache });
        let mut steps: Vec<_> = steps.collect();
        threads::run(&self.device, || self.compute(&mut steps, wanted, true))
    }

    fn compute(&self, batch: &mut [Step<'_>], wanted: Wanted, ends: bool) -> Result<Tensor<2>> {
        let spans = self.spans(batch)?;
        for step in batch.iter_mut() {
            step.cache.extend(step.tokens);
        }
        let rotation = self.rotation(&spans);
        let mut x = self.embed(batch);
        for (layer, block) in self.blocks.iter().enumerate() {
            let caches = batch.iter_mut().map(|step| step.cache.layer(layer)).collect();
            let normal = block.attention_norm.forward(x.clone());
            let mut attended = block.attention.attend(normal, &rotation, &spans, caches);
            if layer + 1 == self.blocks.len() {
                [attended, x] = [attended, x].map(|rows| kept(rows, wanted, &spans));
            }
            let attended = block.attention.project(attended);
            if ends {
                for step in batch.iter_mut() {
                    step.cache.drop_layer(layer);
                }
            }
            x = normalised(block.attention_post_norm.as_ref(), attended) + x;
            let normal = block.feed_forward_norm.forward(x.clone());
            let mixed = match &block.feed_forward {
                Mixer::One(layer) => layer.forward(&normal),
                Mixer::Experts(experts) => experts.forward(&normal)?,
            };
            x = normalised(block.feed_forward_post_norm.as_ref(), mixed) + x;
        }
        Ok(self.norm.forward(x))
    }

    /// Where the rows of each step are, if all of them can be computed.
    fn spans(&self, batch: &[Step<'_>]) -> Result<Vec<Span>> {
        let mut start = 0;
        let mut spans = Vec::with_capacity(batch.len());
        for (index, Step { tokens, cache }) in batch.iter().enumerate() {
            let vocab = self.config.vocab_size;
            if let Some(&id) = tokens.iter().find(|&&id| id as usize >= vocab) {
                return Err(InferenceError::TokenOutOfRange { index, id, vocab }.into());
            }
            let place = cache.tokens().len();
            if place + tokens.len() > cache.limit() {
                let (tokens, limit) = (place + tokens.len(), cache.limit());
                return Err(InferenceError::ContextFull { tokens, limit }.into());
            }
            spans.push(Span { rows: start..start + tokens.len(), place });
            start += tokens.len();
        }
        Ok(spans)
    }

    fn rotation(&self, spans: &[Span]) -> Rotation {
        let config = &self.config;
        let mut turned = Vec::new();
        for span in spans {
            let end = span.place + span.rows.len();
            let mut frequencies = config.rotary.frequencies(config.head_dim, end);
            if let Some(divisors) = &self.rotary_divisors {
                frequencies.iter_mut().zip(divisors).for_each(|(frequency, divisor)| *frequency /= divisor);
            }
            turned.extend(angles(&frequencies, span.place..end));
        }
        Rotation::new(&turned, config.head_dim, config.rotary.amplitude(), config.rotary_pairs, &self.device)
    }

    /// `[tokens of all steps, hidden]`.
    fn embed(&self, batch: &[Step<'_>]) -> Tensor<2> {
        let (hidden, scale) = (self.config.hidden_size, self.config.embedding_scale);
        let ids = batch.iter().flat_map(|step| step.tokens);
        let n_tokens = batch.iter().map(|step| step.tokens.len()).sum();
        let mut rows = vec![0.0; n_tokens * hidden];
        for (row, id) in rows.chunks_exact_mut(hidden).zip(ids) {
            self.words.add_row(*id as usize, row);
            for x in row {
                *x *= scale;
            }
        }
        Tensor::from_data(TensorData::new(rows, [n_tokens, hidden]), &self.device)
    }
}

/// The rows of the wanted tokens of each span.
fn kept(x: Tensor<2>, wanted: Wanted, spans: &[Span]) -> Tensor<2> {
    if wanted == Wanted::All {
        return x;
    }
    let width = x.dims()[1];
    let rows = |Span { rows, .. }: &Span| {
        let wanted = wanted.of(rows.len());
        x.clone().slice([rows.start + wanted.start..rows.start + wanted.end, 0..width])
    };
    let mut rows: Vec<_> = spans.iter().map(rows).collect();
    if rows.len() == 1 { rows.swap_remove(0) } else { Tensor::cat(rows, 0) }
}

fn normalised(norm: Option<&RmsNorm>, x: Tensor<2>) -> Tensor<2> {
    match norm {
        Some(norm) => norm.forward(x),
        None => x,
    }
}

fn norm(config: &DecoderConfig, weights: &Weights<'_>, name: &str) -> Result<RmsNorm> {
    RmsNorm::load(&weights.enter(name), config.hidden_size, config.rms_norm_eps, config.norm_offset)
}

impl Block {
    fn load(config: &DecoderConfig, names: &DecoderNames, layer: usize, weights: &Weights<'_>) -> Result<Self> {
        let norm = |name| norm(config, weights, name);
        let post_norm = |name| config.post_norms.then(|| norm(name)).transpose();
        Ok(Self {
            attention_norm: norm(names.attention_norm)?,
            attention: CausalAttention::load(config, names, layer, weights)?,
            attention_post_norm: post_norm(names.attention_post_norm)?,
            feed_forward_norm: norm(names.feed_forward_norm)?,
            feed_forward: Mixer::load(config, names, layer, weights)?,
            feed_forward_post_norm: post_norm(names.feed_forward_post_norm)?,
        })
    }
}

impl Mixer {
    fn load(config: &DecoderConfig, names: &DecoderNames, layer: usize, weights: &Weights<'_>) -> Result<Self> {
        let sizes = FeedForwardConfig {
            hidden: config.hidden_size,
            width: config.intermediate_size,
            activation: config.activation,
            up_bias: config.biases.feed_forward,
            down_bias: config.biases.feed_forward,
        };
        let Some(mixture) = config.experts(layer) else {
            return Ok(Self::One(FeedForward::load(sizes, &names.up, names.down, weights)?));
        };
        let sizes = FeedForwardConfig { width: mixture.intermediate_size, ..sizes };
        let router =
            Linear::load(&weights.exact().enter(names.experts.router), config.hidden_size, mixture.count, false)?;
        let mut experts = Vec::new();
        for index in 0..mixture.count {
            let weights = match names.experts.each {
                Some(name) => weights.enter(&format!("{name}.{index}")),
                None => weights.part(index, mixture.count),
            };
            experts.push(FeedForward::load(sizes, &names.experts.up, names.experts.down, &weights)?);
        }
        Ok(Self::Experts(Experts::new(mixture, router, experts)))
    }
}
