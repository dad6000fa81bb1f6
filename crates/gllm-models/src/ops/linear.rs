//! `y = x · W + b`.

use burn::tensor::Tensor;
use burn::tensor::module;

#[cfg(feature = "cpu")]
use super::cpu;

/// # Shapes
/// - `x`: `[tokens, inputs]`
/// - `weight`: `[inputs, outputs]`, a transposed view of the checkpoint's `[outputs, inputs]`
/// - `bias`: `[outputs]`
/// - returns `[tokens, outputs]`
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if cpu::runs_here(&x.device()) {
        return on_flex(x, weight, bias);
    }
    module::linear(x, weight, bias)
}

/// As on any backend, but with the same roundings for a row whatever stands beside it.
///
/// The matrix product below flex sums in another order where the output has a single row or at most 256 elements, so
/// a small input is given more rows, of zeros, until the order is the usual one. Only heads, and models of toy size,
/// have products so small.
#[cfg(feature = "cpu")]
fn on_flex(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    const REORDERED: usize = 256;

    let [tokens, inputs] = x.dims();
    let [_, outputs] = weight.dims();
    let rows = (REORDERED / outputs + 1).max(2);
    if tokens >= rows {
        return module::linear(x, weight, bias);
    }
    let zeros = Tensor::zeros([rows - tokens, inputs], &x.device());
    let padded = module::linear(Tensor::cat(vec![x, zeros], 0), weight, bias);
    padded.slice([0..tokens, 0..outputs])
}
