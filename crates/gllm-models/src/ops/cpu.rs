//! Hand-written kernels for the flex backend.
//!
//! They reach Burn through its backend extension: a trait over backends, implemented for flex, and dispatched by the
//! tensor. The functions of [`crate::ops`] call them where [`runs_here`] holds, and their composed body elsewhere.

mod gelu;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Device, Tensor};
use burn_flex::FlexTensor;

/// Operations that have a kernel.
#[backend_extension(Flex)]
pub(crate) trait Kernels: Backend {
    /// `x · Φ(x)` for each element.
    fn gelu_erf(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Kernels for Flex {
    fn gelu_erf(x: FlexTensor) -> FlexTensor {
        // Contiguous from its start, and not shared: the linear layer before made it, and it is changed in place.
        let mut x = if x.is_contiguous() { x } else { x.to_contiguous() };
        gelu::gelu_in_place(x.storage_mut());
        x
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
