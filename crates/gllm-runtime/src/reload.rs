//! A model that is loaded, and loaded again where it has become unsound: where it was or else, if that is allowed, on the
//! CPU.

use gllm_core::{Device, InferenceError, Result};

use crate::failure::{Failure, guarded};
use crate::load::{About, Found};

/// Where a model is loaded to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The device that was asked for.
    Asked,
    /// The CPU instead.
    Cpu,
}

/// An engine with what is known of where it is.
pub(crate) struct Loaded<E> {
    pub(crate) engine: E,
    /// The device, for people.
    pub(crate) device: String,
    pub(crate) is_cpu: bool,
}

/// Loads the model, as often as it is asked.
pub(crate) type Load<E> = Box<dyn FnMut(Place) -> Result<Loaded<E>> + Send>;

/// An engine, and how to get another.
pub(crate) struct Reloadable<E> {
    /// `None` after it was lost. Dropped before `load`, with which a runtime hears that the memory is free.
    loaded: Option<Loaded<E>>,
    load: Load<E>,
    cpu_fallback: bool,
}

impl<E> Reloadable<E> {
    /// An engine that is loaded, and what loads it again; on the CPU only if `cpu_fallback`.
    pub(crate) fn new(loaded: Loaded<E>, load: Load<E>, cpu_fallback: bool) -> Self {
        Self { loaded: Some(loaded), load, cpu_fallback }
    }

    /// The engine, unless it was lost.
    pub(crate) fn loaded(&self) -> Option<&Loaded<E>> {
        self.loaded.as_ref()
    }

    /// Whether the CPU is left where the device fails.
    pub(crate) fn may_use_cpu(&self) -> bool {
        self.cpu_fallback && !self.loaded.as_ref().is_some_and(|loaded| loaded.is_cpu)
    }

    /// Loads the model again and keeps what `is_sound`; `false` if that is lost.
    pub(crate) fn reload(&mut self, is_sound: impl Fn(&Loaded<E>) -> bool) -> bool {
        let may_use_cpu = self.may_use_cpu();
        // Both at once may be too much.
        let old = self.loaded.take();
        let _ = guarded(|| {
            drop(old);
            Ok(())
        });
        for place in [Some(Place::Asked), may_use_cpu.then_some(Place::Cpu)].into_iter().flatten() {
            match guarded(|| (self.load)(place)) {
                Ok(loaded) if is_sound(&loaded) => {
                    if place == Place::Cpu {
                        tracing::warn!("the device is lost: the model is computed on the CPU from now on");
                    }
                    self.loaded = Some(loaded);
                    return true;
                }
                Ok(_) => tracing::warn!(?place, "the model doesn't compute after it was loaded again"),
                Err(error) => tracing::warn!(%error, ?place, "the model can't be loaded again"),
            }
        }
        false
    }

    /// Another engine of the model, on the CPU.
    pub(crate) fn load_on_cpu(&mut self) -> Result<E> {
        guarded(|| (self.load)(Place::Cpu)).map(|loaded| loaded.engine)
    }
}

/// Loads a model from where it was found, with what loads it again from there.
pub(crate) fn from_found<E: 'static>(
    found: Found,
    load: fn(&Found) -> Result<(E, About)>,
) -> Result<(Loaded<E>, About, Load<E>)> {
    let read = move |found: &Found| -> Result<(Loaded<E>, About)> {
        let (engine, about) = load(found)?;
        Ok((Loaded { engine, device: about.device.clone(), is_cpu: found.is_on_cpu() }, about))
    };
    let (loaded, about) = read(&found)?;
    let again: Load<E> = Box::new(move |place| match place {
        Place::Asked => Ok(read(&found.reopened()?)?.0),
        Place::Cpu => Ok(read(&found.on(Device::Cpu)?)?.0),
    });
    Ok((loaded, about, again))
}

/// Nothing is left that computes.
pub(crate) fn lost() -> Failure {
    Failure::Other(InferenceError::Device { reason: "the device is lost, and the model can't be loaded again".into() })
}
