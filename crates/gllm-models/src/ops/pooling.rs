//! From the tokens of a sequence to one vector, and its normalisation.
//!
//! Source: `Pooling` and `Normalize` of sentence-transformers.

use burn::tensor::Tensor;

#[cfg(feature = "cpu")]
use super::cpu;
use crate::sequences::last_tokens;
use crate::{PoolingMode, Sequences, Wanted};

/// # Shapes
/// - `hidden`: `[tokens, hidden]`
/// - returns `[sequences, hidden]`
pub(crate) fn pool(hidden: &Tensor<2>, mode: PoolingMode, sequences: &Sequences) -> Tensor<2> {
    sequences.reduce_blocks(hidden, |block, tokens| {
        let [rows, len, width] = tokens.dims();
        let masked = |tokens: Tensor<3>, fill: f32| match block.padding_mask() {
            Some(mask) => tokens.mask_fill(mask.reshape([rows, len, 1]).expand([rows, len, width]), fill),
            None => tokens,
        };
        let sum = |tokens| masked(tokens, 0.0).sum_dim(1).reshape([rows, width]);
        match mode {
            PoolingMode::Cls => tokens.slice([0..rows, 0..1, 0..width]).reshape([rows, width]),
            PoolingMode::LastToken => last_tokens(tokens),
            PoolingMode::Max => masked(tokens, f32::NEG_INFINITY).max_dim(1).reshape([rows, width]),
            PoolingMode::Mean => block.divide_by_length(sum(tokens), |length| length),
            PoolingMode::MeanSqrtLen => block.divide_by_length(sum(tokens), Tensor::sqrt),
        }
    })
}

/// The rows of the wanted tokens.
///
/// # Shapes
/// - `x`: `[tokens, width]`
/// - returns `[wanted tokens, width]`
pub(crate) fn kept(x: Tensor<2>, wanted: Wanted, sequences: &Sequences) -> Tensor<2> {
    match wanted {
        Wanted::All => x,
        Wanted::First => pool(&x, PoolingMode::Cls, sequences),
        Wanted::Last => pool(&x, PoolingMode::LastToken, sequences),
    }
}

/// The least length that a row is divided by, that of `torch.nn.functional.normalize`.
const FLOOR: f64 = 1e-12;

/// Scales each row to length 1; a row of zeros stays zero.
///
/// # Shapes
/// - `x`: `[rows, width]`, returns the same
pub(crate) fn l2_normalize(x: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if cpu::runs_here(&x.device()) {
        let [_, width] = x.dims();
        return cpu::update(x, &mut |x| cpu::l2_norm::l2_normalize(x, width, FLOOR as f32));
    }
    let norm = (x.clone() * x.clone()).sum_dim(1).sqrt().clamp_min(FLOOR);
    x / norm
}
