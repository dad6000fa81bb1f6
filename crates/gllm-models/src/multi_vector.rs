//! The head that gives a text a vector for each of its tokens, for late interaction.
//!
//! Source: <https://arxiv.org/abs/2402.03216>, section 3.2, and `M3Embedder` of FlagEmbedding: every token but the
//! first, each of length 1.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use gllm_core::{MultiVector, Result};
use gllm_quant::WeightFiles;

use crate::device::to_host;
use crate::layers::Linear;
use crate::{Sequences, Weights, ops};

/// Hidden states to a vector for each token.
#[derive(Debug)]
pub struct MultiVectorHead {
    linear: Linear,
    dimensions: usize,
}

impl MultiVectorHead {
    /// Reads the linear layer in the file at `path`.
    pub(crate) fn load(path: &Path, hidden: usize, device: &Device) -> Result<Self> {
        let linear = |weights: &Weights<'_>| Linear::load(weights, hidden, hidden, true);
        Ok(Self { linear: Weights::read(&WeightFiles::open_file(path)?, device, linear)?, dimensions: hidden })
    }

    /// The vectors of each sequence, whose hidden states are `hidden` (`[tokens, hidden]`).
    ///
    /// # Errors
    /// [`gllm_core::InferenceError`] if the device fails.
    pub fn forward(&self, hidden: &Tensor<2>, sequences: &Sequences) -> Result<Vec<MultiVector>> {
        let values = to_host(ops::l2_normalize(self.linear.forward(hidden.clone())))?;
        let mut rows = values.chunks_exact(self.dimensions).map(<[f32]>::to_vec);
        let vectors = sequences.lengths().iter().map(|&length| {
            let vectors = rows.by_ref().take(length).skip(1).collect();
            MultiVector { vectors }
        });
        Ok(vectors.collect())
    }
}
