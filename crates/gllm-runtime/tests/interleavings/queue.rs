//! The queue's source files, below other primitives.

#[path = "../../src/queue/cancel.rs"]
pub(crate) mod cancel;
#[path = "../../src/queue/inbox.rs"]
pub(crate) mod inbox;
#[path = "../../src/queue/places.rs"]
pub(crate) mod places;
#[path = "../../src/queue/reply.rs"]
pub(crate) mod reply;
#[path = "../../src/queue/wait.rs"]
pub(crate) mod wait;

pub(crate) mod sync {
    //! Those that shuttle interleaves.

    pub(crate) use std::sync::PoisonError;

    pub(crate) use shuttle::sync::atomic::{AtomicBool, Ordering};
    pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard};
    pub(crate) use shuttle::thread;

    pub(crate) use crate::shuttle_channel as channel;
}
