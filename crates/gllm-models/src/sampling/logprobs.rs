//! How likely tokens are by the logits alone.

use gllm_core::InferenceError;

use super::exponential::sum_exp;
use super::scan::{first_maximum, kth_largest};

/// The logits as the model gave them, and the logarithm of what they sum up to.
#[derive(Debug)]
pub(super) struct Logprobs {
    /// How many tokens are asked for beside the one that is chosen.
    top: usize,
    /// `[vocab]`
    logits: Vec<f32>,
    log_sum: f64,
    kept: Vec<f32>,
}

impl Logprobs {
    pub(super) fn new(top: usize) -> Self {
        Self { top, logits: Vec::new(), log_sum: 0.0, kept: Vec::new() }
    }

    /// Keeps `logits`, and says which are the most likely.
    ///
    /// # Errors
    /// As [`first_maximum`].
    pub(super) fn read(&mut self, logits: &[f32]) -> Result<Vec<(u32, f32)>, InferenceError> {
        let maximum = first_maximum(logits)?.value;
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        self.log_sum = f64::from(maximum) + sum_exp(logits, maximum).ln();
        if self.top == 0 {
            return Ok(Vec::new());
        }
        let floor = kth_largest(logits, self.top, &mut self.kept);
        let ids = (0..).zip(logits).filter(|(_, logit)| **logit >= floor).map(|(id, _)| id);
        let mut top: Vec<u32> = ids.collect();
        // By logits, which may differ where their logarithms don't. Stable: equal ones stay in the order of their ids.
        top.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]));
        top.truncate(self.top);
        Ok(top.into_iter().map(|id| (id, self.of(id))).collect())
    }

    /// Of the token `id`, which is in the vocabulary.
    pub(super) fn of(&self, id: u32) -> f32 {
        (f64::from(self.logits[id as usize]) - self.log_sum) as f32
    }
}
