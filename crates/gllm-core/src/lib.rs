//! Types and errors that the crates of gllm share.
//!
//! This crate knows no files, no network, no threads and no tensor library: what is here is what a
//! caller of the facade sees, plus the errors that the layers below hand up unchanged.

mod device;
mod error;
mod generation;
mod model;
mod precision;
mod response;
mod vectors;

pub use device::Device;
pub use error::{
    Busy, DownloadError, DownloadProblem, Error, InferenceError, InvalidConfig, LoadError, LoadProblem, ModelNotFound,
    OutOfMemory, Result,
};
pub use generation::{
    FinishReason, GenerationResponse, GenerationTimings, Message, Role, TokenCandidate, TokenLogprob,
};
pub use model::{Architecture, ModelInfo, ModelType};
pub use precision::Precision;
pub use response::{Embedding, EmbeddingResponse, RerankResponse, RerankResult, Truncated, Truncation, Usage};
pub use vectors::{HybridWeights, MultiVector, SparseVector};
