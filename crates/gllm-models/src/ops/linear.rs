//! `y = x · W + b`, for weights that the CPU's kernels don't have.

use burn::tensor::Tensor;
use burn::tensor::module;

/// # Shapes
/// - `x`: `[tokens, inputs]`
/// - `weight`: `[inputs, outputs]`, a transposed view of the checkpoint's `[outputs, inputs]`
/// - `bias`: `[outputs]`
/// - returns `[tokens, outputs]`
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    module::linear(x, weight, bias)
}
