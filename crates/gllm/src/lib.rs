#![doc = include_str!("../../../README.md")]
//!
//! # This crate
//! A thin facade over the crates that do the work: [`Client`] finds or downloads a model, opens a device,
//! and answers requests on the caller's thread; [`AsyncClient`] (feature `async`) does the same from a thread of
//! its own.

#[cfg(feature = "async")]
mod async_client;
#[cfg(feature = "async")]
mod async_generate;
mod client;
mod embeddings;
mod generate;
mod options;
mod rerank;

#[cfg(feature = "async")]
pub use async_client::{AsyncClient, AsyncEmbeddingsBuilder, AsyncRerankBuilder};
#[cfg(feature = "async")]
pub use async_generate::AsyncGenerationBuilder;
pub use client::Client;
pub use embeddings::EmbeddingsBuilder;
pub use generate::GenerationBuilder;
pub use gllm_core::*;
/// The registry, the store and downloads.
pub use gllm_hub as hub;
pub use gllm_hub::ModelRegistry;
pub use gllm_models::{
    CacheType, EmbedOptions, ExportProgress, Exported, FileType, GenerateOptions, Generation, Prompt, RerankOptions,
    SamplingOptions, TextFormat, TypeTotal, export_gguf,
};
/// What is in weight files, without a device to compute with them.
pub use gllm_quant as weights;
#[cfg(feature = "async")]
pub use gllm_runtime::{AsyncEmbedderHandle, AsyncGeneration, AsyncGeneratorHandle, AsyncRerankerHandle};
pub use gllm_runtime::{
    CancelToken, ClientConfig, EmbedderHandle, GenerationStream, GeneratorConfig, GeneratorHandle, HandleConfig, Lease,
    ModelHandle, ModelState, Priority, QueueConfig, RequestOptions, RerankerHandle, Runtime, RuntimeConfig, Shutdown,
    TextInput, TextRequest, TextsConfig, WhenFull,
};
pub use rerank::RerankBuilder;
