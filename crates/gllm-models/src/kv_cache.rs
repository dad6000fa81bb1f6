//! The keys and values of the tokens that a decoder has read, so that it reads each once.
//!
//! A cache belongs to one sequence. It grows with it and holds no more than the next page beyond need; its clones share
//! what they have in common until one of them goes another way.

#[cfg(feature = "cpu")]
mod pages;
mod tensors;

use burn::tensor::Device;

use crate::DecoderConfig;
#[cfg(feature = "cpu")]
use crate::ops;

#[cfg(feature = "cpu")]
pub(crate) use pages::{PAGE, PagedLayer, padded};
pub(crate) use tensors::TensorLayer;

/// How keys and values are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CacheType {
    /// As they are computed.
    #[default]
    F32,
    /// In half of the memory, rounded to 11 bits.
    F16,
}

/// What a decoder keeps of a sequence.
#[derive(Clone, Debug)]
pub struct KvCache {
    tokens: Vec<u32>,
    /// One for each block.
    layers: Vec<LayerCache>,
    limit: usize,
}

/// What a block keeps of a sequence.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each block of a sequence")]
pub(crate) enum LayerCache {
    /// On the host, for the kernels of the CPU.
    #[cfg(feature = "cpu")]
    Paged(PagedLayer),
    /// On the device.
    Tensors(TensorLayer),
}

impl KvCache {
    /// Of a sequence without tokens, which may grow to `limit` of them.
    pub(crate) fn new(config: &DecoderConfig, of: CacheType, limit: usize, device: &Device) -> Self {
        #[cfg(feature = "cpu")]
        if ops::has_kernels(device) {
            let layer = LayerCache::Paged(PagedLayer::new(config.num_key_value_heads, config.head_dim, of));
            return Self { tokens: Vec::new(), layers: vec![layer; config.num_hidden_layers], limit };
        }
        let layer = LayerCache::Tensors(TensorLayer::new(config.key_width(), of, device));
        Self { tokens: Vec::new(), layers: vec![layer; config.num_hidden_layers], limit }
    }

    /// The tokens whose keys and values are here.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The most tokens that it may hold.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Memory that keys and values take, those among them that other caches share.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.layers.iter().map(LayerCache::bytes).sum()
    }

    /// Memory that the keys and values of `tokens` tokens take in a cache like this.
    pub(crate) fn bytes_for(&self, tokens: usize) -> usize {
        self.layers.iter().map(|layer| layer.bytes_for(tokens)).sum()
    }

    /// Forgets all but the first `len` tokens.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.tokens.len() {
            return;
        }
        self.tokens.truncate(len);
        for layer in &mut self.layers {
            match layer {
                #[cfg(feature = "cpu")]
                LayerCache::Paged(layer) => layer.truncate(len),
                LayerCache::Tensors(layer) => layer.truncate(len),
            }
        }
    }

    /// Takes note of tokens whose keys and values are about to come, for which there is room.
    pub(crate) fn extend(&mut self, tokens: &[u32]) {
        self.tokens.extend_from_slice(tokens);
    }

    /// Gives back the memory of what block `index` keeps.
    pub(crate) fn drop_layer(&mut self, index: usize) {
        match &mut self.layers[index] {
            #[cfg(feature = "cpu")]
            LayerCache::Paged(layer) => layer.truncate(0),
            LayerCache::Tensors(layer) => layer.clear(),
        }
    }

    /// What block `index` keeps.
    pub(crate) fn layer(&mut self, index: usize) -> &mut LayerCache {
        &mut self.layers[index]
    }
}

impl LayerCache {
    fn bytes(&self) -> usize {
        match self {
            #[cfg(feature = "cpu")]
            Self::Paged(layer) => layer.bytes(),
            Self::Tensors(layer) => layer.bytes(),
        }
    }

    fn bytes_for(&self, tokens: usize) -> usize {
        match self {
            #[cfg(feature = "cpu")]
            Self::Paged(layer) => layer.bytes_for(tokens),
            Self::Tensors(layer) => layer.bytes_for(tokens),
        }
    }
}
