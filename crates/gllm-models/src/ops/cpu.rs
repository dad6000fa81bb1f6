//! Hand-written kernels for the flex backend.
//!
//! They reach Burn through its backend extension: a trait over backends, implemented for flex, and dispatched by the
//! tensor. The functions of [`crate::ops`] call them where [`runs_here`] holds, and their composed body elsewhere.

pub(crate) mod attention;
pub(super) mod awake;
mod bf16;
pub(crate) mod buffers;
mod dense;
mod erf;
mod exp;
mod float_linear;
pub(crate) mod gate;
mod int8;
pub(crate) mod l2_norm;
pub(crate) mod layer_norm;
pub(crate) mod map;
pub(crate) mod rms_norm;
#[cfg(test)]
mod roofline;
mod rows;
pub(crate) mod share;
mod simd;

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};
use gllm_quant::QLinear;

use self::bf16::Bf16Linear;
use self::int8::Int8Linear;
use self::share::Then;
use crate::Activation;

pub(crate) use self::float_linear::FloatLinear;

/// Makes elements of elements; the second argument is memory for them, with any elements in it.
pub(crate) type Map<'a> = &'a mut dyn FnMut(&[f32], Vec<f32>) -> Vec<f32>;

/// The ways from a tensor to its elements and back.
#[backend_extension(Flex)]
pub(crate) trait Kernels: Backend {
    /// Rows of `width`, which `kernel` makes of the elements of `x`, in memory that it is given.
    fn map(x: FloatTensor<Self>, width: usize, kernel: Map<'_>) -> FloatTensor<Self>;

    /// `x` as `kernel` changes its elements.
    fn update(x: FloatTensor<Self>, kernel: &mut dyn FnMut(&mut [f32])) -> FloatTensor<Self>;

    /// `x` as `kernel` changes its elements by those of `y`.
    fn update_by(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        kernel: &mut dyn FnMut(&mut [f32], &[f32]),
    ) -> FloatTensor<Self>;
}

impl Kernels for Flex {
    fn map(x: FlexTensor, width: usize, kernel: Map<'_>) -> FlexTensor {
        let x = contiguous(x);
        let y = kernel(x.storage(), buffers::take(x.layout().shape()[0] * width));
        let data = x.data_arc();
        drop(x);
        // Nobody else has it?
        if let Ok(bytes) = Arc::try_unwrap(data)
            && let Ok(buffer) = bytes.try_into_vec()
        {
            buffers::give(buffer);
        }
        rows(y, width)
    }

    fn update(x: FlexTensor, kernel: &mut dyn FnMut(&mut [f32])) -> FlexTensor {
        // Changed in place where nobody else has it.
        let mut x = contiguous(x);
        kernel(x.storage_mut());
        x
    }

    fn update_by(x: FlexTensor, y: FlexTensor, kernel: &mut dyn FnMut(&mut [f32], &[f32])) -> FlexTensor {
        let (mut x, y) = (contiguous(x), contiguous(y));
        kernel(x.storage_mut(), y.storage());
        x
    }
}

/// With its elements, and no others, in the order of its shape.
fn contiguous(x: FlexTensor) -> FlexTensor {
    if x.as_slice::<f32>().is_some_and(|elements| size_of_val(elements) == x.bytes().len()) {
        x
    } else {
        x.to_contiguous()
    }
}

fn rows(elements: Vec<f32>, width: usize) -> FlexTensor {
    let shape = Shape::new([elements.len() / width, width]);
    FlexTensor::new(Bytes::from_elems(elements), Layout::contiguous(shape), DType::F32)
}

/// Whether the kernels are for tensors on `device`.
pub(crate) fn runs_here(device: &Device) -> bool {
    *device == Device::flex()
}

/// Rows of `width`, which `kernel` makes of the elements of `x`, in memory that it is given.
pub(crate) fn map(x: Tensor<2>, width: usize, kernel: Map<'_>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Kernels>::map(x.into_dispatch(), width, kernel))
}

/// `x` as `kernel` changes its elements by those of `y`.
pub(crate) fn update_by(x: Tensor<2>, y: Tensor<2>, kernel: &mut dyn FnMut(&mut [f32], &[f32])) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Kernels>::update_by(x.into_dispatch(), y.into_dispatch(), kernel))
}

/// `x` as `kernel` changes its elements.
pub(crate) fn update(x: Tensor<2>, kernel: &mut dyn FnMut(&mut [f32])) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Kernels>::update(x.into_dispatch(), kernel))
}

/// Whether this processor multiplies bf16 faster than f32.
pub(crate) fn has_bf16() -> bool {
    Bf16Linear::is_fast()
}

/// Whether there is a kernel for int8 on this processor.
pub(crate) fn has_int8() -> bool {
    Int8Linear::is_fast()
}

/// # Shapes
/// - `x`: `[tokens, inputs]`, on flex
/// - returns `[tokens, outputs]`
pub(crate) fn float_linear(x: Tensor<2>, layer: &FloatLinear, then: Activation) -> Tensor<2> {
    let then = then.kernel().unwrap_or(Then::Nothing);
    map(x, layer.outputs(), &mut |x, y| layer.forward(x, then, y))
}

/// `down(then(up(x)))`.
///
/// # Shapes
/// - `x`: `[tokens, inputs of up]`, on flex
/// - returns `[tokens, outputs of down]`
pub(crate) fn feed_forward(x: Tensor<2>, up: &FloatLinear, then: Activation, down: &FloatLinear) -> Tensor<2> {
    let then = then.kernel().unwrap_or(Then::Nothing);
    map(x, down.outputs(), &mut |x, y| float_linear::feed_forward(x, up, then, down, y))
}

/// # Shapes
/// - `x`: `[tokens, inputs]`, on flex
/// - returns `[tokens, outputs of all layers]`
pub(crate) fn packed_linears(x: Tensor<2>, layers: &[&QLinear]) -> Tensor<2> {
    let outputs = layers.iter().map(|layer| layer.outputs()).sum();
    map(x, outputs, &mut |x, y| QLinear::forward_together(layers, x, y))
}
