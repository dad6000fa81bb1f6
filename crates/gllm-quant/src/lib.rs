//! Weight files as validated, memory-mapped tensors: bytes and slices, no tensor library.
//!
//! [`WeightFiles`] opens what a model folder holds (one file, or the shards that an index lists), validates
//! every header once, and hands out [`RawTensor`]s that borrow the mapping: opening a checkpoint reads its
//! headers and copies nothing.
//!
//! Files are safetensors, or PyTorch checkpoints of a flat state dict. Of the latter, nothing is executed: their
//! pickles are read by an interpreter that knows tensors and nothing else, and refuses the rest by name.
//!
//! Quantised tensors hold blocks of GGUF: [`blocks`] makes floats of them, and them of floats.

mod block_type;
pub mod blocks;
mod dtype;
mod mapped;
mod pytorch;
mod safetensors_file;
mod weight_files;

pub use block_type::BlockType;
pub use dtype::DType;
pub use weight_files::{RawTensor, WeightFiles};
