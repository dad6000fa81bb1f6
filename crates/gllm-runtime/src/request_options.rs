//! What a request may say of itself, whatever it asks for: how urgent it is, and how long it is wanted.

use std::time::{Duration, Instant};

use crate::CancelToken;

/// How urgent a request is, until when and whether it is still wanted, and what becomes of it where there is no place.
///
/// ```
/// use std::time::Duration;
/// use gllm_runtime::{Priority, RequestOptions, WhenFull};
/// let options = RequestOptions { priority: Priority::High, when_full: WhenFull::Busy, ..RequestOptions::default() };
/// let options = options.within(Duration::from_millis(200));
/// assert!(options.deadline.is_some());
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestOptions {
    /// Which requests it goes before.
    pub priority: Priority,
    /// From then on it isn't wanted: it is answered with [`gllm_core::InferenceError::DeadlineExceeded`], and what is
    /// left of its work isn't done.
    pub deadline: Option<Instant>,
    /// What happens where as many requests wait as may.
    pub when_full: WhenFull,
    /// Calls the request back; one token may be that of many requests.
    pub cancel: Option<CancelToken>,
}

/// Which requests a request goes before. One of a lower priority waits longer, but not for ever:
/// [`crate::QueueConfig::max_wait`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// Work in the background.
    Low,
    /// As most.
    #[default]
    Normal,
    /// Somebody waits for it.
    High,
}

/// What happens to a request where as many wait as may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhenFull {
    /// It waits for a place, at most until its deadline. Those who wait get a place in the order in which they came.
    #[default]
    Wait,
    /// It is answered with [`gllm_core::Error::Busy`] at once.
    Busy,
}

impl RequestOptions {
    /// The request is wanted for this long from now.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self { deadline: Instant::now().checked_add(time), ..self }
    }
}
