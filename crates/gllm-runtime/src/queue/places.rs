//! Places in a queue: at most so many requests have one, the others wait for it in the order in which they came.
//!
//! Invariant: a place that becomes free goes to who waits longest, and one that was given to somebody who has gone
//! meanwhile goes on to the next. So no place is lost, and nobody overtakes.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::sync::{Arc, Mutex, MutexGuard, PoisonError};
use crate::{RequestOptions, WhenFull};

/// The places of a queue. Clones are the same.
#[derive(Clone)]
pub(crate) struct Places {
    capacity: usize,
    state: Arc<Mutex<State>>,
}

struct State {
    free: usize,
    is_closed: bool,
    next: u64,
    /// By when they came.
    waiting: BTreeMap<u64, Waiter>,
}

struct Waiter {
    waker: Waker,
    options: RequestOptions,
    /// Given a place that it hasn't taken yet; such a waiter isn't waiting any more.
    has_place: bool,
}

/// A place, until it is dropped.
pub(crate) struct Place {
    places: Places,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// All are taken.
    Full,
    /// There won't be any more.
    Closed,
    /// The request's deadline has passed.
    TooLate,
    /// The request was called back.
    Cancelled,
}

/// Becomes a place.
pub(crate) struct Waiting<'a> {
    places: &'a Places,
    options: &'a RequestOptions,
    id: Option<u64>,
}

impl Places {
    /// Places for `capacity` requests, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let state = State { free: capacity, is_closed: false, next: 0, waiting: BTreeMap::new() };
        Self { capacity, state: Arc::new(Mutex::new(state)) }
    }

    /// How many there are.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many requests have one or wait for one.
    pub(crate) fn asked(&self) -> usize {
        let state = self.lock();
        self.capacity - state.free + state.waiting.values().filter(|waiter| !waiter.has_place).count()
    }

    /// A place, once there is one; what happens until then, `options` say.
    pub(crate) fn take<'a>(&'a self, options: &'a RequestOptions) -> Waiting<'a> {
        Waiting { places: self, options, id: None }
    }

    /// Gives out no more places; who waits is refused.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        wake(state, |_| true);
    }

    /// Wakes who waits for a place that isn't wanted any more. Nobody else does while the queue is full, so the model's
    /// thread has to from time to time.
    pub(crate) fn sweep(&self, now: Instant) {
        wake(self.lock(), |waiter| unwanted(&waiter.options, now).is_some());
    }

    /// Nothing is left half done where this may panic, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self) {
        let mut state = self.lock();
        match state.waiting.values_mut().find(|waiter| !waiter.has_place) {
            Some(waiter) => {
                waiter.has_place = true;
                let waker = waiter.waker.clone();
                drop(state);
                waker.wake();
            }
            None => state.free += 1,
        }
    }
}

/// Wakes those that `which` names, without the lock: a waker may do anything.
fn wake(state: MutexGuard<'_, State>, which: impl Fn(&Waiter) -> bool) {
    let wakers: Vec<Waker> =
        state.waiting.values().filter(|waiter| which(waiter)).map(|waiter| waiter.waker.clone()).collect();
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

/// Why a request isn't wanted any more, if it isn't.
pub(crate) fn unwanted(options: &RequestOptions, now: Instant) -> Option<Refusal> {
    if options.cancel.as_ref().is_some_and(crate::CancelToken::is_cancelled) {
        return Some(Refusal::Cancelled);
    }
    options.deadline.is_some_and(|deadline| deadline <= now).then_some(Refusal::TooLate)
}

impl Future for Waiting<'_> {
    type Output = Result<Place, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (places, options) = (self.places, self.options);
        let mut state = places.lock();
        // What is given back on the way out is given back by `drop`.
        if state.is_closed {
            return Poll::Ready(Err(Refusal::Closed));
        }
        if let Some(refusal) = unwanted(options, Instant::now()) {
            return Poll::Ready(Err(refusal));
        }
        let place = || Poll::Ready(Ok(Place { places: places.clone() }));
        match self.id {
            Some(id) => {
                if let Some(waiter) = state.waiting.get_mut(&id).filter(|waiter| !waiter.has_place) {
                    waiter.waker.clone_from(context.waker());
                    return Poll::Pending;
                }
                state.waiting.remove(&id);
                self.id = None;
                place()
            }
            // With a place free nobody waits.
            None if state.free > 0 => {
                state.free -= 1;
                place()
            }
            None if options.when_full == WhenFull::Busy => Poll::Ready(Err(Refusal::Full)),
            None => {
                let id = state.next;
                state.next += 1;
                let waiter = Waiter { waker: context.waker().clone(), options: options.clone(), has_place: false };
                state.waiting.insert(id, waiter);
                self.id = Some(id);
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let waiter = self.places.lock().waiting.remove(&id);
        if waiter.is_some_and(|waiter| waiter.has_place) {
            self.places.give_back();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.give_back();
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}
