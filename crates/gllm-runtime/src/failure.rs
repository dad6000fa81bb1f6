//! What can go wrong in a pass, told apart by what may be done about it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gllm_core::{Error, InferenceError, OutOfMemory, Result};
use gllm_models::out_of_memory;

/// What a pass gave, or why nothing.
pub(crate) type Computed<T> = std::result::Result<T, Failure>;

/// Why a pass gave nothing.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// Fewer tokens at once may do.
    OutOfMemory(OutOfMemory),
    /// Anything else.
    Other(InferenceError),
}

impl Failure {
    /// What the caller is told.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::OutOfMemory(error) => error.into(),
            Self::Other(error) => error.into(),
        }
    }
}

/// Does `work`, a pass over `tokens` tokens on `device`. Devices report many failures as panics.
pub(crate) fn attempt<T>(tokens: usize, device: &str, work: impl FnOnce() -> Result<T>) -> Computed<T> {
    let error = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(Error::Oom(error))) => {
            // As the caller knows it, where that is known.
            let device = if device.is_empty() { error.device } else { device.into() };
            return Err(Failure::OutOfMemory(OutOfMemory { device, ..error }));
        }
        Ok(Err(Error::InferenceError(error))) => error,
        Ok(Err(error)) => InferenceError::Device { reason: error.to_string() },
        Err(panic) => InferenceError::Panicked { reason: message(panic.as_ref()) },
    };
    let no_memory = match &error {
        InferenceError::Device { reason } | InferenceError::Panicked { reason } => {
            out_of_memory(tokens, device, reason)
        }
        _ => None,
    };
    Err(no_memory.map_or(Failure::Other(error), Failure::OutOfMemory))
}

/// The same, of work that may refuse what was asked: such an error is told as it is.
pub(crate) fn attempt_request<T>(tokens: usize, device: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = attempt(tokens, device, || match work() {
        Err(error) if !matches!(error, Error::Oom(_) | Error::InferenceError(_)) => Ok(Err(error)),
        done => done.map(Ok),
    });
    done.unwrap_or_else(|failure| Err(failure.into_error()))
}

/// Turns a panic below into an error.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(InferenceError::Panicked { reason: message(panic.as_ref()) }.into()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without a message".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let error = guarded::<()>(|| panic!("shape {}", 3)).expect_err("a panic").to_string();
        assert_eq!(error, "the computation panicked: shape 3");
    }

    #[test]
    fn what_devices_say_of_memory_is_understood_however_they_say_it() {
        let fails = |work: fn() -> Result<()>| attempt(7, "gpu:0", work).expect_err("a failure");
        let said = || -> Result<()> { Err(InferenceError::Device { reason: "Out of Memory".into() }.into()) };
        let launch = || panic!("Unable to launch matmul: Cube count too big (125000, 48, 1)");
        for failure in [fails(said), fails(launch), fails(|| panic!("out of device memory allocating 5 bytes"))] {
            assert!(matches!(&failure, Failure::OutOfMemory(error) if error.tokens == 7 && error.device == "gpu:0"));
        }
        let other = fails(|| panic!("index out of bounds"));
        assert!(matches!(&other, Failure::Other(InferenceError::Panicked { .. })), "{other:?}");
    }
}
