//! What a model's weights take in memory, told from its files before they are read.

use std::path::Path;

use gllm_core::Result;
use gllm_quant::{DType, WeightFiles};

/// Bytes that the weights at `path`, a folder or a GGUF file, take when they are loaded, as far as the files tell: four for
/// each float, however many it has in the file, and what is quantised as it is. What is computed comes on top.
///
/// For floats that is an upper bound. Which of them become linear layers isn't known here, and those take less where they
/// are multiplied in `bf16`, also if that is what [`gllm_core::Precision::Auto`] means, or in `int8`; embedding tables stay
/// mapped on the CPU. What is quantised takes more than this where the device has no kernels for its type, as on GPUs: it
/// is widened there.
///
/// # Errors
/// [`gllm_core::LoadError`] if there are no weights, or they are malformed.
pub fn weight_bytes(path: &Path) -> Result<u64> {
    let files = WeightFiles::open(path)?;
    let of = |name: &str| match files.describe(name) {
        Some(tensor) => match tensor.dtype {
            DType::F32 | DType::F16 | DType::BF16 => {
                tensor.shape.iter().fold(size_of::<f32>() as u64, |bytes, size| bytes.saturating_mul(*size as u64))
            }
            _ => tensor.bytes as u64,
        },
        None => 0,
    };
    Ok(files.names().map(of).fold(0, u64::saturating_add))
}
