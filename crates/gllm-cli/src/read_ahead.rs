//! A thread that reads ahead, so that a signal is noticed while the input is silent.

use std::panic;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use crate::exit::Failure;
use crate::interrupt;

/// What a thread reads, a few ahead of what was asked for.
pub(crate) struct ReadAhead<T> {
    receiver: Receiver<Result<T, Failure>>,
    reader: Option<JoinHandle<()>>,
}

impl<T: Send + 'static> ReadAhead<T> {
    /// Starts to read.
    pub(crate) fn start(items: impl Iterator<Item = Result<T, Failure>> + Send + 'static) -> Self {
        let (sender, receiver) = sync_channel(1);
        let reader = thread::spawn(move || {
            for item in items {
                if sender.send(item).is_err() {
                    break;
                }
            }
        });
        Self { receiver, reader: Some(reader) }
    }

    /// What comes next, `None` at the end of the input, `Failure::Interrupted` after a signal.
    pub(crate) fn next(&mut self) -> Result<Option<T>, Failure> {
        if let Some(item) = interrupt::receive(&self.receiver)? {
            return item.map(Some);
        }
        // A reader that failed must not look like the end of the input.
        if let Some(Err(cause)) = self.reader.take().map(JoinHandle::join) {
            panic::resume_unwind(cause);
        }
        Ok(None)
    }
}
