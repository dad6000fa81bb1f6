//! Rotary position embeddings as a configuration has them: a base, and how wavelengths are stretched for long sequences.
//!
//! Sources: <https://arxiv.org/abs/2104.09864>; for the ways to stretch, `modeling_rope_utils` of transformers.

use std::f64::consts::TAU;

use gllm_core::LoadProblem;

use crate::config::bad_field;

/// Rotary position embeddings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RotaryConfig {
    /// Base of the wavelengths.
    pub theta: f64,
    /// How the wavelengths are stretched for long sequences.
    pub scaling: RotaryScaling,
}

/// How wavelengths are stretched.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum RotaryScaling {
    /// Not at all.
    None,
    /// All by `factor`: positions are interpolated. Source: <https://arxiv.org/abs/2306.15595>.
    Linear {
        /// How many times longer than in training sequences may be.
        factor: f64,
    },
    /// Always by `factor`, "NTK-aware": `NTKScalingRotaryEmbedding` of the GTE `new` encoders.
    Ntk {
        /// How many times longer than in training sequences may be.
        factor: f64,
    },
    /// "NTK-aware", for sequences longer than in training, by how much longer they are: `dynamic` of NomicBERT and
    /// transformers. A decoder rotates a key for the length that its sequence has when the key is computed, and keeps
    /// it so, as transformers does.
    DynamicNtk {
        /// Scales the stretch.
        factor: f64,
        /// Longest sequence of the training.
        trained: usize,
    },
    /// Long wavelengths by `factor`, short ones not: `llama3`.
    Llama3 {
        /// How many times longer than in training sequences may be.
        factor: f64,
        /// Wavelengths of more than `trained` over this are stretched.
        low_freq_factor: f64,
        /// Wavelengths of less than `trained` over this aren't.
        high_freq_factor: f64,
        /// Longest sequence of the training.
        trained: usize,
    },
    /// Long wavelengths by `factor`, short ones not, and scores scaled. Source: <https://arxiv.org/abs/2309.00071>.
    Yarn {
        /// How many times longer than in training sequences may be.
        factor: f64,
        /// Scales rotated queries and keys.
        attention_factor: f64,
        /// Pairs that turn more often than this within the training's length aren't stretched.
        beta_fast: f64,
        /// Pairs that turn less often than this are stretched by all of `factor`.
        beta_slow: f64,
        /// Whether the pairs between which the stretch grows are rounded to whole ones.
        truncate: bool,
        /// Longest sequence of the training.
        trained: usize,
    },
}

impl RotaryScaling {
    /// The longest sequence of a model whose configuration says `max_length`: some configurations give the length
    /// before the stretch.
    pub(crate) fn stretched(&self, max_length: usize) -> usize {
        #[expect(clippy::cast_sign_loss, reason = "a factor below 0 is refused; casts saturate")]
        let times = |length: usize, factor: f64| (length as f64 * factor) as usize;
        match *self {
            Self::None | Self::Ntk { .. } | Self::Llama3 { .. } => max_length,
            Self::Linear { factor } | Self::DynamicNtk { factor, .. } => times(max_length, factor),
            Self::Yarn { factor, trained, .. } => times(trained, factor).max(max_length),
        }
    }

    /// What YaRN scales rotated queries and keys with where a configuration doesn't say: `0.1 · m · ln(factor) + 1`.
    #[must_use]
    pub fn yarn_attention_factor(factor: f64, m: f64) -> f64 {
        if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 }
    }
}

impl RotaryConfig {
    /// `[head_dim / 2]`: the angle between neighbours, for a sequence of this length.
    #[must_use]
    pub(crate) fn frequencies(&self, head_dim: usize, length: usize) -> Vec<f32> {
        let dim = head_dim as f64;
        let plain = |theta: f64| (0..head_dim / 2).map(move |pair| theta.powf(-(2.0 * pair as f64) / dim));
        let narrowed = |frequencies: Vec<f64>| frequencies.into_iter().map(|frequency| frequency as f32).collect();
        match self.scaling {
            RotaryScaling::None => narrowed(plain(self.theta).collect()),
            RotaryScaling::Linear { factor } => narrowed(plain(self.theta).map(|f| f / factor).collect()),
            RotaryScaling::Ntk { factor } => {
                let divisor = factor.powf(2.0 / dim);
                narrowed(plain(self.theta * factor).map(|f| f / divisor).collect())
            }
            RotaryScaling::DynamicNtk { factor, trained } => {
                let stretch = (factor * length as f64 / trained as f64) - (factor - 1.0);
                let stretch = if length > trained { stretch.powf(dim / (dim - 2.0)) } else { 1.0 };
                narrowed(plain(self.theta * stretch).collect())
            }
            RotaryScaling::Llama3 { factor, low_freq_factor, high_freq_factor, trained } => {
                let trained = trained as f64;
                let stretched = |frequency: f64| {
                    let turns = trained * frequency / TAU;
                    if turns > high_freq_factor {
                        frequency
                    } else if turns < low_freq_factor {
                        frequency / factor
                    } else {
                        let smooth = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                        (1.0 - smooth) * frequency / factor + smooth * frequency
                    }
                };
                narrowed(plain(self.theta).map(stretched).collect())
            }
            RotaryScaling::Yarn { factor, beta_fast, beta_slow, truncate, trained, .. } => {
                // The pair that turns so often within the training's length.
                let pair_of = |turns: f64| dim * (trained as f64 / (turns * TAU)).ln() / (2.0 * self.theta.ln());
                let (low, high) = (pair_of(beta_fast), pair_of(beta_slow));
                let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, high) = (low.max(0.0), high.min(dim - 1.0));
                // The reference's way not to divide by nothing.
                let width = if high - low == 0.0 { 0.001 } else { high - low };
                let stretched = |(pair, frequency): (usize, f64)| {
                    let share = ((pair as f64 - low) / width).clamp(0.0, 1.0);
                    frequency / factor * share + frequency * (1.0 - share)
                };
                narrowed(plain(self.theta).enumerate().map(stretched).collect())
            }
        }
    }

    /// What cosines and sines are scaled with.
    pub(crate) fn amplitude(&self) -> f64 {
        match self.scaling {
            RotaryScaling::Yarn { attention_factor, .. } => attention_factor,
            _ => 1.0,
        }
    }

    /// Whether the numbers make sense.
    pub(crate) fn check(&self) -> Result<(), LoadProblem> {
        if !self.theta.is_finite() || self.theta <= 1.0 {
            return Err(bad_field("rope_theta", "a finite number above 1", self.theta));
        }
        let at_least = |name: &str, least: f64, value: f64| {
            let is_sound = value.is_finite() && value >= least;
            if is_sound { Ok(()) } else { Err(bad_field(name, format!("a finite number, {least} or above"), value)) }
        };
        let (factor, trained) = match self.scaling {
            RotaryScaling::None => return Ok(()),
            RotaryScaling::Linear { factor } | RotaryScaling::Ntk { factor } => (factor, 1),
            RotaryScaling::DynamicNtk { factor, trained }
            | RotaryScaling::Llama3 { factor, trained, .. }
            | RotaryScaling::Yarn { factor, trained, .. } => (factor, trained),
        };
        at_least("rope_scaling.factor", 1.0, factor)?;
        if trained == 0 {
            return Err(bad_field("rope_scaling.original_max_position_embeddings", "at least 1", trained));
        }
        match self.scaling {
            RotaryScaling::Llama3 { low_freq_factor, high_freq_factor, .. } => {
                at_least("rope_scaling.low_freq_factor", f64::MIN_POSITIVE, low_freq_factor)?;
                if high_freq_factor.is_finite() && high_freq_factor > low_freq_factor {
                    return Ok(());
                }
                let expected = format!("a finite number above low_freq_factor = {low_freq_factor}");
                Err(bad_field("rope_scaling.high_freq_factor", expected, high_freq_factor))
            }
            RotaryScaling::Yarn { attention_factor, beta_fast, beta_slow, .. } => {
                at_least("rope_scaling.attention_factor", f64::MIN_POSITIVE, attention_factor)?;
                at_least("rope_scaling.beta_slow", f64::MIN_POSITIVE, beta_slow)?;
                at_least("rope_scaling.beta_fast", beta_slow, beta_fast)
            }
            _ => Ok(()),
        }
    }
}
