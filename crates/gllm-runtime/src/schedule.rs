//! Which sequences of the requests that wait are computed next. Knows lengths and times, no models and no clock.
//!
//! Who is due first leads: in the order of arrival, a request of another priority as if it had come
//! [`max_wait`](crate::QueueConfig::max_wait) earlier or later, and one that has had a second of the model as if it had
//! come [`PATIENCE`] seconds later. So a long request yields to short ones between two passes, and still nobody starves:
//! those who come later are due later, but for a bounded time.
//!
//! What the leader leaves of a pass's budget is filled with sequences of the others, in the order in which they are due,
//! so what waits together is computed together. Activations have no padding, so it costs nothing to put sequences of
//! different lengths into a pass; of one request the longest are taken first, as [`gllm_models::text::plan_batches`] does.
//!
//! Source: start-time fair queueing, <https://doi.org/10.1145/248157.248171>, with time in place of virtual time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::Priority;

/// How much later a request is due for each second of the model that it has had, in seconds.
const PATIENCE: u32 = 4;

/// A request's number.
pub(crate) type Id = u64;

/// Requests with sequences that wait. `K` says which requests may share a pass.
#[derive(Debug)]
pub(crate) struct Schedule<K> {
    start: Instant,
    max_wait: Duration,
    requests: BTreeMap<Id, Entry<K>>,
}

#[derive(Debug)]
struct Entry<K> {
    kind: K,
    /// Most tokens of a pass that one of its sequences is in.
    batch_tokens: usize,
    /// In nanoseconds from the start.
    due: i128,
    /// Places and lengths of the sequences that wait, the longest first.
    waiting: Vec<(usize, usize)>,
}

/// Sequences that are computed together: of which request, and at which place there.
pub(crate) type Pass = Vec<(Id, usize)>;

impl<K: Copy + Eq> Schedule<K> {
    /// Nobody waits yet.
    pub(crate) fn new(start: Instant, max_wait: Duration) -> Self {
        Self { start, max_wait, requests: BTreeMap::new() }
    }

    /// Adds a request with sequences of these lengths.
    pub(crate) fn add(
        &mut self,
        id: Id,
        (arrived, priority): (Instant, Priority),
        kind: K,
        lengths: &[usize],
        batch_tokens: usize,
    ) {
        let max_wait = nanos(self.max_wait);
        let due = nanos(arrived.saturating_duration_since(self.start))
            + match priority {
                Priority::High => -max_wait,
                Priority::Normal => 0,
                Priority::Low => max_wait,
            };
        let mut waiting: Vec<(usize, usize)> = lengths.iter().copied().enumerate().collect();
        waiting.sort_by_key(|(_, length)| Reverse(*length));
        self.requests.insert(id, Entry { kind, batch_tokens, due, waiting });
    }

    /// Lets go of a request.
    pub(crate) fn remove(&mut self, id: Id) {
        self.requests.remove(&id);
    }

    /// The next sequences, of one kind, of at most `budget` tokens unless one alone has more; none if none wait.
    pub(crate) fn next(&mut self, budget: usize) -> Pass {
        let mut order: Vec<(Id, &mut Entry<K>)> =
            self.requests.iter_mut().filter(|(_, entry)| !entry.waiting.is_empty()).map(|(id, e)| (*id, e)).collect();
        order.sort_by_key(|(id, entry)| (entry.due, *id));
        let mut pass = Pass::new();
        let Some(kind) = order.first().map(|(_, entry)| entry.kind) else { return pass };
        let (mut tokens, mut budget) = (0, budget);
        for (id, entry) in order.into_iter().filter(|(_, entry)| entry.kind == kind) {
            if tokens >= budget && !pass.is_empty() {
                break;
            }
            let limit = budget.min(entry.batch_tokens);
            let before = pass.len();
            entry.waiting.retain(|&(place, length)| {
                let fits = pass.is_empty() || tokens + length <= limit;
                if fits {
                    pass.push((id, place));
                    tokens += length;
                }
                !fits
            });
            if pass.len() > before {
                budget = limit;
            }
        }
        pass
    }

    /// Notes that a request has had the model for this long.
    pub(crate) fn charge(&mut self, id: Id, time: Duration) {
        if let Some(entry) = self.requests.get_mut(&id) {
            entry.due += nanos(time * PATIENCE);
        }
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / 4)
}

#[cfg(test)]
mod tests;
