//! The way back of a request: its one answer, from the model's thread to who asked.
//!
//! Invariants: an answer is given once; a [`Reply`] that is dropped without it has given [`InferenceError::Stopped`]; one
//! whose [`Answer`] is gone knows that nobody waits any more.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use gllm_core::{InferenceError, Result};

use super::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The end that answers.
pub(crate) struct Reply<T> {
    slot: Option<Arc<Slot<T>>>,
}

/// The end that waits.
pub(crate) struct Answer<T> {
    slot: Arc<Slot<T>>,
}

struct Slot<T> {
    state: Mutex<State<T>>,
}

enum State<T> {
    Waiting(Option<Waker>),
    Answered(Result<T>),
    /// The answer was taken, or nobody wants it.
    Gone,
}

/// Both ends.
pub(crate) fn reply<T>() -> (Reply<T>, Answer<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Waiting(None)) });
    (Reply { slot: Some(Arc::clone(&slot)) }, Answer { slot })
}

impl<T> Slot<T> {
    /// Values are moved in and out whole, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Reply<T> {
    /// Gives the answer.
    pub(crate) fn give(mut self, answer: Result<T>) {
        self.fill(answer);
    }

    /// Whether somebody waits for the answer.
    pub(crate) fn is_wanted(&self) -> bool {
        self.slot.as_ref().is_some_and(|slot| !matches!(*slot.lock(), State::Gone))
    }

    fn fill(&mut self, answer: Result<T>) {
        let Some(slot) = self.slot.take() else { return };
        let mut state = slot.lock();
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Answered(answer);
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let reason = "it ended without an answer".into();
        self.fill(Err(InferenceError::Stopped { reason }.into()));
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let mut state = self.slot.lock();
        match std::mem::replace(&mut *state, State::Gone) {
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Answered(answer) => Poll::Ready(answer),
            State::Gone => Poll::Ready(Err(InferenceError::Cancelled.into())),
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let left = std::mem::replace(&mut *self.slot.lock(), State::Gone);
        // Whatever it is, it is dropped without the lock.
        drop(left);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}
