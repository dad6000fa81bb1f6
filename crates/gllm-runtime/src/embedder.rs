//! The thread that owns an embedding model.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use gllm_core::{EmbeddingResponse, Error, InferenceError, Result};
use gllm_models::{EmbedOptions, EmbeddingEngine};

/// Requests that may wait before senders have to.
const INBOX: usize = 64;

type Respond = Box<dyn FnOnce(Result<EmbeddingResponse>) + Send>;

struct Request {
    texts: Vec<String>,
    options: EmbedOptions,
    respond: Respond,
}

/// A way to a thread that owns an embedding model. Clones share the thread.
#[derive(Clone, Debug)]
pub struct EmbedderHandle {
    inbox: Sender<Request>,
}

impl EmbedderHandle {
    /// Starts a thread that loads a model and then answers requests. `ready` gets what `load` returns beside
    /// the model, or why it failed; then requests are answered with [`InferenceError::Stopped`].
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no thread to give.
    pub fn spawn<T: Send + 'static>(
        load: impl FnOnce() -> Result<(EmbeddingEngine, T)> + Send + 'static,
        ready: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<Self> {
        let (inbox, requests) = bounded(INBOX);
        let body = move || match guarded(load) {
            Ok((engine, loaded)) => {
                ready(Ok(loaded));
                serve(&engine, &requests);
            }
            Err(error) => {
                let reason = format!("it failed to load: {error}");
                ready(Err(error));
                // A request may be on its way, and every request gets an answer.
                for Request { respond, .. } in &requests {
                    respond(Err(stopped(&reason)));
                }
            }
        };
        thread::Builder::new().name("gllm-embedder".into()).spawn(body)?;
        Ok(Self { inbox })
    }

    /// Hands `texts` to the model's thread, which calls `respond` with the answer. Waits while 64 requests are
    /// before it.
    pub fn submit(
        &self,
        texts: Vec<String>,
        options: EmbedOptions,
        respond: impl FnOnce(Result<EmbeddingResponse>) + Send + 'static,
    ) {
        let request = Request { texts, options, respond: Box::new(respond) };
        if let Err(refused) = self.inbox.send(request) {
            (refused.into_inner().respond)(Err(stopped("it can't be reached")));
        }
    }
}

fn stopped(reason: &str) -> Error {
    InferenceError::Stopped { reason: reason.into() }.into()
}

fn serve(engine: &EmbeddingEngine, requests: &Receiver<Request>) {
    for Request { texts, options, respond } in requests {
        respond(guarded(|| engine.embed(&texts, &options)));
    }
    tracing::debug!("the last handle is gone, the embedder's thread ends");
}

/// Turns a panic below into an error, so that every request gets an answer.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<&str>().map(ToString::to_string);
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        let reason = message.unwrap_or_else(|| "a panic without a message".into());
        Err(Error::from(InferenceError::Device { reason }))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use gllm_core::InvalidConfig;

    use super::*;

    fn assert_send_sync<T: Send + Sync + Clone>(_: &T) {}

    #[test]
    fn a_model_that_fails_to_load_is_reported_and_refuses_requests() {
        let (ready, is_ready) = mpsc::channel();
        let load = || Err::<(EmbeddingEngine, ()), _>(InvalidConfig::new("device", "a", "b").into());
        let handle = EmbedderHandle::spawn(load, move |r| ready.send(r).expect("heard")).expect("a thread");
        assert_send_sync(&handle);
        let error = is_ready.recv().expect("an answer").expect_err("no model");
        assert!(matches!(error, Error::InvalidConfig(_)), "{error}");

        let (answer, answered) = mpsc::channel();
        handle.submit(vec!["x".into()], EmbedOptions::default(), move |r| answer.send(r).expect("heard"));
        let error = answered.recv().expect("an answer").expect_err("no thread");
        assert!(matches!(error, Error::InferenceError(InferenceError::Stopped { .. })), "{error}");
    }

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let error = guarded::<()>(|| panic!("shape {}", 3)).expect_err("a panic").to_string();
        assert_eq!(error, "the computation failed: shape 3");
    }
}
