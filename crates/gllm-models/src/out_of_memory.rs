//! What devices say when they have no memory left, told from everything else that can go wrong in a pass.

use burn::tensor::Device;
use gllm_core::{Error, InferenceError, OutOfMemory, Result};

use crate::device::is_cpu;

/// Does `work`, a pass over `tokens` tokens on `device`.
///
/// # Errors
/// Those of `work`, and [`OutOfMemory`] where the device fails for lack of it.
pub(crate) fn pass<T>(tokens: usize, device: &Device, work: impl FnOnce() -> Result<T>) -> Result<T> {
    work().map_err(|error| match error {
        Error::InferenceError(InferenceError::Device { reason }) => {
            let device = if is_cpu(device) { "cpu".into() } else { format!("{device:?}") };
            let no_memory = out_of_memory(tokens, &device, &reason);
            no_memory.map_or_else(|| InferenceError::Device { reason }.into(), Into::into)
        }
        error => error,
    })
}

/// The error of a pass over `tokens` tokens, with the line in which the device says that it has no memory left, or that
/// the pass is larger than it can start; `None` where it says neither. What it says is text by the time it gets here; these
/// are the words of Burn's GPU backends (`IoError` and `LaunchError` of cubecl 0.11), wgpu and Vulkan.
#[must_use]
pub fn out_of_memory(tokens: usize, device: &str, reason: &str) -> Option<OutOfMemory> {
    const SAID: [&str; 9] = [
        "out of memory",
        "out-of-memory",
        "out of device memory",
        "can't allocate buffer of size",
        "not enough memory left",
        "error_out_of_",
        "cube count too big",
        // What is said of results, where memory couldn't be had on the way.
        "memory location was never initialized",
        "was never allocated: the reservation behind it failed",
    ];
    let says = |line: &&str| SAID.iter().any(|said| line.to_ascii_lowercase().contains(said));
    let reason = reason.lines().find(says)?.trim().into();
    Some(OutOfMemory { tokens, device: device.into(), needed_bytes: None, limit_bytes: None, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: &str) -> Error {
        let work = || Err::<(), _>(InferenceError::Device { reason: reason.into() }.into());
        pass(7, &Device::default(), work).expect_err("a failure")
    }

    #[test]
    fn what_devices_say_of_memory_is_found_in_what_they_say() {
        // As an NVIDIA H100 did, of a buffer that is larger than any may be.
        let said = "An error happened during execution\nCaused by:\n  Several failures at once\nCaused by:\n  An IO error \
            happened\nCaused by:\n  can't allocate buffer of size: 4294967296\nNo backtrace available";
        let Error::Oom(error) = failed(said) else { panic!("not of memory") };
        assert_eq!((error.tokens, error.reason.as_str()), (7, "can't allocate buffer of size: 4294967296"));
        assert!(matches!(failed("wgpu error: Out of Memory"), Error::Oom(_)));
        assert!(matches!(failed("couldn't find resource: Memory location was never initialized"), Error::Oom(_)));
        let other = failed("device lost");
        assert!(matches!(&other, Error::InferenceError(InferenceError::Device { reason }) if reason == "device lost"));
    }
}
