//! Actor threads: a dedicated thread owns a model, handles hold a channel to it.
//!
//! A handle is `Send`, `Sync` and `Clone`. What it asks waits in a bounded inbox ([`RequestOptions`]), is computed with
//! what waits beside it ([`QueueConfig`]), and gets exactly one answer, whatever fails. When the last handle is gone the
//! thread ends, and the model with it.

mod batching;
mod client_config;
mod embedder;
mod engine;
mod failure;
#[cfg(test)]
mod fake;
mod generator;
mod handle;
mod model;
mod observe;
mod queue;
mod queue_config;
mod reload;
mod request_options;
mod reranker;
mod runtime;
mod schedule;
#[cfg(test)]
mod stress;

pub mod load;

pub use client_config::ClientConfig;
#[cfg(feature = "async")]
pub use embedder::AsyncEmbedderHandle;
pub use embedder::EmbedderHandle;
#[cfg(feature = "async")]
pub use generator::{AsyncGeneration, AsyncGeneratorHandle};
pub use generator::{GenerationStream, GeneratorConfig, GeneratorHandle, TextInput, TextRequest, TextsConfig};
pub use queue::cancel::CancelToken;
pub use queue::inbox::Shutdown;
pub use queue_config::{HandleConfig, QueueConfig};
pub use request_options::{Priority, RequestOptions, WhenFull};
#[cfg(feature = "async")]
pub use reranker::AsyncRerankerHandle;
pub use reranker::RerankerHandle;
pub use runtime::{Lease, ModelHandle, ModelState, Runtime, RuntimeConfig};
