//! Hand-written kernels for the flex backend.
//!
//! They reach Burn through its backend extension: a trait over backends, implemented for flex, and dispatched by the
//! tensor. The functions of [`crate::ops`] call them where [`runs_here`] holds, and their composed body elsewhere.

mod gelu;

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};
use gllm_quant::QLinear;

/// Operations that have a kernel.
#[backend_extension(Flex)]
pub(crate) trait Kernels: Backend {
    /// `x · Φ(x)` for each element.
    fn gelu_erf(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x · Wᵀ + b` on packed weights.
    fn packed_linear(x: FloatTensor<Self>, layer: Arc<QLinear>) -> FloatTensor<Self>;
}

impl Kernels for Flex {
    fn gelu_erf(x: FlexTensor) -> FlexTensor {
        // Contiguous from its start, and not shared: the linear layer before made it, and it is changed in place.
        let mut x = if x.is_contiguous() { x } else { x.to_contiguous() };
        gelu::gelu_in_place(x.storage_mut());
        x
    }

    fn packed_linear(x: FlexTensor, layer: Arc<QLinear>) -> FlexTensor {
        let y = match x.as_slice() {
            Some(rows) => layer.forward(rows),
            None => layer.forward(x.to_contiguous().storage()),
        };
        let shape = Shape::new([y.len() / layer.outputs(), layer.outputs()]);
        FlexTensor::new(Bytes::from_elems(y), Layout::contiguous(shape), DType::F32)
    }
}

/// Whether the kernels are for tensors on `device`.
pub(crate) fn runs_here(device: &Device) -> bool {
    *device == Device::flex()
}

/// # Shapes
/// - `x`: `[tokens, width]`, on flex; returns the same
pub(crate) fn gelu_erf(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Kernels>::gelu_erf(x.into_dispatch()))
}

/// # Shapes
/// - `x`: `[tokens, inputs]`, on flex
/// - returns `[tokens, outputs]`
pub(crate) fn packed_linear(x: Tensor<2>, layer: &Arc<QLinear>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Kernels>::packed_linear(x.into_dispatch(), layer.clone()))
}
