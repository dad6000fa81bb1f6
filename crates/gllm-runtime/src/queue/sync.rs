//! What the queue is made of, under one name: a test puts others in their place that try interleavings.

pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
pub(crate) use std::thread;

pub(crate) use crossbeam_channel as channel;
