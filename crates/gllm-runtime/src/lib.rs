//! Threads that own models.
//!
//! A handle is `Send + Sync` and holds only a channel's sender; one dedicated thread owns the model and
//! ends when the last handle is dropped. Each request carries its own way to answer, so that this crate
//! needs no executor and serves any.

mod embedder;

pub use embedder::EmbedderHandle;
