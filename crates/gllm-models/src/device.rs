//! From the device that a caller asks for to one that Burn computes on, and back to the host.

use burn::tensor::{Device as BurnDevice, Tensor, TensorReadError};
use gllm_core::{Device, InferenceError, Result};

#[cfg(feature = "wgpu")]
pub(crate) mod gpu;

/// A device that is ready to compute.
#[derive(Clone, Debug)]
pub struct OpenDevice {
    /// Burn's name for it.
    pub device: BurnDevice,
    /// For people: what was taken, such as `cpu (flex)`.
    pub description: String,
}

impl OpenDevice {
    /// Whether it is a CPU backend.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        is_cpu(&self.device)
    }
}

/// Opens `device`; [`Device::Auto`] takes a real GPU where there is one, else the CPU, and logs which.
///
/// # Errors
/// [`gllm_core::InvalidConfig`] if that GPU isn't there, or the backend for it wasn't compiled in.
pub fn open(device: Device) -> Result<OpenDevice> {
    let opened = match device {
        Device::Cpu => cpu(),
        Device::Gpu(index) => gpu(index),
        // `Auto`, and what may be added to the enum.
        _ => gpu(0).or_else(|no_gpu| {
            tracing::debug!(%no_gpu, "no GPU");
            cpu()
        }),
    }?;
    tracing::info!(requested = %device, taken = opened.description, "device");
    Ok(opened)
}

/// The fast CPU backend.
#[cfg(feature = "cpu")]
#[expect(clippy::unnecessary_wraps, reason = "one signature for every set of features")]
fn cpu() -> Result<OpenDevice> {
    Ok(OpenDevice { device: BurnDevice::flex(), description: "cpu (flex)".into() })
}

/// The portable CPU backend, where it is the only one.
#[cfg(all(feature = "ndarray", not(feature = "cpu")))]
#[expect(clippy::unnecessary_wraps, reason = "one signature for every set of features")]
fn cpu() -> Result<OpenDevice> {
    Ok(OpenDevice { device: ndarray(), description: "cpu (ndarray)".into() })
}

#[cfg(not(any(feature = "cpu", feature = "ndarray")))]
fn cpu() -> Result<OpenDevice> {
    let expected = "a build with the Cargo feature `cpu` or `ndarray`";
    Err(gllm_core::InvalidConfig::new("device", expected, "`cpu` in a build without them").into())
}

#[cfg(feature = "wgpu")]
use gpu::open as gpu;

#[cfg(not(feature = "wgpu"))]
fn gpu(_index: usize) -> Result<OpenDevice> {
    let expected = "a build with the Cargo feature `wgpu`";
    Err(gllm_core::InvalidConfig::new("device", expected, "`gpu` in a build without it").into())
}

/// burn-ndarray, which its authors call deprecated in favour of burn-flex; it stays the second, independent
/// CPU backend for as long as the pinned Burn has it.
#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "see above")]
#[must_use]
pub fn ndarray() -> BurnDevice {
    BurnDevice::ndarray()
}

/// Whether tensors on `device` are computed by a CPU backend.
pub(crate) fn is_cpu(device: &BurnDevice) -> bool {
    #[cfg(feature = "cpu")]
    if *device == BurnDevice::flex() {
        return true;
    }
    #[cfg(feature = "ndarray")]
    if *device == ndarray() {
        return true;
    }
    let _ = device;
    false
}

/// The elements of `x`, on the host.
pub(crate) fn to_host(x: Tensor<2>) -> Result<Vec<f32>> {
    let failed = |e: TensorReadError| InferenceError::Device { reason: e.to_string() };
    Ok(x.try_into_vec_as::<f32>().map_err(failed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_names_it() {
        let error = open(Device::Gpu(7)).expect_err("no eighth GPU").to_string();
        assert!(error.starts_with("invalid `device`: expected a"), "{error}");
    }

    #[cfg(feature = "cpu")]
    #[test]
    fn the_cpu_is_always_there() {
        assert_eq!(open(Device::Cpu).expect("a CPU").description, "cpu (flex)");
    }
}
