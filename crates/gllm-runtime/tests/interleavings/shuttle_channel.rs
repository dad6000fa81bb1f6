//! A channel that does what crossbeam-channel's does, as far as the queue uses it: when the receiver is dropped, so is
//! what was on its way, and nothing is accepted any more.

use std::collections::VecDeque;
use std::time::Duration;

use shuttle::sync::{Arc, Condvar, Mutex};

struct Channel<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    waiting: VecDeque<T>,
    senders: usize,
    has_receiver: bool,
}

/// The other end is gone, or nothing is there.
#[derive(Debug)]
pub(crate) struct Nothing;

pub(crate) struct Sender<T>(Arc<Channel<T>>);

pub(crate) struct Receiver<T>(Arc<Channel<T>>);

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let state = State { waiting: VecDeque::new(), senders: 1, has_receiver: true };
    let channel = Arc::new(Channel { state: Mutex::new(state), changed: Condvar::new() });
    (Sender(Arc::clone(&channel)), Receiver(channel))
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, message: T) -> Result<(), T> {
        let mut state = self.0.state.lock().expect("no panic");
        if !state.has_receiver {
            return Err(message);
        }
        state.waiting.push_back(message);
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, Nothing> {
        let mut state = self.0.state.lock().expect("no panic");
        loop {
            if let Some(message) = state.waiting.pop_front() {
                return Ok(message);
            }
            if state.senders == 0 {
                return Err(Nothing);
            }
            state = self.0.changed.wait(state).expect("no panic");
        }
    }

    pub(crate) fn recv_timeout(&self, _: Duration) -> Result<T, Nothing> {
        self.recv()
    }

    pub(crate) fn try_recv(&self) -> Result<T, Nothing> {
        self.0.state.lock().expect("no panic").waiting.pop_front().ok_or(Nothing)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.state.lock().expect("no panic").senders -= 1;
        self.0.changed.notify_one();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().expect("no panic");
        state.has_receiver = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }
}
