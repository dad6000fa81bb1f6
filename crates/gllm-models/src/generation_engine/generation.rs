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
