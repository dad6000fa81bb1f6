//! The inbox of a thread that owns a model: handles hold one end, the thread the other.
//!
//! Invariants: what is sent has a place, so no more waits than there are places; once the thread's end is gone nothing is
//! accepted, and what was on its way is dropped, which answers it.

use std::fmt;
use std::time::{Duration, Instant};

use gllm_core::{Busy, Error, InferenceError, Result};

use super::places::{Place, Places, Refusal, unwanted};
use super::reply::{Answer, Reply, reply};
use super::sync::channel::{Receiver, Sender, unbounded};
use super::sync::{Arc, Mutex, PoisonError, thread};
use crate::RequestOptions;

/// How a model's thread ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shutdown {
    /// Requests that are there are answered first.
    Drain,
    /// Requests that are there are answered with [`InferenceError::Stopped`] before the model's next step.
    Cancel,
}

/// The handles' end. Clones are the same; the thread ends, after what was sent, when the last one is gone.
pub(crate) struct Inbox<W> {
    shared: Arc<Shared<W>>,
}

struct Shared<W> {
    sender: Sender<Message<W>>,
    places: Places,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

enum Message<W> {
    Work(Ticket<W>),
    Close(Shutdown, Reply<()>),
}

/// Work with what is known of it, whatever it is, and a place until it is dropped.
pub(crate) struct Ticket<W> {
    pub(crate) work: W,
    pub(crate) options: RequestOptions,
    /// When it was sent.
    pub(crate) arrived: Instant,
    /// Open while it waits.
    queued: Option<tracing::Span>,
    _place: Place,
}

/// The thread's end.
pub(crate) struct Requests<W> {
    receiver: Receiver<Message<W>>,
    places: Places,
    closing: Option<Shutdown>,
    /// Told when this end is gone.
    told: Vec<Reply<()>>,
}

impl<W: Send + 'static> Inbox<W> {
    /// Starts a thread called `name` that runs `body` with the other end; at most `capacity` requests wait.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no thread to give.
    pub(crate) fn spawn(name: &str, capacity: usize, body: impl FnOnce(Requests<W>) + Send + 'static) -> Result<Self> {
        let ((sender, receiver), places) = (unbounded(), Places::new(capacity));
        let requests = Requests { receiver, places: places.clone(), closing: None, told: Vec::new() };
        let thread = thread::Builder::new().name(name.into()).spawn(move || body(requests))?;
        Ok(Self { shared: Arc::new(Shared { sender, places, thread: Mutex::new(Some(thread)) }) })
    }

    /// Hands `work` to the thread, once it has a place.
    ///
    /// # Errors
    /// [`Error::Busy`]; [`InferenceError::Cancelled`], [`InferenceError::DeadlineExceeded`] or
    /// [`InferenceError::Stopped`].
    pub(crate) async fn send(&self, work: W, options: &RequestOptions) -> Result<()> {
        let (asked, places) = (Instant::now(), &self.shared.places);
        let place = places.take(options).await.map_err(|refusal| refused(refusal, places.capacity(), asked))?;
        let ticket = Ticket {
            work,
            options: options.clone(),
            arrived: Instant::now(),
            queued: Some(tracing::debug_span!("queue")),
            _place: place,
        };
        self.shared.sender.send(Message::Work(ticket)).map_err(|_| stopped("it can't be reached"))
    }

    /// Requests that have a place or wait for one.
    #[cfg(test)]
    pub(crate) fn depth(&self) -> usize {
        self.shared.places.asked()
    }

    /// Asks the thread to end; resolves when it has let go of everything. Requests that come later are refused.
    pub(crate) async fn close(&self, how: Shutdown) {
        self.shared.places.close();
        let (told, ended): (_, Answer<()>) = reply();
        // If it can't be sent the thread is gone already.
        if self.shared.sender.send(Message::Close(how, told)).is_ok() {
            let _ = ended.await;
        }
        // What is left of the thread takes no time.
        let mut thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take() {
            // A panic there has been reported.
            let _ = thread.join();
        }
    }
}

impl<W> Ticket<W> {
    /// The work alone: its place is free.
    pub(crate) fn into_work(self) -> W {
        self.work
    }

    /// Notes that it doesn't wait any more; how long it did, the first time.
    pub(crate) fn leave_queue(&mut self) -> Option<Duration> {
        self.queued.take().map(|_| self.arrived.elapsed())
    }

    /// The error that answers a request which isn't wanted any more, if it isn't.
    pub(crate) fn unwanted(&self, now: Instant) -> Option<Error> {
        unwanted(&self.options, now).map(|refusal| refused(refusal, 0, self.arrived))
    }
}

impl<W> Requests<W> {
    /// The next request; waits for it. `None` when there won't be any more.
    pub(crate) fn next(&mut self) -> Option<Ticket<W>> {
        while self.closing.is_none() {
            match self.receiver.recv() {
                Ok(message) => {
                    if let Some(ticket) = self.read(message) {
                        return Some(ticket);
                    }
                }
                Err(_) => return None,
            }
        }
        self.try_next()
    }

    /// The next request, if it is there or comes before `deadline`.
    pub(crate) fn next_until(&mut self, deadline: Instant) -> Option<Ticket<W>> {
        while self.closing.is_none() {
            match self.receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(message) => {
                    if let Some(ticket) = self.read(message) {
                        return Some(ticket);
                    }
                }
                Err(_) => return None,
            }
        }
        self.try_next()
    }

    /// The next request, if it is there.
    pub(crate) fn try_next(&mut self) -> Option<Ticket<W>> {
        while let Ok(message) = self.receiver.try_recv() {
            if let Some(ticket) = self.read(message) {
                return Some(ticket);
            }
        }
        None
    }

    fn read(&mut self, message: Message<W>) -> Option<Ticket<W>> {
        match message {
            Message::Work(ticket) => Some(ticket),
            Message::Close(how, told) => {
                // Who wants it to end at once wins.
                if self.closing != Some(Shutdown::Cancel) {
                    self.closing = Some(how);
                }
                self.told.push(told);
                None
            }
        }
    }

    /// Whether requests that are there shall not be answered any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.closing == Some(Shutdown::Cancel)
    }

    /// Lets go of those who wait for a place in vain; to be called now and then while the queue may be full.
    pub(crate) fn sweep(&self, now: Instant) {
        self.places.sweep(now);
    }

    /// Requests that have a place or wait for one.
    pub(crate) fn depth(&self) -> usize {
        self.places.asked()
    }
}

impl<W> Drop for Requests<W> {
    fn drop(&mut self) {
        // Who waits for a place would wait for ever.
        self.places.close();
    }
}

/// The error that says why the model's thread doesn't answer.
pub(crate) fn stopped(reason: &str) -> Error {
    InferenceError::Stopped { reason: reason.into() }.into()
}

fn refused(refusal: Refusal, capacity: usize, asked: Instant) -> Error {
    match refusal {
        Refusal::Full => Busy { capacity }.into(),
        Refusal::Closed => stopped("it is shutting down"),
        Refusal::TooLate => deadline_exceeded(asked),
        Refusal::Cancelled => InferenceError::Cancelled.into(),
    }
}

/// The error that answers a request, made at `asked`, that isn't wanted any more, if it isn't.
pub(crate) fn no_longer_wanted(options: &RequestOptions, asked: Instant) -> Option<Error> {
    unwanted(options, Instant::now()).map(|refusal| refused(refusal, 0, asked))
}

/// The error of a request that was made at `asked` and isn't wanted any more.
pub(crate) fn deadline_exceeded(asked: Instant) -> Error {
    let waited_ms = u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX);
    InferenceError::DeadlineExceeded { waited_ms }.into()
}

impl<W> Clone for Inbox<W> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<W> fmt::Debug for Inbox<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("places", &self.shared.places).finish_non_exhaustive()
    }
}
