//! Where a model is computed, and in which numbers.

use burn::tensor::Device;
use gllm_core::Precision;

/// A device, and the numbers that weights which are floats in their files are multiplied in there.
#[derive(Clone, Debug)]
pub struct Target {
    device: Device,
    /// One that the device has; never [`Precision::Auto`].
    precision: Precision,
}

impl Target {
    /// `device`, with `precision` or the nearest that it has; logs it where that is another one.
    #[must_use]
    pub fn new(device: Device, precision: Precision) -> Self {
        let taken = available(&device, precision);
        if taken == precision {
            return Self { device, precision };
        }
        if precision == Precision::Auto {
            tracing::debug!(%taken, "precision");
        } else {
            tracing::info!(requested = %precision, %taken, "precision: this device has no kernels for it");
        }
        Self { device, precision: taken }
    }

    /// Where tensors are.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What linear layers are multiplied in; never [`Precision::Auto`].
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.precision
    }
}

/// In `f32`.
impl From<&Device> for Target {
    fn from(device: &Device) -> Self {
        Self { device: device.clone(), precision: Precision::F32 }
    }
}

impl From<&Target> for Target {
    fn from(target: &Target) -> Self {
        target.clone()
    }
}

/// What there are kernels for.
#[cfg(feature = "cpu")]
fn available(device: &Device, precision: Precision) -> Precision {
    use crate::ops::{has_bf16, has_int8, has_kernels};

    match precision {
        Precision::Auto | Precision::Bf16 if has_kernels(device) && has_bf16() => Precision::Bf16,
        Precision::Int8 if has_kernels(device) && has_int8() => Precision::Int8,
        _ => Precision::F32,
    }
}

/// What there are kernels for.
#[cfg(not(feature = "cpu"))]
fn available(_device: &Device, _precision: Precision) -> Precision {
    Precision::F32
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Precision; 4] = [Precision::Auto, Precision::F32, Precision::Bf16, Precision::Int8];

    #[cfg(feature = "cpu")]
    #[test]
    fn the_fast_cpu_backend_has_every_precision_that_its_processor_has() {
        let taken = ALL.map(|precision| Target::new(Device::flex(), precision).precision());
        let bf16 = if crate::ops::has_bf16() { Precision::Bf16 } else { Precision::F32 };
        let int8 = if crate::ops::has_int8() { Precision::Int8 } else { Precision::F32 };
        assert_eq!(taken, [bf16, Precision::F32, bf16, int8]);
    }

    #[cfg(feature = "ndarray")]
    #[test]
    fn other_backends_compute_in_f32() {
        for precision in ALL {
            assert_eq!(Target::new(crate::device::ndarray(), precision).precision(), Precision::F32);
        }
    }
}
