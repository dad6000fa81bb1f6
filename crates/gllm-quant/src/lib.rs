//! Weight files as validated, memory-mapped tensors: bytes and slices, no tensor library.
//!
//! [`WeightFiles`] opens what a model folder holds (one safetensors file, or the shards that an index
//! lists), validates every header once, and hands out [`RawTensor`]s that borrow the mapping: opening
//! a checkpoint reads its headers and copies nothing.

mod dtype;
mod mapped;
mod safetensors_file;
mod weight_files;

pub use dtype::DType;
pub use weight_files::{RawTensor, WeightFiles};
