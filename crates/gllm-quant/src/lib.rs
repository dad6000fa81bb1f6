//! Weight files as validated, memory-mapped tensors, and products on those that are quantised: bytes and slices, no
//! tensor library.
//!
//! [`WeightFiles`] opens what a model folder holds (one file, or the shards that an index lists), validates
//! every header once, and hands out [`RawTensor`]s that borrow the mapping: opening a checkpoint reads its
//! headers and copies nothing.
//!
//! Files are safetensors, PyTorch checkpoints of a flat state dict, or GGUF. Of checkpoints, nothing is executed: their
//! pickles are read by an interpreter that knows tensors and nothing else, and refuses the rest by name. What GGUF files
//! say beside tensors is in [`gguf::Metadata`].
//!
//! Quantised weights are blocks of GGUF ([`QTensor`]), which [`blocks`] makes floats of, or codes with scales for groups
//! of inputs ([`GroupQuantized`]: AWQ, GPTQ, compressed-tensors). [`QLinear`] computes with both as they are.

pub mod awq;
pub mod blocks;
pub mod compressed_tensors;
pub mod gguf;
pub mod gptq;

mod block_type;
mod dtype;
mod group_quant;
mod huge_pages;
mod json_fields;
mod kernels;
mod mapped;
mod matmul;
mod memory;
mod named;
mod named_tensor;
mod packed_words;
mod pytorch;
mod qlinear;
mod qtensor;
mod quantization_config;
mod safetensors_file;
mod safetensors_header;
mod weight_file;
mod weight_files;

pub use block_type::BlockType;
pub use dtype::DType;
pub use group_quant::{GroupQuantized, GroupSize};
pub use huge_pages::HugeVec;
pub use named_tensor::NamedTensor;
pub use pytorch::PytorchFile;
pub use qlinear::QLinear;
pub use qtensor::QTensor;
pub use quantization_config::QuantizationConfig;
pub use safetensors_file::SafetensorsFile;
pub use weight_file::{RawTensor, TensorInfo, WeightFile};
pub use weight_files::WeightFiles;

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
