//! From logits to a token: what a caller asks of the choice, and the choice.
//!
//! What is asked is applied in the order of transformers, because that is what the settings in a model's
//! `generation_config.json` were tried with: what a constraint allows, `logit_bias`, the penalties, temperature, top-k,
//! top-p, min-p, and a draw. (llama.cpp and vLLM differ: temperature last, min-p first.) Log-probabilities are of the
//! logits before any of it. One pass over the vocabulary chooses greedily; a draw needs a few, and never sorts more of
//! the vocabulary than the tokens that may be drawn.
//!
//! A seed gives the same tokens for the same logits everywhere: the generator (PCG64, whose stream is a promise of its
//! crate) and the exponential function are no platform's, and sums are in the order of the ids.
//!
//! Source: `generation/logits_process.py` of transformers; the two penalties that count tokens are OpenAI's
//! (<https://platform.openai.com/docs/guides/advanced-usage>).

mod candidates;
mod exponential;
mod logprobs;
mod options;
mod penalties;
mod scan;
mod token_mask;

use std::hash::{BuildHasher, RandomState};

use gllm_core::InferenceError;
use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};

use candidates::{Candidates, Filter};
use logprobs::Logprobs;
use penalties::Penalties;
use scan::first_maximum;

pub use options::SamplingOptions;
pub use token_mask::TokenMask;

/// A token that was chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its id.
    pub id: u32,
    /// Natural logarithm of its probability by the logits alone; where log-probabilities were asked for.
    pub logprob: Option<f32>,
    /// The ids that are most likely by the logits alone, as many as were asked for, and the logarithms of their
    /// probabilities; the most likely first, of equal ones the lower id.
    pub top: Vec<(u32, f32)>,
}

/// Chooses the tokens of one text, one after the other.
#[derive(Debug)]
pub struct Sampler {
    /// 0: the likeliest token is taken.
    temperature: f32,
    filter: Filter,
    bias: Vec<(u32, f32)>,
    penalties: Option<Penalties>,
    logprobs: Option<Logprobs>,
    random: Pcg64,
    candidates: Candidates,
}

impl Sampler {
    /// Begins a text behind the tokens of `prompt`. `options` have been checked ([`SamplingOptions::check`]).
    ///
    /// ```
    /// use gllm_models::{Sampler, SamplingOptions};
    /// let mut sampler = Sampler::new(&SamplingOptions::default(), &[]);
    /// assert_eq!(sampler.sample(&mut [0.5, 2.0, 1.0], None)?.id, 1);
    /// # Ok::<(), gllm_core::InferenceError>(())
    /// ```
    #[must_use]
    pub fn new(options: &SamplingOptions, prompt: &[u32]) -> Self {
        // The hasher's keys come from the operating system.
        let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one(()));
        Self {
            temperature: options.effective_temperature(),
            filter: Filter::new(options),
            bias: options.logit_bias.iter().map(|(id, bias)| (*id, *bias)).collect(),
            penalties: Penalties::new(options, prompt),
            logprobs: options.logprobs.map(Logprobs::new),
            random: Pcg64::seed_from_u64(seed),
            candidates: Candidates::default(),
        }
    }

    /// Chooses the next token among those in `allowed`, or among all, and takes it for a part of the text.
    ///
    /// # Shapes
    /// - `logits`: `[vocab]`; left in no particular state
    ///
    /// # Errors
    /// [`InferenceError::Constraint`] if no token may be chosen, [`InferenceError::Device`] if the logits are no
    /// numbers.
    pub fn sample(&mut self, logits: &mut [f32], allowed: Option<&TokenMask>) -> Result<Choice, InferenceError> {
        let top = match &mut self.logprobs {
            Some(logprobs) => logprobs.read(logits)?,
            None => Vec::new(),
        };
        self.adjust(logits, allowed);
        let id = if self.temperature == 0.0 {
            first_maximum(logits)?.id
        } else {
            self.candidates.choose(logits, self.temperature, &self.filter)?;
            // 53 bits, all that a double between 0 and 1 has.
            self.candidates.at((self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64)
        };
        if let Some(penalties) = &mut self.penalties {
            penalties.count(id);
        }
        let logprob = self.logprobs.as_ref().map(|logprobs| logprobs.of(id));
        Ok(Choice { id, logprob, top })
    }

    /// The tokens that [`Sampler::sample`] would draw from, by id, and their probabilities. Draws nothing.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn distribution(
        &mut self,
        logits: &mut [f32],
        allowed: Option<&TokenMask>,
    ) -> Result<Vec<(u32, f32)>, InferenceError> {
        self.adjust(logits, allowed);
        if self.temperature == 0.0 {
            return Ok(vec![(first_maximum(logits)?.id, 1.0)]);
        }
        self.candidates.choose(logits, self.temperature, &self.filter)?;
        Ok(self.candidates.probabilities().collect())
    }

    /// All that is done to logits one by one.
    fn adjust(&self, logits: &mut [f32], allowed: Option<&TokenMask>) {
        if let Some(allowed) = allowed {
            allowed.apply(logits);
        }
        for &(id, bias) in &self.bias {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = finite_or_less(*logit + bias);
            }
        }
        if let Some(penalties) = &self.penalties {
            penalties.apply(logits);
        }
    }
}

/// `logit`, which bias and penalties can't make infinite: that is kept for a model that fails.
fn finite_or_less(logit: f32) -> f32 {
    if logit == f32::INFINITY { f32::MAX } else { logit }
}

#[cfg(test)]
mod tests;
