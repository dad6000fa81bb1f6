//! Each block type's layout, and the way from floats to blocks and back.
//!
//! A layout is made of bytes alone, so that a file's bytes are read in place, whatever their alignment. Bytes behind
//! the last whole block are left alone: readers of files check lengths against shapes before.
//!
//! Source: the structs of ggml (<https://github.com/ggml-org/ggml>) and its functions `dequantize_row_*`, which these
//! agree with to the bit.

mod codebook;
mod grids;
mod integer_block;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod iq4_nl;
mod iq4_xs;
mod k_scales;
mod mxfp4;
mod packing;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod q8_1;
mod q8_k;
mod rounding;
mod search;
mod tq1_0;
mod tq2_0;

use bytemuck::Pod;
use gllm_core::{InvalidConfig, Result};
use half::f16;
use rayon::prelude::*;

use crate::BlockType;

pub(crate) use integer_block::IntegerBlock;
pub(crate) use iq1_m::BlockIq1M;
pub(crate) use iq1_s::BlockIq1S;
pub(crate) use iq2_s::BlockIq2S;
pub(crate) use iq2_xs::BlockIq2Xs;
pub(crate) use iq2_xxs::BlockIq2Xxs;
pub(crate) use iq3_s::BlockIq3S;
pub(crate) use iq3_xxs::BlockIq3Xxs;
pub(crate) use iq4_nl::BlockIq4Nl;
pub(crate) use iq4_xs::BlockIq4Xs;
pub(crate) use mxfp4::BlockMxfp4;
pub(crate) use q2_k::BlockQ2K;
pub(crate) use q3_k::BlockQ3K;
pub(crate) use q4_0::BlockQ4_0;
pub(crate) use q4_1::BlockQ4_1;
pub(crate) use q4_k::BlockQ4K;
pub(crate) use q5_0::BlockQ5_0;
pub(crate) use q5_1::BlockQ5_1;
pub(crate) use q5_k::BlockQ5K;
pub(crate) use q6_k::BlockQ6K;
pub(crate) use q8_0::BlockQ8_0;
pub(crate) use q8_1::BlockQ8_1;
pub(crate) use q8_k::BlockQ8K;
pub(crate) use tq1_0::BlockTq1_0;
pub(crate) use tq2_0::BlockTq2_0;

/// A block of any type.
pub(crate) trait Block: Pod {
    /// Makes the block that comes closest to as many values, which are finite, and no larger than half precision's.
    const QUANTIZE: Option<fn(&[f32]) -> Self> = None;

    /// Writes the elements; `out` is as long as a block.
    fn dequantize(&self, out: &mut [f32]);
}

impl<B: IntegerBlock> Block for B {
    const QUANTIZE: Option<fn(&[f32]) -> Self> = Some(B::quantize);

    fn dequantize(&self, out: &mut [f32]) {
        integer_block::dequantize(self, out);
    }
}

/// Evaluates `$body` with `$block` as the struct of `$of`.
macro_rules! with_block {
    ($of:expr, $block:ident => $body:expr) => {
        with_block!($of, $block => $body;
            Q4_0: BlockQ4_0, Q4_1: BlockQ4_1, Q5_0: BlockQ5_0, Q5_1: BlockQ5_1,
            Q8_0: BlockQ8_0, Q8_1: BlockQ8_1, Q2_K: BlockQ2K, Q3_K: BlockQ3K,
            Q4_K: BlockQ4K, Q5_K: BlockQ5K, Q6_K: BlockQ6K, Q8_K: BlockQ8K,
            IQ2_XXS: BlockIq2Xxs, IQ2_XS: BlockIq2Xs, IQ3_XXS: BlockIq3Xxs, IQ1_S: BlockIq1S,
            IQ4_NL: BlockIq4Nl, IQ3_S: BlockIq3S, IQ2_S: BlockIq2S, IQ4_XS: BlockIq4Xs,
            IQ1_M: BlockIq1M, TQ1_0: BlockTq1_0, TQ2_0: BlockTq2_0, MXFP4: BlockMxfp4)
    };
    ($of:expr, $block:ident => $body:expr; $($type:ident: $struct:ident),*) => {
        match $of {
            $(BlockType::$type => {
                type $block = $struct;
                $body
            })*
        }
    };
}

/// The elements of the blocks of `bytes`.
///
/// ```
/// use gllm_quant::{BlockType, blocks};
/// // One scale of 0.5, then 32 bytes.
/// let bytes: Vec<u8> = [0x00, 0x38].into_iter().chain(0..32).collect();
/// assert_eq!(blocks::dequantize(BlockType::Q8_0, &bytes)[..4], [0.0, 0.5, 1.0, 1.5]);
/// ```
#[must_use]
pub fn dequantize(of: BlockType, bytes: &[u8]) -> Vec<f32> {
    let mut values = vec![0.0; bytes.len() / of.block_bytes() * of.block_len()];
    dequantize_into(of, bytes, &mut values);
    values
}

/// Writes the elements of the blocks of `bytes` to `out`: of as many blocks as both have room for.
pub fn dequantize_into(of: BlockType, bytes: &[u8], out: &mut [f32]) {
    with_block!(of, B => {
        for (block, out) in blocks::<B>(bytes).iter().zip(out.chunks_exact_mut(of.block_len())) {
            block.dequantize(out);
        }
    });
}

/// The blocks that come closest to `values`: a row of weights, or several.
///
/// ```
/// use gllm_quant::{BlockType, blocks};
/// # fn main() -> gllm_core::Result<()> {
/// let bytes = blocks::quantize(BlockType::Q8_0, &[0.25; 64])?;
/// assert_eq!(bytes.len(), 2 * BlockType::Q8_0.block_bytes());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `InvalidConfig` for the types that can't be written, which are `Q8_1` and those of codebooks (`IQ1`, `IQ2`, `IQ3`);
/// for values that aren't whole blocks, and for a value that is no number or that half precision doesn't reach, beyond
/// ±65504: scales are of half precision.
pub fn quantize(of: BlockType, values: &[f32]) -> Result<Vec<u8>> {
    let length = of.block_len();
    if !values.len().is_multiple_of(length) {
        let found = format!("{} values", values.len());
        return Err(InvalidConfig::new("values", format!("blocks of {length} for {of}"), found).into());
    }
    let beyond = |value: &f32| value.is_nan() || value.abs() > f16::MAX.to_f32();
    if let Some((at, value)) = values.par_iter().enumerate().find_first(|(_, value)| beyond(value)) {
        let expected = format!("numbers of at most {} in magnitude", f16::MAX);
        return Err(InvalidConfig::new(format!("values[{at}]"), expected, value.to_string()).into());
    }
    let mut bytes = vec![0; values.len() / length * of.block_bytes()];
    with_block!(of, B => {
        let quantize = B::QUANTIZE.ok_or_else(|| {
            InvalidConfig::new("type", "a type that can be written: neither Q8_1, IQ1, IQ2 nor IQ3", of.to_string())
        })?;
        let blocks: &mut [B] = bytemuck::cast_slice_mut(&mut bytes);
        // Tasks of some hundred values or more.
        blocks.par_iter_mut().zip(values.par_chunks_exact(length)).with_min_len(16).for_each(|(block, values)| {
            *block = quantize(values);
        });
    });
    Ok(bytes)
}

/// The dot product of the elements of `bytes` and `x`, computed in `f64`: what faster ones are compared with.
#[must_use]
pub fn dot(of: BlockType, bytes: &[u8], x: &[f32]) -> f64 {
    dequantize(of, bytes).iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()
}

/// The whole blocks of `bytes`, in place.
pub(crate) fn blocks<B: Block>(bytes: &[u8]) -> &[B] {
    bytemuck::cast_slice(&bytes[..bytes.len() / size_of::<B>() * size_of::<B>()])
}
