//! Penalties for tokens that are there already.

use std::collections::BTreeMap;

use super::SamplingOptions;
use super::finite_or_less;

/// Penalties, and the tokens that they are for.
#[derive(Debug)]
pub(super) struct Penalties {
    repetition: f32,
    frequency: f32,
    presence: f32,
    /// How often each token is in the text; 0 for one that is in the prompt alone.
    counts: BTreeMap<u32, u32>,
}

impl Penalties {
    /// Those that `options` ask for, behind `prompt`; `None` if there are none.
    pub(super) fn new(options: &SamplingOptions, prompt: &[u32]) -> Option<Self> {
        let repetition = options.repetition_penalty.unwrap_or(1.0);
        let frequency = options.frequency_penalty.unwrap_or(0.0);
        let presence = options.presence_penalty.unwrap_or(0.0);
        // Exactly these do nothing.
        #[expect(clippy::float_cmp, reason = "a setting, not the result of a computation")]
        if repetition == 1.0 && frequency == 0.0 && presence == 0.0 {
            return None;
        }
        let counts = prompt.iter().map(|id| (*id, 0)).collect();
        Some(Self { repetition, frequency, presence, counts })
    }

    /// Counts a token of the text.
    pub(super) fn count(&mut self, id: u32) {
        *self.counts.entry(id).or_default() += 1;
    }

    /// `logits`: `[vocab]`.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (id, count) in &self.counts {
            // A prompt may have tokens that the model never answers with.
            let Some(logit) = logits.get_mut(*id as usize) else { break };
            let repeated = if *logit < 0.0 { *logit * self.repetition } else { *logit / self.repetition };
            let presence = if *count > 0 { self.presence } else { 0.0 };
            *logit = finite_or_less(finite_or_less(repeated) - *count as f32 * self.frequency - presence);
        }
    }
}
