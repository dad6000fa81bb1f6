//! The tokens that may be drawn, and the draw.
//!
//! Invariant: they are in the order of their ids, and the likeliest of them has weight 1. Weights stand for
//! probabilities; they are divided by their sum at the end, if at all.

use std::cmp::Ordering;

use gllm_core::InferenceError;

use super::SamplingOptions;
use super::exponential::exp;
use super::scan::{first_maximum, kth_largest};

/// Which tokens are drawn from.
#[derive(Debug)]
pub(super) struct Filter {
    /// 0: any number.
    top_k: usize,
    top_p: f64,
    min_p: f32,
}

impl Filter {
    pub(super) fn new(options: &SamplingOptions) -> Self {
        Self {
            top_k: options.top_k.unwrap_or(0),
            top_p: options.top_p.map_or(1.0, f64::from),
            min_p: options.min_p.unwrap_or(0.0),
        }
    }
}

/// Tokens and their weights.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    ids: Vec<u32>,
    weights: Vec<f32>,
    /// Room to work in.
    kept: Vec<f32>,
    places: Vec<u32>,
}

impl Candidates {
    /// Replaces the candidates by those of `logits` (`[vocab]`) that `filter` leaves. `temperature` is above 0.
    ///
    /// # Errors
    /// As [`first_maximum`].
    pub(super) fn choose(&mut self, logits: &[f32], temperature: f32, filter: &Filter) -> Result<(), InferenceError> {
        let maximum = first_maximum(logits)?.value;
        self.ids.clear();
        self.weights.clear();
        if filter.top_k == 0 {
            self.ids.extend(0..logits.len() as u32);
            self.weights.extend_from_slice(logits);
        } else {
            // Above what is ruled out, even if fewer than k are left.
            let floor = kth_largest(logits, filter.top_k, &mut self.kept).max(f32::MIN);
            for (id, logit) in (0..).zip(logits) {
                if *logit >= floor {
                    self.ids.push(id);
                    self.weights.push(*logit);
                }
            }
        }
        for weight in &mut self.weights {
            *weight = exp((*weight - maximum) / temperature);
        }
        if filter.top_p < 1.0 {
            self.keep_nucleus(filter.top_p);
        }
        if filter.min_p > 0.0 {
            self.retain(|_, weight| weight >= filter.min_p);
        }
        Ok(())
    }

    /// The candidate at `share` (0 to 1, without 1) of the probability, counted in the order of the ids.
    pub(super) fn at(&self, share: f64) -> u32 {
        let point = share * self.sum();
        let mut sum = 0.0;
        let mut last = 0;
        for (id, weight) in self.ids.iter().zip(&self.weights).filter(|(_, weight)| **weight > 0.0) {
            sum += f64::from(*weight);
            last = *id;
            if sum > point {
                break;
            }
        }
        last
    }

    /// Ids and probabilities of those that can be drawn.
    pub(super) fn probabilities(&self) -> impl Iterator<Item = (u32, f32)> + '_ {
        let sum = self.sum();
        let candidates = self.ids.iter().zip(&self.weights).filter(|(_, weight)| **weight > 0.0);
        candidates.map(move |(id, weight)| (*id, (f64::from(*weight) / sum) as f32))
    }

    /// Keeps the likeliest candidates that together have `share` of the probability; of equally likely ones the lower
    /// ids.
    fn keep_nucleus(&mut self, share: f64) {
        let sum = self.sum();
        // Those at or below this have together no more than what is to go, so all of them go. Few are left of a
        // vocabulary.
        let floor = (1.0 - share) * sum / self.ids.len() as f64;
        self.retain(|_, weight| f64::from(weight) > floor || weight >= 1.0);

        let Self { weights, places, .. } = self;
        let likelier = |a: &u32, b: &u32| -> Ordering {
            weights[*b as usize].total_cmp(&weights[*a as usize]).then_with(|| a.cmp(b))
        };
        places.clear();
        places.extend(0..weights.len() as u32);
        // The least likely one that is kept is between `from` and `to`, by rank; `before` is the weight of those ahead.
        let (mut from, mut to, mut before) = (0, places.len(), 0.0);
        while to - from > 1 {
            let middle = from + (to - from) / 2;
            places[from..to].select_nth_unstable_by(middle - from, likelier);
            let ahead: f64 = places[from..middle].iter().map(|place| f64::from(weights[*place as usize])).sum();
            if before + ahead >= share * sum {
                to = middle;
            } else {
                (from, before) = (middle, before + ahead);
            }
        }
        let border = places[from] as usize;
        let least = weights[border];
        self.retain(|place, weight| weight > least || (weight >= least && place <= border));
    }

    /// Keeps the candidates of which `is_kept` is true, called with place and weight.
    fn retain(&mut self, is_kept: impl Fn(usize, f32) -> bool) {
        let mut kept = 0;
        for place in 0..self.ids.len() {
            if is_kept(place, self.weights[place]) {
                self.ids[kept] = self.ids[place];
                self.weights[kept] = self.weights[place];
                kept += 1;
            }
        }
        self.ids.truncate(kept);
        self.weights.truncate(kept);
    }

    fn sum(&self) -> f64 {
        self.weights.iter().map(|weight| f64::from(*weight)).sum()
    }
}
