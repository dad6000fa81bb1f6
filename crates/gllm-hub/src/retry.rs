//! What may pass when tried again, and how long to wait before.
//!
//! Invariant: attempts are bounded. A failure is final after [`ATTEMPTS`] in a row without a new byte, or at once where
//! waiting can't help.

use std::fmt;
use std::time::{Duration, Instant};

use gllm_core::DownloadProblem;

use crate::progress::Progress;

/// Attempts in a row without a new byte.
const ATTEMPTS: u32 = 5;

/// The same for a server that can't be reached: fewer, since there may be a fall-back.
const ATTEMPTS_TO_REACH: u32 = 3;

/// Longest wait, also where a server asks for more.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

const POLL: Duration = Duration::from_millis(50);

/// Why one attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Trying again can't help.
    Final(DownloadProblem),
    /// The server is busy or broken.
    Status { status: u16, retry_after: Option<Duration> },
    /// No connection came about.
    Unreachable { endpoint: String, reason: String },
    /// A connection came about and broke.
    Broken { reason: String },
}

impl Failure {
    /// An answer that the protocol doesn't allow.
    pub(crate) fn protocol(reason: impl Into<String>) -> Self {
        Self::Final(DownloadProblem::Protocol { reason: reason.into() })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Final(problem) => problem.fmt(f),
            Self::Status { status, .. } => write!(f, "the server answered HTTP {status}"),
            Self::Unreachable { endpoint, reason } => write!(f, "cannot reach `{endpoint}`: {reason}"),
            Self::Broken { reason } => write!(f, "the connection broke: {reason}"),
        }
    }
}

/// The failures of one request so far.
pub(crate) struct Retry {
    backoff: Duration,
    failures: u32,
}

impl Retry {
    /// `backoff` is the wait after the first failure; it doubles with each further one.
    pub(crate) fn new(backoff: Duration) -> Self {
        Self { backoff, failures: 0 }
    }

    /// New bytes came: earlier failures don't count any more.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits after `failure`, or says what it comes to in the end. `received` bytes are there, of `expected` where that is
    /// known.
    pub(crate) fn wait(
        &mut self,
        failure: Failure,
        (received, expected): (u64, Option<u64>),
        progress: &mut dyn Progress,
    ) -> Result<(), DownloadProblem> {
        self.failures += 1;
        let attempts = if matches!(failure, Failure::Unreachable { .. }) { ATTEMPTS_TO_REACH } else { ATTEMPTS };
        if self.failures < attempts && !matches!(failure, Failure::Final(_)) {
            let wait = self.pause(&failure);
            let text = format!("{failure}; trying again in {:.1} s", wait.as_secs_f32());
            tracing::info!("{text}");
            progress.notice(&text);
            return sleep(wait, progress);
        }
        Err(match failure {
            Failure::Final(problem) => problem,
            Failure::Status { status, .. } => DownloadProblem::Status { status, attempts: self.failures },
            Failure::Unreachable { endpoint, reason } => DownloadProblem::Unreachable { endpoint, reason },
            Failure::Broken { reason } => DownloadProblem::Interrupted { received, expected, reason },
        })
    }

    fn pause(&self, failure: &Failure) -> Duration {
        let doubled = self.backoff.saturating_mul(1 << (self.failures - 1).min(16));
        match failure {
            Failure::Status { retry_after: Some(asked), .. } => (*asked).min(LONGEST_WAIT),
            _ => doubled.min(LONGEST_WAIT),
        }
    }
}

fn sleep(wait: Duration, progress: &dyn Progress) -> Result<(), DownloadProblem> {
    let end = Instant::now() + wait;
    loop {
        if progress.cancelled() {
            return Err(DownloadProblem::Cancelled);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(POLL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_capped_and_the_servers_wish_goes_first() {
        let mut retry = Retry::new(Duration::from_secs(1));
        let broken = Failure::Broken { reason: String::new() };
        retry.failures = 1;
        assert_eq!(retry.pause(&broken), Duration::from_secs(1));
        retry.failures = 3;
        assert_eq!(retry.pause(&broken), Duration::from_secs(4));
        retry.failures = 30;
        assert_eq!(retry.pause(&broken), LONGEST_WAIT);
        let busy = |seconds| Failure::Status { status: 429, retry_after: Some(Duration::from_secs(seconds)) };
        assert_eq!(retry.pause(&busy(7)), Duration::from_secs(7));
        assert_eq!(retry.pause(&busy(9999)), LONGEST_WAIT);
    }
}
