//! A text that is being generated: its tokens, what chooses the next one, and what may be shown of it.
//!
//! Knows no tensors: it is given logits and says what it wants to be read next. What it has read is in its cache, and
//! nowhere else, so a text whose cache is lost reads its tokens again and goes on as before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use gllm_core::{FinishReason, GenerationResponse, GenerationTimings, Result, TokenCandidate, TokenLogprob, Usage};

use crate::sampling::Choice;
use crate::text::{StopStrings, TextStream, TokenBytes};
use crate::{Constraint, KvCache, Sampler};

/// What chooses the tokens of a text.
#[derive(Debug)]
pub(crate) struct Chooser {
    pub(crate) sampler: Sampler,
    /// The form that the text keeps to.
    pub(crate) constraint: Option<Constraint>,
}

/// Where a text's tokens end.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Most tokens that it may have.
    pub(crate) max_new_tokens: usize,
    /// Tokens that end it.
    pub(crate) tokens: Arc<BTreeSet<u32>>,
    pub(crate) strings: StopStrings,
}

/// A text from its prompt to its end: [`crate::GenerationEngine::begin`] makes it, and
/// [`crate::GenerationEngine::advance`] writes it, beside others.
#[derive(Debug)]
pub struct TextSequence {
    cache: KvCache,
    prompt: Vec<u32>,
    generated: Vec<u32>,
    text: String,
    /// How much of `text` was taken.
    taken: usize,
    logprobs: Vec<TokenLogprob>,
    chooser: Chooser,
    stream: TextStream,
    bytes: Arc<TokenBytes>,
    ends: Ends,
    finish: Option<FinishReason>,
    timings: GenerationTimings,
    started: Instant,
}

impl TextSequence {
    /// Of a prompt, the beginning of which `cache` may have already.
    pub(crate) fn new(
        prompt: Vec<u32>,
        cache: KvCache,
        chooser: Chooser,
        stream: TextStream,
        bytes: Arc<TokenBytes>,
        ends: Ends,
        started: Instant,
    ) -> Self {
        let cached_tokens = cache.tokens().len();
        Self {
            cache,
            prompt,
            generated: Vec::new(),
            text: String::new(),
            taken: 0,
            logprobs: Vec::new(),
            chooser,
            stream,
            bytes,
            ends,
            finish: None,
            timings: GenerationTimings { cached_tokens, ..GenerationTimings::default() },
            started,
        }
    }

    /// Tokens of the prompt and the text that are still to be read: one while a text is written, none at its end.
    #[must_use]
    pub fn unread(&self) -> usize {
        match self.finish {
            Some(_) => 0,
            None => self.len() - self.cache.tokens().len(),
        }
    }

    /// The tokens of the text so far, without those of the prompt.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.generated
    }

    /// Memory in bytes that keys and values take once what there is of the text is read; what is shared with other
    /// texts counts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.cache.bytes_for(self.len())
    }

    /// Tokens of the prompt and the text.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no prompt is empty")]
    pub fn len(&self) -> usize {
        self.prompt.len() + self.generated.len()
    }

    /// What was read.
    pub(crate) fn cache(&self) -> &KvCache {
        &self.cache
    }

    /// Reads all again, into `cache`, which is empty.
    pub(crate) fn read_again(&mut self, cache: KvCache) {
        self.cache = cache;
    }

    /// Up to `most` tokens that are to be read next, and the cache to add them to.
    pub(crate) fn next_tokens(&mut self, most: usize) -> (Vec<u32>, &mut KvCache) {
        let all = self.prompt.iter().chain(&self.generated).copied();
        (all.skip(self.cache.tokens().len()).take(most).collect(), &mut self.cache)
    }

    /// Chooses the next token by the logits behind the last one.
    pub(crate) fn accept(&mut self, logits: &mut [f32]) -> Result<()> {
        let allowed = match &mut self.chooser.constraint {
            Some(constraint) => Some(constraint.allowed()?),
            None => None,
        };
        let choice = self.chooser.sampler.sample(logits, allowed)?;
        let elapsed_ms = self.started.elapsed().as_secs_f64() * 1e3;
        if self.generated.is_empty() {
            self.timings.first_token_ms = elapsed_ms;
        }
        self.timings.decode_ms = elapsed_ms - self.timings.first_token_ms;
        let id = choice.id;
        self.generated.push(id);
        self.note_logprobs(choice);
        let mut is_end = self.ends.tokens.contains(&id);
        if !is_end {
            if let Some(constraint) = &mut self.chooser.constraint {
                constraint.accept(id)?;
                is_end = constraint.is_ended();
            }
            let piece = self.stream.push(id);
            let shown = self.ends.strings.push(&piece);
            self.text.push_str(&shown.text);
            if shown.is_end {
                self.finish(FinishReason::Stop);
                return Ok(());
            }
        }
        if is_end {
            self.flush();
            self.finish(FinishReason::Stop);
        } else if self.generated.len() >= self.ends.max_new_tokens {
            self.flush();
            self.finish(FinishReason::Length);
        }
        Ok(())
    }

    /// The text that came since the last call: whole characters, or nothing.
    pub fn take_piece(&mut self) -> String {
        let piece = self.text[self.taken..].to_owned();
        self.taken = self.text.len();
        piece
    }

    /// Why the text ends, once it does.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// What there is of the text; one that isn't at its end counts as cut.
    #[must_use]
    pub fn response(&self) -> GenerationResponse {
        let prompt_tokens = self.prompt.len();
        GenerationResponse {
            text: self.text.clone(),
            tokens: self.generated.clone(),
            finish_reason: self.finish.unwrap_or(FinishReason::Length),
            usage: Usage { prompt_tokens, total_tokens: prompt_tokens + self.generated.len() },
            logprobs: self.logprobs.clone(),
            timings: self.timings,
        }
    }

    fn note_logprobs(&mut self, choice: Choice) {
        let Some(logprob) = choice.logprob else { return };
        let candidate = |(id, logprob)| TokenCandidate { id, token: self.bytes.text(id), logprob };
        let top = choice.top.into_iter().map(candidate).collect();
        self.logprobs.push(TokenLogprob { id: choice.id, token: self.bytes.text(choice.id), logprob, top });
    }

    /// Shows what was held back.
    fn flush(&mut self) {
        let rest = self.stream.finish();
        let shown = self.ends.strings.push(&rest);
        self.text.push_str(&shown.text);
        if !shown.is_end {
            let held = self.ends.strings.finish();
            self.text.push_str(&held);
        }
    }

    fn finish(&mut self, reason: FinishReason) {
        self.finish = Some(reason);
    }
}
