//! GPUs through wgpu: each is opened once in a process, and once more whenever it is lost.
//!
//! Burn knows a GPU by its place among those of its kind and opens it once only. One that is lost (a driver that was reset,
//! a card that was taken out) stays lost under that name; opened again it is a wgpu device of our own on the same adapter,
//! with a name of its own.

use std::collections::BTreeMap;
use std::panic::catch_unwind;
use std::sync::{Mutex, PoisonError};

use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::wgpu::wgpu::{DeviceDescriptor, Features, MemoryHints};
use burn::tensor::{Device, DeviceKind, DeviceType, Tensor};
use futures_lite::future::block_on;
use gllm_core::{InvalidConfig, Result};

use super::OpenDevice;

type Kind = (&'static str, fn(usize) -> DeviceKind);

/// GPUs are counted in this order. Software adapters aren't GPUs: the CPU backend is faster than any of them.
const KINDS: [Kind; 3] = [
    ("discrete", DeviceKind::DiscreteGpu),
    ("integrated", DeviceKind::IntegratedGpu),
    ("virtual", DeviceKind::VirtualGpu),
];

/// Those that are open, by their index.
static OPEN: Mutex<BTreeMap<usize, Gpu>> = Mutex::new(BTreeMap::new());

/// A GPU that is open, and what it was opened with.
struct Gpu {
    device: OpenDevice,
    setup: WgpuSetup,
}

/// The GPU of this index, counted over discrete, then integrated, then virtual adapters.
pub(super) fn open(index: usize) -> Result<OpenDevice> {
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    let gpu = match open.get(&index) {
        Some(gpu) if computes(&gpu.device.device) => return Ok(gpu.device.clone()),
        Some(lost) => {
            tracing::warn!("{} is lost: it is opened again", lost.device.description);
            lost.again().map_err(|error| does_not_open(index, &error))?
        }
        None => Gpu::first(index)?,
    };
    let device = gpu.device.clone();
    open.insert(index, gpu);
    Ok(device)
}

impl Gpu {
    fn first(index: usize) -> Result<Self> {
        let adapters = Device::enumerate(DeviceType::Wgpu).into_vec();
        let mut gpus = KINDS.into_iter().flat_map(|(name, kind)| {
            let named = (0..adapters.len()).map(move |i| (name, kind(i)));
            named.filter(|(_, kind)| adapters.contains(&Device::wgpu(kind.clone())))
        });
        let Some((name, kind)) = gpus.nth(index) else {
            let found = format!("no such adapter among {} (software adapters don't count)", adapters.len());
            return Err(InvalidConfig::new("device", format!("a GPU with index {index}"), found).into());
        };
        let (device, setup) =
            Device::wgpu_options().device_kind(kind).init_with_setup().map_err(|error| does_not_open(index, &error))?;
        let description = format!("gpu:{index} ({name}, {})", setup.adapter.get_info().name);
        Ok(Self { device: OpenDevice { device, description }, setup })
    }

    /// A new wgpu device on the same adapter.
    fn again(&self) -> std::result::Result<Self, Box<dyn std::error::Error>> {
        let lost = &self.setup.device;
        let (device, queue) = block_on(self.setup.adapter.request_device(&DeviceDescriptor {
            // wgpu leaves it to unsafe code to ask for the experimental ones. Burn does without them.
            required_features: lost.features().difference(Features::all_experimental_mask()),
            required_limits: lost.limits(),
            memory_hints: MemoryHints::MemoryUsage,
            ..DeviceDescriptor::default()
        }))?;
        let setup = WgpuSetup { device, queue, ..self.setup.clone() };
        let device = Device::wgpu_options().setup(setup.clone()).init()?;
        Ok(Self { device: OpenDevice { device, ..self.device.clone() }, setup })
    }
}

fn does_not_open(index: usize, error: &dyn ToString) -> gllm_core::Error {
    InvalidConfig::new("device", format!("a GPU with index {index} that opens"), error.to_string()).into()
}

/// Whether what is put there can be read back.
fn computes(device: &Device) -> bool {
    let read = catch_unwind(|| Tensor::<1>::from_floats([1.0, 2.0], device).try_into_vec_as::<f32>());
    read.is_ok_and(|values| values.is_ok_and(|values| values == [1.0, 2.0]))
}

/// Vulkan in software, opened once for all tests of the crate; `None`, said on stderr, where there is none.
#[cfg(test)]
pub(crate) fn software() -> Option<(Device, WgpuSetup)> {
    static OPEN: std::sync::OnceLock<Option<(Device, WgpuSetup)>> = std::sync::OnceLock::new();
    let open = || match Device::wgpu_options().device_kind(DeviceKind::Cpu).init_with_setup() {
        Ok(opened) => Some(opened),
        Err(error) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "{error}, and in continuous integration tests may not be skipped"
            );
            eprintln!("skipped: {error}");
            None
        }
    };
    OPEN.get_or_init(open).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_lost_is_opened_again_and_again() {
        let Some((device, setup)) = software() else { return };
        assert!(computes(&device));
        let shared = Gpu { device: OpenDevice { device, description: "software".into() }, setup };
        // One that no other test computes on.
        let mut gpu = shared.again().expect("another device");
        for _ in 0..3 {
            let device = gpu.device.device.clone();
            assert!(computes(&device));
            let kept = Tensor::<1>::from_floats([1.0], &device);
            gpu.setup.device.destroy();
            assert!(!computes(&device));
            gpu = gpu.again().expect("another device");
            assert_ne!(gpu.device.device, device);
            assert!(computes(&gpu.device.device));
            // What was on it is gone; letting go of it does no harm.
            drop(kept);
            let sum = Tensor::<1>::from_floats([1.0, 2.0], &gpu.device.device).sum();
            assert!((sum.into_scalar::<f32>() - 3.0).abs() < 1e-6);
        }
    }
}
