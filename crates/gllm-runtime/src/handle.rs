//! What the handles of models that answer in passes have in common: a way to a thread, for whatever they ask it.

use std::fmt;
use std::time::Instant;

use gllm_core::Result;

use crate::batching::{self, Work};
use crate::engine::Engine;
use crate::failure::guarded;
use crate::load::{About, Found};
use crate::model::Model;
use crate::observe::Observer;
use crate::queue::inbox::{Inbox, Requests, Shutdown, deadline_exceeded, stopped};
use crate::queue::reply::{Answer, Reply, reply};
use crate::queue::wait::wait;
use crate::reload::{Load, Loaded, Reloadable, from_found};
use crate::{QueueConfig, RequestOptions};

/// A way to the thread of a model. Clones share it.
pub(crate) struct Handle<E: Engine> {
    inbox: Inbox<Work<E>>,
}

impl<E: Engine> Handle<E> {
    /// Starts a thread that finds and loads a model and then answers requests. What is known of the model comes when it is
    /// loaded; if it can't be, that says why, and requests are answered with [`gllm_core::InferenceError::Stopped`].
    pub(crate) fn start(
        find: impl FnOnce() -> Result<Found> + Send + 'static,
        load: fn(&Found) -> Result<(E, About)>,
        queue: QueueConfig,
    ) -> Result<(Self, Answer<About>)> {
        Self::start_with(move || from_found(find()?, load), queue)
    }

    /// The same, whatever the model is loaded from.
    pub(crate) fn start_with(
        start: impl FnOnce() -> Result<(Loaded<E>, About, Load<E>)> + Send + 'static,
        queue: QueueConfig,
    ) -> Result<(Self, Answer<About>)> {
        queue.check()?;
        let (ready, is_ready) = reply();
        let body = move |requests| Self::run(requests, guarded(start), &queue, ready);
        let inbox = Inbox::spawn(&format!("gllm-{}", E::TASK), queue.capacity, body)?;
        Ok((Self { inbox }, is_ready))
    }

    fn run(
        mut requests: Requests<Work<E>>,
        started: Result<(Loaded<E>, About, Load<E>)>,
        queue: &QueueConfig,
        ready: Reply<About>,
    ) {
        match started {
            Ok((loaded, about, load)) => {
                let observer = Observer::new(E::TASK, &about.info.alias);
                let model = Model::new(Reloadable::new(loaded, load, queue.cpu_fallback), queue.memory_limit);
                ready.give(Ok(about));
                batching::run(requests, model, queue, observer);
                tracing::debug!("the model's thread ends");
            }
            Err(error) => {
                let reason = format!("it failed to load: {error}");
                ready.give(Err(error));
                while let Some(ticket) = requests.next() {
                    ticket.into_work().reply.give(Err(stopped(&reason)));
                }
            }
        }
    }

    /// Asks, and becomes the answer. Dropping it calls the request back.
    pub(crate) async fn ask(&self, request: E::Request, options: &RequestOptions) -> Result<E::Response> {
        let (reply, answer) = reply();
        self.inbox.send(Work { request, reply }, options).await?;
        answer.await
    }

    /// Asks, and waits for the answer on the caller's thread.
    pub(crate) fn ask_and_wait(&self, request: E::Request, options: &RequestOptions) -> Result<E::Response> {
        let asked = Instant::now();
        wait(self.ask(request, options), options.deadline).unwrap_or_else(|| Err(deadline_exceeded(asked)))
    }

    /// Requests that have a place in the queue or wait for one.
    #[cfg(test)]
    pub(crate) fn depth(&self) -> usize {
        self.inbox.depth()
    }

    /// Ends the thread.
    pub(crate) async fn close(&self, how: Shutdown) {
        self.inbox.close(how).await;
    }

    /// Ends the thread, and waits for its end on the caller's.
    pub(crate) fn close_and_wait(&self, how: Shutdown) {
        let _ = wait(self.close(how), None);
    }
}

/// Waits for a model to be loaded.
pub(crate) fn loaded(is_ready: Answer<About>) -> Result<About> {
    wait(is_ready, None).unwrap_or_else(|| Err(stopped("it ended before its model was loaded")))
}

impl<E: Engine> Clone for Handle<E> {
    fn clone(&self) -> Self {
        Self { inbox: self.inbox.clone() }
    }
}

impl<E: Engine> fmt::Debug for Handle<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inbox.fmt(f)
    }
}
