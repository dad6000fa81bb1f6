//! Weight files as validated, memory-mapped tensors: bytes and slices, no tensor library.
//!
//! [`WeightFiles`] opens what a model folder holds (one file, or the shards that an index lists), validates
//! every header once, and hands out [`RawTensor`]s that borrow the mapping: opening a checkpoint reads its
//! headers and copies nothing.
//!
//! Files are safetensors, or PyTorch checkpoints of a flat state dict. Of the latter, nothing is executed: their
//! pickles are read by an interpreter that knows tensors and nothing else, and refuses the rest by name.

pub mod awq;
mod block_type;
mod blocks;
pub mod compressed_tensors;
mod dtype;
pub mod gptq;
mod group_quant;
mod json_fields;
mod mapped;
mod named_tensor;
mod packed_words;
mod pytorch;
mod quantization_config;
mod safetensors_file;
mod weight_files;

pub use block_type::BlockType;
pub use dtype::DType;
pub use group_quant::{GroupQuantized, GroupSize};
pub use named_tensor::NamedTensor;
pub use quantization_config::QuantizationConfig;
pub use weight_files::{RawTensor, WeightFiles};

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
