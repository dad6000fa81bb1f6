//! From callers to the thread that owns a model: a bounded inbox, and the way back.
//!
//! Nothing here knows what the work is. A caller waits for a place, sends its work with the [`reply`] to it, and waits
//! for the answer; each wait is a future, and a thread that has no executor parks itself meanwhile ([`wait`]).
//!
//! Invariants: a request has a place from before it is sent until it is dropped; work that is dropped without an answer
//! is answered with an error, so nobody waits in vain.

pub(crate) mod cancel;
pub(crate) mod inbox;
pub(crate) mod places;
pub(crate) mod reply;
pub(crate) mod sync;
pub(crate) mod wait;
