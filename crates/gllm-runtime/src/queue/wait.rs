//! Waits for a future on a thread that has no executor: it parks itself until the future's waker is called.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use super::sync::{AtomicBool, Ordering, thread};

/// Wakes a parked thread.
struct Unpark {
    thread: thread::Thread,
    is_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: std::sync::Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

/// What `future` gives, or `None` once `deadline` has passed; then the future is dropped.
pub(crate) fn wait<T>(future: impl Future<Output = T>, deadline: Option<Instant>) -> Option<T> {
    let unpark = std::sync::Arc::new(Unpark { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Waker::from(std::sync::Arc::clone(&unpark));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(found) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(found);
        }
        while !unpark.is_woken.swap(false, Ordering::SeqCst) {
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return None,
                Some(left) => thread::park_timeout(left),
            }
        }
    }
}
