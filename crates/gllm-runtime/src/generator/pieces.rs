//! The way back of a text: its pieces as they come, then its end.
//!
//! Invariants: the writer never waits; what a slow reader hasn't taken yet is one piece, so nothing is lost and no more
//! waits than the text has; a writer that is dropped before the end has ended the text with
//! [`InferenceError::Stopped`]; one whose reader is gone knows that nobody wants the text any more.

use std::fmt;
use std::task::{Context, Poll, Waker};

use gllm_core::{GenerationResponse, InferenceError, Result};

use crate::queue::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The end that writes.
pub(crate) struct Writer {
    slot: Arc<Slot>,
    has_ended: bool,
}

/// The end that reads.
pub(crate) struct Pieces {
    slot: Arc<Slot>,
    response: Option<GenerationResponse>,
    is_over: bool,
}

struct Slot(Mutex<State>);

struct State {
    /// What was written and not read.
    text: String,
    end: Option<Result<GenerationResponse>>,
    waker: Option<Waker>,
    is_read: bool,
}

/// Both ends.
pub(crate) fn pieces() -> (Writer, Pieces) {
    let state = State { text: String::new(), end: None, waker: None, is_read: true };
    let slot = Arc::new(Slot(Mutex::new(state)));
    (Writer { slot: Arc::clone(&slot), has_ended: false }, Pieces { slot, response: None, is_over: false })
}

impl Slot {
    /// Values are moved in and out whole, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes the reader, without the lock: a waker may do anything.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Writer {
    /// Adds to the text.
    pub(crate) fn write(&self, piece: &str) {
        if !piece.is_empty() {
            self.slot.tell(|state| state.text.push_str(piece));
        }
    }

    /// Ends the text.
    pub(crate) fn end(mut self, end: Result<GenerationResponse>) {
        self.has_ended = true;
        self.slot.tell(|state| state.end = Some(end));
    }

    /// Whether somebody reads.
    pub(crate) fn is_wanted(&self) -> bool {
        self.slot.lock().is_read
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.has_ended {
            let reason = "it ended without an answer".into();
            self.slot.tell(|state| state.end = Some(Err(InferenceError::Stopped { reason }.into())));
        }
    }
}

impl Pieces {
    /// The next piece, which isn't empty; nothing behind the end, or behind an error.
    pub(crate) fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<String>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let mut state = self.slot.lock();
        if !state.text.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut state.text))));
        }
        let Some(end) = state.end.take() else {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        drop(state);
        self.is_over = true;
        match end {
            Ok(response) => {
                self.response = Some(response);
                Poll::Ready(None)
            }
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    /// The whole text with what it cost, once it was read to its end.
    pub(crate) fn response(&self) -> Option<&GenerationResponse> {
        self.response.as_ref()
    }

    /// As [`Pieces::response`], to keep.
    pub(crate) fn into_response(mut self) -> Option<GenerationResponse> {
        self.response.take()
    }

    /// Lets go of the text: nothing comes any more.
    pub(crate) fn leave(&mut self) {
        self.is_over = true;
        self.slot.lock().is_read = false;
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("response", &self.response).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use gllm_core::{Error, FinishReason, GenerationTimings, Usage};

    use super::*;

    fn next(pieces: &mut Pieces) -> Poll<Option<Result<String>>> {
        pieces.poll_piece(&mut Context::from_waker(Waker::noop()))
    }

    fn response() -> GenerationResponse {
        GenerationResponse {
            text: "abc".into(),
            tokens: vec![1],
            finish_reason: FinishReason::Stop,
            usage: Usage::default(),
            logprobs: Vec::new(),
            timings: GenerationTimings::default(),
        }
    }

    #[test]
    fn a_slow_reader_finds_all_of_it_in_one_piece_and_then_the_end() {
        let (writer, mut pieces) = pieces();
        assert!(next(&mut pieces).is_pending());
        for piece in ["a", "", "bc"] {
            writer.write(piece);
        }
        writer.end(Ok(response()));
        assert!(matches!(next(&mut pieces), Poll::Ready(Some(Ok(text))) if text == "abc"));
        assert!(matches!(next(&mut pieces), Poll::Ready(None)));
        assert!(matches!(next(&mut pieces), Poll::Ready(None)));
        assert_eq!(pieces.into_response(), Some(response()));
    }

    #[test]
    fn a_writer_that_is_dropped_ends_the_text_and_a_reader_that_is_dropped_tells() {
        let (writer, mut pieces) = pieces();
        writer.write("a");
        drop(writer);
        assert!(matches!(next(&mut pieces), Poll::Ready(Some(Ok(_)))));
        let Poll::Ready(Some(Err(error))) = next(&mut pieces) else { panic!("no error") };
        assert!(matches!(error, Error::InferenceError(InferenceError::Stopped { .. })), "{error}");
        assert!(matches!(next(&mut pieces), Poll::Ready(None)));

        let (writer, pieces) = super::pieces();
        assert!(writer.is_wanted());
        drop(pieces);
        assert!(!writer.is_wanted());
        writer.write("a");
    }
}
