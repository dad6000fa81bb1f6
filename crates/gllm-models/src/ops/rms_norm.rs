//! Root-mean-square normalisation: `y = x / √(mean(x²) + eps) · weight`.
//!
//! Source: <https://arxiv.org/abs/1910.07467>, eq. 4.

use burn::tensor::Tensor;

#[cfg(feature = "cpu")]
use super::cpu;
use crate::layers::RmsNorm;

/// # Shapes
/// - `x`: `[tokens, hidden]`, returns the same
pub(crate) fn rms_norm(x: Tensor<2>, norm: &RmsNorm) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if cpu::runs_here(&x.device()) {
        return cpu::update(x, &mut |x| cpu::rms_norm::rms_norm(x, norm.host(), norm.eps() as f32));
    }
    let mean = (x.clone() * x.clone()).mean_dim(1);
    x / (mean + norm.eps()).sqrt() * norm.weight().unsqueeze()
}
