//! Transformer encoders and decoders on Burn: from a model folder to embeddings, rankings and texts.
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
//! Prompts: → [`ChatTemplate`] → tokens → [`GeneratorModel`] with a [`KvCache`] → logits → [`Sampler`], [`Constraint`] →
//! tokens → [`text::TextStream`], [`text::StopStrings`] → pieces of a text ([`GenerationEngine`]).
//! Export: folder → metadata and tensors of any type → a GGUF file ([`export_gguf`]).

mod backbone;
mod chat_template;
mod config;
mod constraint;
mod cross_encoder;
mod decoder;
mod decoder_config;
mod decoder_names;
mod decoder_reranker;
mod embedding_engine;
mod encoder;
mod export;
mod generate_options;
mod generation_defaults;
mod generation_engine;
mod generator_model;
mod inputs;
mod kv_cache;
mod layers;
mod load;
mod modules;
mod multi_vector;
mod names;
mod ops;
mod out_of_memory;
mod prefix_cache;
mod rerank_engine;
mod rotary_config;
mod sampling;
mod sentence;
mod sentence_config;
mod sequences;
mod sparse;
mod target;
mod text_sequence;
mod weight_bytes;
mod weights;

pub mod device;
pub mod text;
pub mod threads;

pub use chat_template::{ChatOptions, ChatTemplate};
pub use config::{
    AttentionPositions, Biases, ClassifierConfig, EncoderConfig, LearnedPositions, LocalAttention, NormOrder,
    TokenTypes,
};
pub use constraint::{Constraint, TokenVocabulary};
pub use cross_encoder::CrossEncoder;
pub use decoder::Step;
pub use decoder_config::{DecoderBiases, DecoderConfig, ExpertsConfig, RotaryPairs, SlidingWindow};
pub use embedding_engine::{EmbedJob, EmbedKind, EmbedOptions, EmbeddingEngine};
pub use encoder::Encoder;
pub use export::{ExportProgress, Exported, FileType, TypeTotal, export_gguf};
pub use generate_options::{GenerateOptions, Prompt, TextFormat};
pub use generation_defaults::GenerationDefaults;
pub use generation_engine::{Generation, GenerationEngine};
pub use generator_model::GeneratorModel;
pub use kv_cache::{CacheType, KvCache};
pub use load::model_type;
pub use multi_vector::MultiVectorHead;
pub use ops::Activation;
pub use out_of_memory::out_of_memory;
pub use rerank_engine::{RerankEngine, RerankJob, RerankOptions};
pub use rotary_config::{RotaryConfig, RotaryScaling};
pub use sampling::{Choice, Sampler, SamplingOptions, TokenMask};
pub use sentence::{PoolingMode, SentencePipeline};
pub use sequences::{Sequences, Wanted};
pub use sparse::{LexicalHead, SparseHead, SpladeHead};
pub use target::Target;
pub use text_sequence::TextSequence;
pub use weight_bytes::weight_bytes;
pub use weights::Weights;
