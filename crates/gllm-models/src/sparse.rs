//! Heads that give a text weights of the vocabulary's tokens: of its own tokens (bge-m3), or of any (SPLADE).
//!
//! Source: <https://arxiv.org/abs/2402.03216>, section 3.2, and `M3Embedder` of FlagEmbedding;
//! <https://arxiv.org/abs/2109.10086> and `SpladePooling` of sentence-transformers.

use std::collections::BTreeSet;
use std::path::Path;

use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use gllm_core::{LoadError, Result, SparseVector};
use gllm_quant::WeightFiles;
use serde::Deserialize;

use crate::config::{read_json, unsupported};
use crate::device::to_host;
use crate::layers::{LayerNorm, Linear};
use crate::names::Names;
use crate::text::Tokens;
use crate::{Activation, Encoder, EncoderConfig, Sequences, Weights, ops};

/// Hidden states to weights of tokens.
#[derive(Debug)]
#[non_exhaustive]
pub enum SparseHead {
    /// Weights of the text's own tokens, as bge-m3 has them.
    Lexical(Box<LexicalHead>),
    /// Weights of any tokens, as SPLADE has them.
    Splade(Box<SpladeHead>),
}

/// A weight for each token: `relu(linear(hidden))`, the largest for each token id.
#[derive(Debug)]
pub struct LexicalHead {
    linear: Linear,
    /// Token ids that get no weight.
    ignored: BTreeSet<u32>,
}

/// A masked-language-model head; of its logits over the vocabulary, the largest or the sum over the
/// sequence.
#[derive(Debug)]
pub struct SpladeHead {
    dense: Linear,
    activation: Activation,
    norm: LayerNorm,
    decoder: Linear,
    pooling: SpladePooling,
}

/// From logits `[tokens, vocab]` to weights `[vocab]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SpladePooling {
    /// The sum over the sequence instead of the largest.
    is_sum: bool,
    /// `ln(1 + ln(1 + relu(x)))` instead of `ln(1 + relu(x))`.
    is_log_twice: bool,
}

/// `config.json` of `SpladePooling`.
#[derive(Default, Deserialize)]
struct PoolingFile {
    pooling_strategy: Option<String>,
    activation_function: Option<String>,
}

impl LexicalHead {
    /// Reads `linear` from the file at `path`; `ignored` are the ids of tokens that stand for no text.
    pub(crate) fn load(path: &Path, hidden: usize, ignored: BTreeSet<u32>, device: &Device) -> Result<Self> {
        let linear = |weights: &Weights<'_>| Linear::load(weights, hidden, 1, true);
        Ok(Self { linear: Weights::read(&WeightFiles::open_file(path)?, device, linear)?, ignored })
    }

    fn forward(&self, hidden: &Tensor<2>, batch: &[&Tokens]) -> Result<Vec<SparseVector>> {
        let mut weights = to_host(self.linear.forward(hidden.clone()))?.into_iter();
        let vectors = batch.iter().map(|tokens| {
            let weighted = tokens.ids.iter().copied().zip(weights.by_ref().take(tokens.ids.len()));
            // The comparison with 0 that drops the others is the relu.
            SparseVector::max_of(weighted.filter(|(id, _)| !self.ignored.contains(id)))
        });
        Ok(vectors.collect())
    }
}

impl SpladeHead {
    /// Reads the head that `weights` have on top of their encoder; `pooling` is the folder of the module that says
    /// how its logits are used, where there is one.
    pub(crate) fn load(
        config: &EncoderConfig,
        names: &Names,
        weights: &Weights<'_>,
        pooling: Option<&Path>,
    ) -> Result<Self> {
        let path = pooling.map(|folder| folder.join("config.json"));
        let file: PoolingFile = path.as_deref().map_or(Ok(None), read_json)?.unwrap_or_default();
        let problem = |what, found: &str, supported| {
            LoadError::new(path.clone().unwrap_or_default(), unsupported(what, found, supported))
        };
        let pooling = SpladePooling {
            is_sum: match file.pooling_strategy.as_deref() {
                None | Some("max") => false,
                Some("sum") => true,
                Some(other) => return Err(problem("pooling_strategy", other, "max, sum").into()),
            },
            is_log_twice: match file.activation_function.as_deref() {
                None | Some("relu") => false,
                Some("log1p_relu") => true,
                Some(other) => return Err(problem("activation_function", other, "relu, log1p_relu").into()),
            },
        };
        let Some(names_of_head) = &names.masked_lm else {
            let folder = weights.folder().join("config.json");
            let supported = "SPLADE on bert, distilbert, roberta, xlm-roberta";
            return Err(LoadError::new(folder, unsupported("sparse model", names.root, supported)).into());
        };
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let own = weights.enter(names_of_head.decoder);
        let decoder = if own.contains("weight") { own } else { Encoder::root(names, weights).enter(names.words) };
        let norm = weights.enter(names_of_head.norm);
        Ok(Self {
            dense: Linear::load(&weights.enter(names_of_head.dense), hidden, hidden, true)?,
            activation: config.activation,
            norm: LayerNorm::load(&norm, hidden, config.layer_norm_eps, true)?,
            decoder: {
                let bias = weights.values(names_of_head.bias, vocab)?;
                Linear::of_floats(weights, decoder.matrix("weight", vocab, hidden)?, hidden, Some(bias))
            },
            pooling,
        })
    }

    fn forward(&self, hidden: &Tensor<2>, sequences: &Sequences) -> Result<Vec<SparseVector>> {
        let inner = ops::activate(self.dense.forward(hidden.clone()), self.activation);
        let inner = self.norm.forward(inner);
        let [_, width] = inner.dims();
        let mut start = 0;
        // One sequence at a time: the logits of a batch would be gigabytes.
        let vectors = sequences.lengths().iter().map(|&length| {
            let tokens = inner.clone().slice([start..start + length, 0..width]);
            start += length;
            let logits = self.decoder.forward(tokens);
            Ok(SparseVector::max_of((0..).zip(to_host(self.pooling.forward(logits))?)))
        });
        vectors.collect()
    }
}

impl SpladePooling {
    /// # Shapes
    /// - `logits`: `[tokens, vocab]`
    /// - returns `[1, vocab]`
    fn forward(self, logits: Tensor<2>) -> Tensor<2> {
        let saturate = |logits| {
            let weights = relu(logits).log1p();
            if self.is_log_twice { weights.log1p() } else { weights }
        };
        // Saturation grows with its input, so that of the largest logit is the largest, at a fraction of the work.
        if self.is_sum { saturate(logits).sum_dim(0) } else { saturate(logits.max_dim(0)) }
    }
}

impl SparseHead {
    /// The weights of each sequence of `batch`, whose hidden states are `hidden` (`[tokens, hidden]`).
    ///
    /// # Errors
    /// [`gllm_core::InferenceError`] if the device fails.
    pub fn forward(&self, hidden: &Tensor<2>, sequences: &Sequences, batch: &[&Tokens]) -> Result<Vec<SparseVector>> {
        match self {
            Self::Lexical(head) => head.forward(hidden, batch),
            Self::Splade(head) => head.forward(hidden, sequences),
        }
    }
}
