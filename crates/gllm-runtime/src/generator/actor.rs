//! The thread that owns a model which writes texts.

use std::time::Instant;

use gllm_core::Result;
use gllm_models::{GenerateOptions, Prompt};

use super::batch::Batch;
use super::engine::TextEngine;
use super::telemetry::Telemetry;
use super::{GenerateRequest, TextsConfig};
use crate::failure::{Failure, attempt, guarded};
use crate::load::{About, Found};
use crate::queue::inbox::{Inbox, Requests, stopped};
use crate::queue::reply::{Answer, reply};
use crate::reload::{Load, Loaded, Reloadable, from_found, lost};

/// Starts a thread that finds and loads a model and then writes texts. What is known of the model comes when it is loaded;
/// if it can't be, that says why, and requests are answered with [`gllm_core::InferenceError::Stopped`].
pub(super) fn start(
    find: impl FnOnce() -> Result<Found> + Send + 'static,
    config: TextsConfig,
) -> Result<(Inbox<GenerateRequest>, Answer<About>)> {
    start_with(move || from_found(find()?, Found::load_generator), config)
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
            let batch = Batch::new(config, Telemetry::new(&about.info.alias));
            ready.give(Ok(about));
            serve(requests, Reloadable::new(loaded, load, config.cpu_fallback), batch);
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

/// Answers requests until there won't be any more.
fn serve<E: TextEngine>(mut requests: Requests<GenerateRequest>, mut model: Reloadable<E>, mut batch: Batch<E::Text>) {
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
        if model.loaded().is_none() {
            reload(&mut model, &mut batch);
        }
        match model.loaded() {
            Some(loaded) => {
                if batch.step(&loaded.engine, &loaded.device).is_err() && !is_sound(loaded) {
                    tracing::warn!("the model doesn't compute any more: it is loaded again");
                    reload(&mut model, &mut batch);
                }
            }
            None => batch.refuse(&lost()),
        }
    }
}

/// Loads the model again. Nothing is written meanwhile; those that were begun go on with it.
fn reload<E: TextEngine>(model: &mut Reloadable<E>, batch: &mut Batch<E::Text>) {
    model.reload(is_sound);
    if let Some(Loaded { engine, .. }) = model.loaded() {
        batch.move_to(engine);
    }
}

/// Whether a model writes what every sound one does.
fn is_sound<E: TextEngine>(loaded: &Loaded<E>) -> bool {
    let Loaded { engine, device, .. } = loaded;
    let options = GenerateOptions { max_new_tokens: Some(1), ..GenerateOptions::default() };
    let written = attempt(1, device, || {
        let Ok(mut text) = engine.begin(&Prompt::Raw("a".into()), &options) else { return Ok(()) };
        engine.advance(&mut [&mut text], usize::MAX)?.into_iter().collect::<Result<()>>()
    });
    !matches!(written, Err(Failure::Other(_)))
}
