//! Layer normalisation, alone and behind a residual: `y = norm(x + residual)`.
//!
//! Source: <https://arxiv.org/abs/1607.06450>, eq. 4, with the biased variance, as in torch.

use burn::tensor::Tensor;
use burn::tensor::module;

/// # Shapes
/// - `x`: `[tokens, hidden]`, returns the same
/// - `weight`, `bias`: `[hidden]`
pub(crate) fn norm(x: Tensor<2>, weight: Tensor<1>, bias: Option<Tensor<1>>, eps: f64) -> Tensor<2> {
    module::layer_norm(x, weight, bias, eps)
}

/// # Shapes
/// - `x`, `residual`: `[tokens, hidden]`, returns the same
/// - `weight`, `bias`: `[hidden]`
pub(crate) fn add_norm(
    x: Tensor<2>,
    residual: Tensor<2>,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    eps: f64,
) -> Tensor<2> {
    norm(x + residual, weight, bias, eps)
}
