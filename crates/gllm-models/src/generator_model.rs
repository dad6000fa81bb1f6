//! A decoder with the head that gives logits over the vocabulary.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use gllm_core::{Architecture, Result};
use gllm_quant::WeightFiles;

use crate::decoder::{Decoder, Step};
use crate::layers::Linear;
use crate::load::decoder::{self, DecoderFamily};
use crate::{CacheType, DecoderConfig, KvCache, Target, Wanted, Weights, threads};

/// A loaded language model: tokens to logits of the next one.
#[derive(Debug)]
pub struct GeneratorModel {
    architecture: Architecture,
    decoder: Decoder,
    head: Linear,
}

impl GeneratorModel {
    /// Loads the model at `path`, a folder or a GGUF file, onto a device, which alone means in `f32`.
    ///
    /// # Errors
    /// [`gllm_core::LoadError`] that names the file and what is wrong with it.
    pub fn load(path: &Path, target: impl Into<Target>) -> Result<Self> {
        let files = WeightFiles::open(path)?;
        Self::read(&files, decoder::read(&files)?, &target.into())
    }

    /// Reads the model of this family from its files.
    pub(crate) fn read(files: &WeightFiles, family: DecoderFamily, target: &Target) -> Result<Self> {
        let DecoderFamily { architecture, names, config, .. } = family;
        let (decoder, head) = Weights::read(files, target, |weights| {
            let words = if config.tied_embeddings {
                Decoder::root(names, weights).enter(names.words)
            } else {
                weights.enter(names.head)
            };
            let head = Linear::load(&words, config.hidden_size, config.vocab_size, false)?;
            Ok((Decoder::load(config, names, weights)?, head))
        })?;
        Ok(Self { architecture, decoder, head })
    }

    /// The network, as the model's `config.json` names it.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Sizes and choices.
    #[must_use]
    pub fn config(&self) -> &DecoderConfig {
        self.decoder.config()
    }

    /// Where its tensors are.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.decoder.device()
    }

    /// The cache of a sequence without tokens, which may grow to the longest sequence that the model was made for.
    #[must_use]
    pub fn new_cache(&self) -> KvCache {
        self.cache_of(CacheType::default(), self.config().max_length)
    }

    /// As [`GeneratorModel::new_cache`], of this type, for at most `limit` tokens.
    #[must_use]
    pub fn cache_of(&self, of: CacheType, limit: usize) -> KvCache {
        KvCache::new(self.config(), of, limit, self.device())
    }

    /// Reads the tokens of `batch`, adding them to the caches of their sequences, and returns their hidden states, one
    /// sequence after the other. On the CPU, what a sequence gets doesn't depend on those beside it.
    ///
    /// # Shapes
    /// - returns `[tokens of all steps, hidden]`
    ///
    /// # Errors
    /// [`gllm_core::InferenceError`] for a token out of range, or a context that is full: then no cache has changed.
    pub fn forward(&self, batch: &mut [Step<'_>]) -> Result<Tensor<2>> {
        self.decoder.forward(batch, Wanted::All)
    }

    /// As [`GeneratorModel::forward`], for the last token of each step alone, which the last block computes no more than.
    ///
    /// # Shapes
    /// - returns `[steps, hidden]`
    ///
    /// # Errors
    /// As [`GeneratorModel::forward`].
    pub fn forward_last(&self, batch: &mut [Step<'_>]) -> Result<Tensor<2>> {
        self.decoder.forward(batch, Wanted::Last)
    }

    /// Logits of the token that follows each row.
    ///
    /// # Shapes
    /// - `hidden`: `[rows, hidden]`
    /// - returns `[rows, vocab]`
    #[must_use]
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let logits = threads::run(self.device(), || self.head.forward(hidden));
        match self.config().logits_soft_cap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }
}
