//! What a caller, or a model's files, ask of the choice of tokens.

use std::collections::BTreeMap;
use std::fmt::Display;

use gllm_core::InvalidConfig;

/// How tokens are chosen. What is `None` is left to the model's defaults ([`SamplingOptions::or`]), and where these say
/// nothing either, to what is written beside it here: the likeliest token is taken, unless something asks for a draw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits: above 1 the text is more varied, below 1 less. 0 takes the likeliest token, of equal ones
    /// the lower id. `None`: 1 where `top_k`, `top_p` or `min_p` ask for a draw, else 0.
    pub temperature: Option<f32>,
    /// Only this many of the likeliest tokens are drawn from, and any as likely as the last of them. 0: all, as `None`.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens are drawn from that together have this probability. Above 0, at most 1. `None`: 1.
    pub top_p: Option<f32>,
    /// Only tokens are drawn from that are at least this times as likely as the likeliest. 0 to 1. `None`: 0.
    pub min_p: Option<f32>,
    /// Tokens of the prompt and the text become less likely: a positive logit is divided by this, a negative one
    /// multiplied. Above 0. `None`: 1.
    pub repetition_penalty: Option<f32>,
    /// Taken from a token's logit for each time that it is in the text; the prompt doesn't count. -2 to 2. `None`: 0.
    pub frequency_penalty: Option<f32>,
    /// Taken from a token's logit if it is in the text; the prompt doesn't count. -2 to 2. `None`: 0.
    pub presence_penalty: Option<f32>,
    /// Makes the draws the same each time. `None`: another seed each time.
    pub seed: Option<u64>,
    /// Added to the logits of these tokens. Finite, or negative infinity, which rules a token out.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Say how likely a token was, and how likely as many others were. At most the size of the vocabulary.
    pub logprobs: Option<usize>,
}

impl SamplingOptions {
    /// Whether each setting is in its range, for a model of `vocab` tokens.
    ///
    /// # Errors
    /// [`InvalidConfig`] that names the first that isn't.
    pub fn check(&self, vocab: usize) -> Result<(), InvalidConfig> {
        number("temperature", self.temperature, "a finite number, 0 or above", |x| x.is_finite() && x >= 0.0)?;
        number("top_p", self.top_p, "a number above 0, at most 1", |x| x > 0.0 && x <= 1.0)?;
        number("min_p", self.min_p, "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))?;
        let positive = |x: f32| x.is_finite() && x > 0.0;
        number("repetition_penalty", self.repetition_penalty, "a finite number above 0", positive)?;
        let penalty = |x: f32| (-2.0..=2.0).contains(&x);
        number("frequency_penalty", self.frequency_penalty, "a number from -2 to 2", penalty)?;
        number("presence_penalty", self.presence_penalty, "a number from -2 to 2", penalty)?;
        for (id, bias) in &self.logit_bias {
            if *id as usize >= vocab {
                return Err(invalid("logit_bias", format!("ids below {vocab}, the size of the vocabulary"), id));
            }
            if bias.is_nan() || *bias == f32::INFINITY {
                let expected = "finite numbers, or negative infinity";
                return Err(invalid("logit_bias", expected.to_owned(), format!("{bias} for token {id}")));
            }
        }
        match self.logprobs {
            Some(top) if top > vocab => {
                Err(invalid("logprobs", format!("at most {vocab}, the size of the vocabulary"), top))
            }
            _ => Ok(()),
        }
    }

    /// These, and what they leave open as `defaults` have it.
    #[must_use]
    pub fn or(self, defaults: &Self) -> Self {
        Self {
            temperature: self.temperature.or(defaults.temperature),
            top_k: self.top_k.or(defaults.top_k),
            top_p: self.top_p.or(defaults.top_p),
            min_p: self.min_p.or(defaults.min_p),
            repetition_penalty: self.repetition_penalty.or(defaults.repetition_penalty),
            frequency_penalty: self.frequency_penalty.or(defaults.frequency_penalty),
            presence_penalty: self.presence_penalty.or(defaults.presence_penalty),
            seed: self.seed.or(defaults.seed),
            logit_bias: if self.logit_bias.is_empty() { defaults.logit_bias.clone() } else { self.logit_bias },
            logprobs: self.logprobs.or(defaults.logprobs),
        }
    }

    /// The temperature in force.
    pub(super) fn effective_temperature(&self) -> f32 {
        // Else `top_p` alone would do nothing, silently.
        let draws = self.top_k.is_some() || self.top_p.is_some() || self.min_p.is_some();
        self.temperature.unwrap_or(if draws { 1.0 } else { 0.0 })
    }
}

fn number(field: &str, value: Option<f32>, expected: &str, is_good: impl Fn(f32) -> bool) -> Result<(), InvalidConfig> {
    match value {
        Some(value) if !is_good(value) => Err(invalid(field, expected.to_owned(), value)),
        _ => Ok(()),
    }
}

fn invalid(field: &str, expected: String, found: impl Display) -> InvalidConfig {
    InvalidConfig::new(field, expected, found.to_string())
}
