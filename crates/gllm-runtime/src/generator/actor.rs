//! The thread that owns a model which writes texts.

use std::time::Instant;

use gllm_core::{Device, InferenceError, Result};
use gllm_models::{GenerateOptions, GenerationEngine, Prompt};

use super::batch::Batch;
use super::engine::TextEngine;
use super::telemetry::Telemetry;
use super::{GenerateRequest, TextsConfig};
use crate::failure::{Failure, attempt, guarded};
use crate::load::{About, Found};
use crate::model::{Load, Loaded, Place};
use crate::queue::inbox::{Inbox, Requests, stopped};
use crate::queue::reply::{Answer, reply};

/// A model that writes texts, and how to get another where it has become unsound.
struct Model<E> {
    /// `None` after it was lost.
    loaded: Option<Loaded<E>>,
    load: Load<E>,
    cpu_fallback: bool,
}

/// Starts a thread that finds and loads a model and then writes texts. What is known of the model comes when it is loaded;
/// if it can't be, that says why, and requests are answered with [`InferenceError::Stopped`].
pub(super) fn start(
    find: impl FnOnce() -> Result<Found> + Send + 'static,
    config: TextsConfig,
) -> Result<(Inbox<GenerateRequest>, Answer<About>)> {
    let start = move || {
        let (loaded, about, found) = loaded(find()?)?;
        Ok((loaded, about, reload(found)))
    };
    start_with(start, config)
}

/// The same, whatever the model is loaded from.
pub(crate) fn start_with<E: TextEngine>(
    start: impl FnOnce() -> Result<(Loaded<E>, About, Load<E>)> + Send + 'static,
    config: TextsConfig,
) -> Result<(Inbox<GenerateRequest>, Answer<About>)> {
    config.check()?;
    let (ready, is_ready) = reply();
    let body = move |mut requests: Requests<GenerateRequest>| match guarded(start) {
        Ok((loaded, about, load)) => {
            let telemetry = Telemetry::new(&about.info.alias);
            ready.give(Ok(about));
            serve(loaded, load, config, telemetry, requests);
            tracing::debug!("the model's thread ends");
        }
        Err(error) => {
            let reason = format!("it failed to load: {error}");
            ready.give(Err(error));
            while let Some(ticket) = requests.next() {
                ticket.into_work().writer.end(Err(stopped(&reason)));
            }
        }
    };
    Ok((Inbox::spawn("gllm-generate", config.capacity, body)?, is_ready))
}

fn loaded(found: Found) -> Result<(Loaded<GenerationEngine>, About, Found)> {
    let (engine, about) = found.load_generator()?;
    Ok((Loaded { engine, device: about.device.clone(), is_cpu: found.is_on_cpu() }, about, found))
}

/// Loads a model again from where it was found.
fn reload(found: Found) -> Load<GenerationEngine> {
    Box::new(move |place| {
        let found = match place {
            Place::Asked => found.reopened()?,
            Place::Cpu => found.on(Device::Cpu)?,
        };
        Ok(loaded(found)?.0)
    })
}

/// Answers requests until there won't be any more.
fn serve<E: TextEngine>(
    loaded: Loaded<E>,
    load: Load<E>,
    config: TextsConfig,
    telemetry: Telemetry,
    mut requests: Requests<GenerateRequest>,
) {
    let mut model = Model { loaded: Some(loaded), load, cpu_fallback: config.cpu_fallback };
    let mut batch = Batch::new(config, telemetry);
    loop {
        if batch.is_idle() {
            let Some(ticket) = requests.next() else { return };
            batch.push(ticket);
        }
        while let Some(ticket) = requests.try_next() {
            batch.push(ticket);
        }
        if requests.is_cancelled() {
            batch.stop();
            continue;
        }
        requests.sweep(Instant::now());
        if model.loaded.is_none() {
            model.reload(&mut batch);
        }
        match &model.loaded {
            Some(Loaded { engine, device, .. }) => {
                if batch.step(engine, device).is_err() && !is_sound(engine, device) {
                    tracing::warn!("the model doesn't compute any more: it is loaded again");
                    model.reload(&mut batch);
                }
            }
            None => batch.refuse(&lost()),
        }
    }
}

impl<E: TextEngine> Model<E> {
    /// Loads the model again, where it was or else, if that is allowed, on the CPU. Nothing is written meanwhile.
    fn reload(&mut self, batch: &mut Batch<E::Text>) {
        let was_on_cpu = self.loaded.as_ref().is_some_and(|loaded| loaded.is_cpu);
        // Both at once may be too much.
        let old = self.loaded.take();
        let _ = guarded(|| {
            drop(old);
            Ok(())
        });
        let may_use_cpu = self.cpu_fallback && !was_on_cpu;
        for place in [Some(Place::Asked), may_use_cpu.then_some(Place::Cpu)].into_iter().flatten() {
            match guarded(|| (self.load)(place)) {
                Ok(loaded) if is_sound(&loaded.engine, &loaded.device) => {
                    if place == Place::Cpu {
                        tracing::warn!("the device is lost: the model is computed on the CPU from now on");
                    }
                    batch.move_to(&loaded.engine);
                    self.loaded = Some(loaded);
                    return;
                }
                Ok(_) => tracing::warn!(?place, "the model doesn't compute after it was loaded again"),
                Err(error) => tracing::warn!(%error, ?place, "the model can't be loaded again"),
            }
        }
    }
}

/// Whether a model writes what every sound one does.
fn is_sound<E: TextEngine>(engine: &E, device: &str) -> bool {
    let options = GenerateOptions { max_new_tokens: Some(1), ..GenerateOptions::default() };
    let written = attempt(1, device, || {
        let Ok(mut text) = engine.begin(&Prompt::Raw("a".into()), &options) else { return Ok(()) };
        engine.advance(&mut [&mut text], usize::MAX)?.into_iter().collect::<Result<()>>()
    });
    !matches!(written, Err(Failure::Other(_)))
}

fn lost() -> Failure {
    Failure::Other(InferenceError::Device { reason: "the device is lost, and the model can't be loaded again".into() })
}
