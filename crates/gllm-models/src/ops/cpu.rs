//! Hand-written kernels for the flex backend.
//!
//! They reach Burn through its backend extension: a trait over backends, implemented for flex, and dispatched by the
//! tensor. The functions of [`crate::ops`] call them where [`runs_here`] holds, and their composed body elsewhere.

pub(crate) mod attention;
mod exp;
pub(crate) mod gate;
mod gelu;
pub(crate) mod rms_norm;
mod simd;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};
use gllm_quant::QLinear;

/// The ways from a tensor to its elements and back.
#[backend_extension(Flex)]
pub(crate) trait Kernels: Backend {
    /// Rows of `width`, which `kernel` makes of the elements of `x`.
    fn map(x: FloatTensor<Self>, width: usize, kernel: &mut dyn FnMut(&[f32]) -> Vec<f32>) -> FloatTensor<Self>;

    /// `x` as `kernel` changes its elements.
    fn update(x: FloatTensor<Self>, kernel: &mut dyn FnMut(&mut [f32])) -> FloatTensor<Self>;
}

impl Kernels for Flex {
    fn map(x: FlexTensor, width: usize, kernel: &mut dyn FnMut(&[f32]) -> Vec<f32>) -> FlexTensor {
        let y = match x.as_slice() {
            Some(elements) => kernel(elements),
            None => kernel(x.to_contiguous().storage()),
        };
        let shape = Shape::new([y.len() / width, width]);
        FlexTensor::new(Bytes::from_elems(y), Layout::contiguous(shape), DType::F32)
    }

    fn update(x: FlexTensor, kernel: &mut dyn FnMut(&mut [f32])) -> FlexTensor {
        // Contiguous from its start, and changed in place where nobody else has it.
        let mut x = if x.is_contiguous() { x } else { x.to_contiguous() };
        kernel(x.storage_mut());
        x
    }
}

/// Whether the kernels are for tensors on `device`.
pub(crate) fn runs_here(device: &Device) -> bool {
    *device == Device::flex()
}

/// Rows of `width`, which `kernel` makes of the elements of `x`.
pub(crate) fn map(x: Tensor<2>, width: usize, kernel: &mut dyn FnMut(&[f32]) -> Vec<f32>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Kernels>::map(x.into_dispatch(), width, kernel))
}

/// `x` as `kernel` changes its elements.
pub(crate) fn update(x: Tensor<2>, kernel: &mut dyn FnMut(&mut [f32])) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Kernels>::update(x.into_dispatch(), kernel))
}

/// # Shapes
/// - `x`: `[tokens, width]`, on flex; returns the same
pub(crate) fn gelu_erf(x: Tensor<2>) -> Tensor<2> {
    update(x, &mut gelu::gelu_in_place)
}

/// # Shapes
/// - `x`: `[tokens, inputs]`, on flex
/// - returns `[tokens, outputs of all layers]`
pub(crate) fn packed_linears(x: Tensor<2>, layers: &[&QLinear]) -> Tensor<2> {
    let outputs = layers.iter().map(|layer| layer.outputs()).sum();
    map(x, outputs, &mut |x| QLinear::forward_together(layers, x))
}
