//! Actor threads: a dedicated thread owns a model, handles hold a channel to it.
//!
//! A request carries the way to its answer, so that callers may wait as they like: on a channel, or in a
//! future. When the last handle is gone the thread ends, and the model with it.

mod actor;
mod client_config;
mod embedder;
mod generator;
mod reranker;

pub mod load;

pub use client_config::ClientConfig;
pub use embedder::EmbedderHandle;
pub use generator::{GenerationEvent, GeneratorHandle};
pub use reranker::RerankerHandle;
