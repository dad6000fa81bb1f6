//! Layer normalisation, alone and behind a residual: `y = norm(x + residual)`.
//!
//! Source: <https://arxiv.org/abs/1607.06450>, eq. 4, with the biased variance, as in torch.

use burn::tensor::Tensor;
use burn::tensor::module;

#[cfg(feature = "cpu")]
use super::cpu::{self, layer_norm::layer_norm};
use crate::layers::LayerNorm;

/// # Shapes
/// - `x`: `[tokens, hidden]`, returns the same
pub(crate) fn norm(x: Tensor<2>, norm: &LayerNorm) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if cpu::runs_here(&x.device()) {
        return cpu::update(x, &mut |x| layer_norm(x, None, norm.host()));
    }
    module::layer_norm(x, norm.weight(), norm.bias(), norm.eps())
}

/// # Shapes
/// - `x`, `residual`: `[tokens, hidden]`, returns the same
pub(crate) fn add_norm(x: Tensor<2>, residual: Tensor<2>, norm: &LayerNorm) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if cpu::runs_here(&x.device()) {
        return cpu::update_by(x, residual, &mut |x, residual| layer_norm(x, Some(residual), norm.host()));
    }
    self::norm(x + residual, norm)
}
