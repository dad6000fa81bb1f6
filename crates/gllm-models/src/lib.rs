//! Transformer encoders on Burn: from a model folder to embeddings and rankings.
//!
//! The only crate that knows Burn. A model is written once over Burn's tensors, whatever the device:
//! the value of [`burn::tensor::Device`] picks the backend at run time, and the Cargo features `cpu`, `ndarray` and
//! `wgpu` decide which backends exist.
//!
//! Family: `config.json` → an arm of `load` → a row of `names` and an [`EncoderConfig`]; all families share the
//! [`Encoder`].
//! Weights: folder → [`gllm_quant::WeightFiles`] → [`Weights`] (a cursor over names) → typed layers.
//! Texts: → [`text::Tokenizer`] → batches under a token budget → [`Encoder`] on `[tokens, hidden]` →
//! [`SentencePipeline`] (pooling, dense, normalisation), [`SparseHead`], [`MultiVectorHead`] → vectors.
//! Pairs: the same, up to the [`CrossEncoder`]'s head → scores.
//! Export: folder → metadata and tensors of any type → a GGUF file ([`export_gguf`]).

mod config;
mod constraint;
mod cross_encoder;
mod embedding_engine;
mod encoder;
mod export;
mod generation_defaults;
mod inputs;
mod layers;
mod load;
mod modules;
mod multi_vector;
mod names;
mod ops;
mod rerank_engine;
mod sampling;
mod sentence;
mod sequences;
mod sparse;
mod weights;

pub mod device;
pub mod text;

pub use config::{
    AttentionPositions, Biases, ClassifierConfig, EncoderConfig, LearnedPositions, LocalAttention, NormOrder,
    RotaryConfig, RotaryScaling, TokenTypes,
};
pub use constraint::{Constraint, TokenVocabulary};
pub use cross_encoder::CrossEncoder;
pub use embedding_engine::{EmbedOptions, EmbeddingEngine};
pub use encoder::Encoder;
pub use export::{ExportProgress, Exported, FileType, TypeTotal, export_gguf};
pub use generation_defaults::GenerationDefaults;
pub use load::model_type;
pub use multi_vector::MultiVectorHead;
pub use ops::Activation;
pub use rerank_engine::{RerankEngine, RerankOptions};
pub use sampling::{Choice, Sampler, SamplingOptions, TokenMask};
pub use sentence::{PoolingMode, SentencePipeline};
pub use sequences::Sequences;
pub use sparse::{LexicalHead, SparseHead, SpladeHead};
pub use weights::Weights;
