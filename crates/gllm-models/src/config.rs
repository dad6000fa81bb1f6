//! What a model's `config.json` comes down to: sizes and choices, the same for every family of encoders.
//!
//! A family's own file under `load` reads the fields as that family's checkpoints spell them and fills an
//! [`EncoderConfig`]; nothing beyond this module knows which family a model is of. Fields have the names that BERT
//! gives them.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use gllm_core::{Error, LoadError, LoadProblem, Result};
use serde::de::DeserializeOwned;

use crate::layers::FeedForwardConfig;
use crate::{Activation, PoolingMode, RotaryConfig};

/// Reads the JSON file at `path`; `None` if there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("cannot read", path, &e)),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| LoadError::new(path, LoadProblem::Corrupt { format: "JSON".into(), reason: e.to_string() }).into())
}

/// Reads the `config.json` that `folder` must have; its path comes with it, for errors about its fields.
pub(crate) fn require_config<T: DeserializeOwned>(folder: &Path) -> Result<(PathBuf, T)> {
    let path = folder.join("config.json");
    match read_json(&path)? {
        Some(config) => Ok((path, config)),
        None => Err(LoadError::new(folder, LoadProblem::MissingFile { expected: "config.json".into() }).into()),
    }
}

/// Something that a file asks for and that isn't there.
pub(crate) fn unsupported(what: &str, found: impl Into<String>, supported: &str) -> LoadProblem {
    LoadProblem::Unsupported { what: what.into(), found: found.into(), supported: supported.into() }
}

/// A field whose value makes no sense.
pub(crate) fn bad_field(field: &str, expected: impl Into<String>, found: impl Display) -> LoadProblem {
    LoadProblem::Field { field: field.into(), expected: expected.into(), found: found.to_string() }
}

/// Sizes and choices of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Token ids are below this.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Width of the embedding tables; where it isn't `hidden_size`, a linear layer leads from one to the other.
    pub embedding_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Number of attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Non-linearity of the feed-forward layer.
    pub activation: Activation,
    /// Longest sequence.
    pub max_length: usize,
    /// Learned embeddings of the positions, where the family has them.
    pub learned_positions: Option<LearnedPositions>,
    /// Embeddings of the segments, where the family has them.
    pub token_types: Option<TokenTypes>,
    /// How attention knows where a token stands, beside learned positions.
    pub attention_positions: AttentionPositions,
    /// Blocks that see only a neighbourhood, where the family has them.
    pub local_attention: Option<LocalAttention>,
    /// Where in a block the normalisation is.
    pub norm_order: NormOrder,
    /// Added to the variance in layer normalisation.
    pub layer_norm_eps: f64,
    /// Which layers have a bias.
    pub biases: Biases,
    /// The head that scores a sequence, in a checkpoint that has one.
    pub classifier: ClassifierConfig,
}

/// The head that scores a sequence: `output(norm(activation(dense(pooled))))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassifierConfig {
    /// How the sequence becomes one vector.
    pub pooling: PoolingMode,
    /// Behind the first layer.
    pub activation: Activation,
    /// Whether the first layer has a bias.
    pub bias: bool,
}

impl ClassifierConfig {
    /// As in BERT, where the first layer is called the pooler.
    pub const BERT: Self = Self { pooling: PoolingMode::Cls, activation: Activation::Tanh, bias: true };
}

/// A table of embeddings of the positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedPositions {
    /// Rows of the table.
    pub rows: usize,
    /// RoBERTa counts positions from behind the row of the padding token, and leaves a padding token that stands in
    /// the text out of the count (`create_position_ids_from_input_ids` of transformers). `None`: from row 0, every
    /// token.
    pub padding: Option<u32>,
}

/// A table of embeddings of the segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenTypes {
    /// Rows of the table.
    pub rows: usize,
    /// Whether the tokenizer's segments are read; if not, every token is of segment 0.
    pub from_tokenizer: bool,
}

/// How attention knows where a token stands.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AttentionPositions {
    /// It doesn't: the positions are in the embeddings.
    None,
    /// Queries and keys are rotated.
    Rotary(RotaryConfig),
    /// A penalty for distance, linear, its slope different for each head. Source: <https://arxiv.org/abs/2108.12409>,
    /// in the symmetric form for encoders.
    Alibi,
    /// A learned bias for each bucket of distances and each head. Source: <https://arxiv.org/abs/1910.10683>, as in
    /// `compute_position_bias` of MPNet.
    Relative,
}

/// Blocks whose tokens see only their neighbours.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalAttention {
    /// A token sees the tokens at most this far away, on each side.
    pub reach: usize,
    /// Positions within these blocks.
    pub rotary: RotaryConfig,
    /// `[num_hidden_layers]`: whether the block is one of these.
    pub layers: Vec<bool>,
}

/// Where in a block the normalisation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NormOrder {
    /// Behind the residual sum, as in BERT.
    Post,
    /// Before attention and feed-forward, and once behind the last block. The first block has none before its
    /// attention, because the embeddings are normalised already: ModernBERT.
    Pre,
}

/// Which layers have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "families differ in each of them")]
pub struct Biases {
    /// Layer normalisations.
    pub norm: bool,
    /// Query, key and value projections.
    pub qkv: bool,
    /// The projection behind attention.
    pub attention_output: bool,
    /// The first layer of the feed-forward block, or its two.
    pub up: bool,
    /// The last layer of the feed-forward block.
    pub down: bool,
}

impl Biases {
    /// As in BERT.
    pub const ALL: Self = Self { norm: true, qkv: true, attention_output: true, up: true, down: true };
}

impl EncoderConfig {
    /// Reads `config.json` in `folder` as `T`, which `build` turns into a configuration, and checks that one.
    pub(crate) fn read<T: DeserializeOwned>(
        folder: &Path,
        build: impl FnOnce(T) -> std::result::Result<Self, LoadProblem>,
    ) -> Result<Self> {
        let (path, file) = require_config(folder)?;
        let config = build(file).and_then(|config| config.check().map(|()| config));
        config.map_err(|problem| LoadError::new(path, problem).into())
    }

    /// Width of an attention head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Of the feed-forward half of a block.
    pub(crate) fn feed_forward(&self) -> FeedForwardConfig {
        FeedForwardConfig {
            hidden: self.hidden_size,
            width: self.intermediate_size,
            activation: self.activation,
            up_bias: self.biases.up,
            down_bias: self.biases.down,
        }
    }

    /// Whether the sizes fit each other, and sums and products of a few of them into a number.
    pub(crate) fn check(&self) -> std::result::Result<(), LoadProblem> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("embedding_size", self.embedding_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_length),
            ("type_vocab_size", self.token_types.map_or(1, |types| types.rows)),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(bad_field(name, "at least 1", size));
        }
        // So that sums and products of a few of them can't overflow.
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size > u32::MAX as usize) {
            return Err(bad_field(name, format!("at most {}", u32::MAX), size));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let divisor = format!("a divisor of hidden_size = {}", self.hidden_size);
            return Err(bad_field("num_attention_heads", divisor, self.num_attention_heads));
        }
        if !self.layer_norm_eps.is_finite() || self.layer_norm_eps < 0.0 {
            return Err(bad_field("layer_norm_eps", "a finite number, 0 or above", self.layer_norm_eps));
        }
        let global = match self.attention_positions {
            AttentionPositions::Rotary(rotary) => Some(rotary),
            _ => None,
        };
        let local = self.local_attention.as_ref().map(|local| local.rotary);
        for rotary in [global, local].into_iter().flatten() {
            if !self.head_dim().is_multiple_of(2) {
                return Err(bad_field("num_attention_heads", "heads of even width, to be rotated", self.head_dim()));
            }
            rotary.check()?;
        }
        Ok(())
    }
}

/// Far more than any model has, and few enough to make a list of.
pub(crate) const MAX_LAYERS: usize = 100_000;

/// For each of `layers` blocks, whether its attention is local, as `layer_types` of a `config.json` says.
pub(crate) fn local_layers(types: &[String], layers: usize) -> std::result::Result<Vec<bool>, LoadProblem> {
    if types.len() != layers {
        return Err(bad_field("layer_types", format!("{layers} entries, one a block"), types.len()));
    }
    let is_local = |kind: &String| match kind.as_str() {
        "full_attention" => Ok(false),
        "sliding_attention" => Ok(true),
        other => Err(unsupported("layer_types", other, "full_attention, sliding_attention")),
    };
    types.iter().map(is_local).collect()
}

/// The non-linearity that a `config.json` calls `name` in its field `field`.
pub(crate) fn activation(field: &str, name: &str) -> std::result::Result<Activation, LoadProblem> {
    Activation::from_config(name).ok_or_else(|| unsupported(field, name, Activation::SUPPORTED))
}
