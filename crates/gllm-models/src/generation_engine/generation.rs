//! A text that is written as it is asked for, by whoever asks.

use gllm_core::{GenerationResponse, Result};

use super::GenerationEngine;
use crate::TextSequence;

/// Most tokens that are read at once, which bounds the memory; results don't depend on it on the CPU.
const READ_TOKENS: usize = 256;

/// A text that is being written: an iterator over its pieces, each of whole characters.
///
/// Nothing is computed but by [`Iterator::next`], which reads a part of the prompt or writes a token; dropping it ends
/// the text. A piece is empty where nothing can be shown yet: of a prompt that is still being read, or of a character
/// or stop string that isn't whole.
#[derive(Debug)]
pub struct Generation<'a> {
    engine: &'a GenerationEngine,
    text: TextSequence,
    has_failed: bool,
}

impl<'a> Generation<'a> {
    pub(super) fn new(engine: &'a GenerationEngine, text: TextSequence) -> Self {
        Self { engine, text, has_failed: false }
    }

    /// What there is of the text so far; all of it, once the iterator is at its end.
    #[must_use]
    pub fn response(&self) -> GenerationResponse {
        self.text.response()
    }
}

impl Iterator for Generation<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = &mut self.text;
        if self.has_failed || text.finish_reason().is_some() {
            return None;
        }
        // A panic leaves it at that.
        self.has_failed = true;
        let advanced = self.engine.advance(&mut [text], READ_TOKENS);
        let advanced = advanced.and_then(|outcomes| outcomes.into_iter().collect::<Result<()>>());
        self.has_failed = advanced.is_err();
        Some(advanced.map(|()| text.take_piece()))
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        // After an error, it isn't certain which tokens the cache has whole.
        if !self.has_failed {
            self.engine.keep(&self.text);
        }
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;
    use crate::{CacheType, DecoderConfig, GenerateOptions, KvCache, Prompt};

    #[test]
    fn what_a_panic_leaves_of_a_text_is_not_kept() {
        let path = Path::new("../../tests/golden/decoders/qwen2.gguf");
        let engine = GenerationEngine::load(path, &Device::flex()).expect("a model");
        let (prompt, options) = (Prompt::Raw("the cat".into()), GenerateOptions::default());
        let mut generation = engine.start(&prompt, &options).expect("a text");
        // A cache without blocks: the tokens are noted, then there is no place for their keys and values.
        let config = DecoderConfig { num_hidden_layers: 0, ..engine.model.config().clone() };
        generation.text.read_again(KvCache::new(&config, CacheType::default(), engine.max_length(), &Device::flex()));
        catch_unwind(AssertUnwindSafe(|| generation.next())).expect_err("a panic");
        assert!(!generation.text.cache().tokens().is_empty());
        drop(generation);
        let tokens = engine.tokens(&prompt, &options).expect("tokens");
        assert!(engine.prefixes().take(&tokens).is_none());
        engine.generate(&prompt, &options).expect("a text");
    }
}
