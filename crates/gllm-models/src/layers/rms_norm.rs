//! Root-mean-square normalisation with its weights.

use burn::tensor::{Bytes, Tensor};
use gllm_core::Result;

use crate::{Weights, ops};

/// `weight`: `[width]`, where its kernels read it.
#[derive(Debug)]
pub(crate) struct RmsNorm {
    weight: Tensor<1>,
    #[cfg(feature = "cpu")]
    host: Vec<f32>,
    eps: f64,
}

impl RmsNorm {
    /// Reads `weight`, to which `offset` is added.
    pub(crate) fn load(weights: &Weights<'_>, width: usize, eps: f64, offset: f32) -> Result<Self> {
        let values = weights.values("weight", width)?;
        let values: Vec<f32> = values.into_iter().map(|value| value + offset).collect();
        Ok(Self {
            weight: weights.upload(Bytes::from_elems(values.clone()), [width]),
            #[cfg(feature = "cpu")]
            host: values,
            eps,
        })
    }

    /// `[width]`.
    pub(crate) fn weight(&self) -> Tensor<1> {
        self.weight.clone()
    }

    /// `[width]`, for kernels.
    #[cfg(feature = "cpu")]
    pub(crate) fn host(&self) -> &[f32] {
        &self.host
    }

    /// Added to the mean square.
    pub(crate) fn eps(&self) -> f64 {
        self.eps
    }

    /// # Shapes
    /// - `x`: `[rows, width]`, returns the same
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::rms_norm(x, self)
    }
}
