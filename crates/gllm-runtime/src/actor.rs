//! A thread that owns a model and answers requests until the last handle is gone.
//!
//! Invariant: every request is answered, also when the model failed to load or a computation panics.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use gllm_core::{Error, InferenceError, Result};

use crate::failure::guarded;

/// Requests that may wait before senders have to.
const INBOX: usize = 64;

/// A request that carries the way to its answer.
pub(crate) trait Request: Send + Sized + 'static {
    /// What answers it.
    type Engine;

    /// Computes the answer and hands it over.
    fn answer(self, engine: &Self::Engine);

    /// Hands over an error.
    fn refuse(self, error: Error);
}

/// Starts a thread called `name` that loads a model and then answers requests. `ready` gets what `load` returns beside
/// the model, or why it failed; then requests are answered with [`InferenceError::Stopped`].
pub(crate) fn spawn<R: Request, T: Send + 'static>(
    name: &str,
    load: impl FnOnce() -> Result<(R::Engine, T)> + Send + 'static,
    ready: impl FnOnce(Result<T>) + Send + 'static,
) -> Result<Sender<R>> {
    let (inbox, requests) = bounded::<R>(INBOX);
    let body = move || match guarded(load) {
        Ok((engine, loaded)) => {
            ready(Ok(loaded));
            requests.iter().for_each(|request| request.answer(&engine));
            tracing::debug!("the last handle is gone, the model's thread ends");
        }
        Err(error) => {
            let reason = format!("it failed to load: {error}");
            ready(Err(error));
            // A request may be on its way.
            requests.iter().for_each(|request| request.refuse(stopped(&reason)));
        }
    };
    thread::Builder::new().name(name.into()).spawn(body)?;
    Ok(inbox)
}

/// Hands `request` to the model's thread. Waits while 64 requests are before it.
pub(crate) fn submit<R: Request>(inbox: &Sender<R>, request: R) {
    if let Err(refused) = inbox.send(request) {
        refused.into_inner().refuse(stopped("it can't be reached"));
    }
}

/// Waits for what `ready` of [`spawn`] is told.
pub(crate) fn loaded<T>(is_ready: &Receiver<Result<T>>) -> Result<T> {
    is_ready.recv().map_err(|_| stopped("it ended before its model was loaded"))?
}

fn stopped(reason: &str) -> Error {
    InferenceError::Stopped { reason: reason.into() }.into()
}
