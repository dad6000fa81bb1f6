//! A mixture of experts: a token goes through the few feed-forward layers that a router picks for it.
//!
//! Source: <https://arxiv.org/abs/2401.04088>.

use burn::tensor::{Int, Tensor, TensorData};
use gllm_core::Result;

use super::{FeedForward, Linear};
use crate::ExpertsConfig;
use crate::device::to_host;

/// `Σ weight · expert(x)` over the experts of the largest logits, their weights the softmax of all logits.
#[derive(Debug)]
pub(crate) struct Experts {
    router: Linear,
    layers: Vec<FeedForward>,
    per_token: usize,
    normalise: bool,
}

impl Experts {
    pub(crate) fn new(config: &ExpertsConfig, router: Linear, layers: Vec<FeedForward>) -> Self {
        Self { router, layers, per_token: config.per_token, normalise: config.normalise }
    }

    /// # Shapes
    /// - `x`: `[tokens, hidden]`, returns the same
    ///
    /// # Errors
    /// [`gllm_core::InferenceError::Device`] if the router's logits can't be read.
    pub(crate) fn forward(&self, x: &Tensor<2>) -> Result<Tensor<2>> {
        let logits = to_host(self.router.forward(x.clone()))?;
        let mut chosen = vec![(Vec::new(), Vec::new()); self.layers.len()];
        for (token, logits) in logits.chunks_exact(self.layers.len()).enumerate() {
            for (expert, weight) in self.choose(logits) {
                chosen[expert].0.push(token as i32);
                chosen[expert].1.push(weight);
            }
        }
        let device = x.device();
        let mut sum = Tensor::zeros(x.dims(), &device);
        for (expert, (tokens, weights)) in self.layers.iter().zip(chosen) {
            if tokens.is_empty() {
                continue;
            }
            let rows = tokens.len();
            let tokens = Tensor::<1, Int>::from_data(TensorData::new(tokens, [rows]), &device);
            let weights = Tensor::<2>::from_data(TensorData::new(weights, [rows, 1]), &device);
            let of_expert = expert.forward(&x.clone().select(0, tokens.clone())) * weights;
            sum = sum.select_assign(0, tokens, of_expert, burn::tensor::IndexingUpdateOp::Add);
        }
        Ok(sum)
    }

    /// The experts for a token, each with its weight.
    fn choose(&self, logits: &[f32]) -> Vec<(usize, f32)> {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut weights: Vec<(usize, f32)> = logits.iter().map(|logit| (logit - largest).exp()).enumerate().collect();
        let total: f32 = weights.iter().map(|(_, weight)| weight).sum();
        weights.sort_by(|a, b| b.1.total_cmp(&a.1));
        weights.truncate(self.per_token);
        let divisor = if self.normalise { weights.iter().map(|(_, weight)| weight).sum() } else { total };
        weights.into_iter().map(|(expert, weight)| (expert, weight / divisor)).collect()
    }
}
