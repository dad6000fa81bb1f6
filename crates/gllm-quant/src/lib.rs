//! Weight files as validated, memory-mapped tensors: bytes and slices, no tensor library.
//!
//! [`WeightFiles`] opens what a model folder holds (one file, or the shards that an index lists), validates
//! every header once, and hands out [`RawTensor`]s that borrow the mapping: opening a checkpoint reads its
//! headers and copies nothing.
//!
//! Files are safetensors, PyTorch checkpoints of a flat state dict, or GGUF. Of checkpoints, nothing is executed: their
//! pickles are read by an interpreter that knows tensors and nothing else, and refuses the rest by name. What GGUF files
//! say beside tensors is in [`gguf::Metadata`].

mod block_type;
pub mod blocks;
mod dtype;
pub mod gguf;
mod mapped;
mod pytorch;
mod safetensors_file;
mod weight_file;
mod weight_files;

pub use block_type::BlockType;
pub use dtype::DType;
pub use pytorch::PytorchFile;
pub use safetensors_file::SafetensorsFile;
pub use weight_file::{RawTensor, TensorInfo, WeightFile};
pub use weight_files::WeightFiles;
