//! Transformer encoders on Burn: from a model folder to embeddings.
//!
//! The only crate that knows Burn. A model is written once over Burn's tensors, whatever the device:
//! the value of [`burn::tensor::Device`] picks the backend at run time, and the Cargo features `cpu`, `ndarray` and
//! `wgpu` decide which backends exist.
//!
//! Weights: folder → [`gllm_quant::WeightFiles`] → [`Weights`] (a cursor over names) → typed layers.
//! Text: texts → [`text::Tokenizer`] → batches under a token budget → [`BertEncoder`] on
//! `[tokens, hidden]` → [`SentencePipeline`] (pooling, dense, normalisation) → vectors.

mod config;
mod embedding_engine;
mod encoder;
mod layers;
mod ops;
mod sentence;
mod sequences;
mod weights;

pub mod device;
pub mod text;

pub use config::BertConfig;
pub use embedding_engine::{EmbedOptions, EmbeddingEngine};
pub use encoder::BertEncoder;
pub use ops::Activation;
pub use sentence::{PoolingMode, SentencePipeline};
pub use sequences::Sequences;
pub use weights::Weights;
