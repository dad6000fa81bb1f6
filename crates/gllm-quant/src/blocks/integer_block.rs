//! What most block types come down to: small integers, with scales that neighbours share.
//!
//! With `sub = i / SUB`, element `i` of a block is `(d · scale(sub)) · value(code) - dmin · min(sub)`, where
//! `value(code)` is `code - OFFSET`, or what `TABLE` says. Products are computed on the codes.

use bytemuck::Pod;
use half::f16;

use crate::BlockType;

/// A block of codes.
pub(crate) trait IntegerBlock: Pod {
    /// Which type this is.
    const TYPE: BlockType;
    /// Codes are below `1 << BITS`.
    const BITS: usize;
    /// Elements that share a scale: 16 or 32.
    const SUB: usize;
    /// The code of zero, where there is no table and no minimum.
    const OFFSET: i32 = 0;
    /// What codes stand for, where it isn't themselves.
    const TABLE: Option<[i8; 16]> = None;
    /// Whether sub-blocks have a scale and, with `HAS_MINS`, a minimum of their own, beside the block's.
    const HAS_SUB_SCALES: bool = false;
    /// Whether a minimum is subtracted.
    const HAS_MINS: bool = false;
    /// Whether the scales and minima of sub-blocks are from 0 to 15.
    const HAS_SMALL_SCALES: bool = false;

    /// The block that comes closest to `values`, which are as many as it has elements, finite, and no larger than half
    /// precision's.
    fn quantize(values: &[f32]) -> Self;

    /// The codes, in the order of the elements; `codes` is as long as a block.
    fn codes(&self, codes: &mut [u8]);

    /// Scales the block.
    fn d(&self) -> f16;

    /// Scales the minima.
    fn dmin(&self) -> f16 {
        f16::ZERO
    }

    /// Scales a sub-block; 1 where sub-blocks have none of their own.
    fn scale(&self, sub: usize) -> i8 {
        let _ = sub;
        1
    }

    /// Subtracted from a sub-block, times `dmin`; 1 where the block has a minimum and sub-blocks have none of their
    /// own.
    fn min(&self, sub: usize) -> u8 {
        let _ = sub;
        u8::from(Self::HAS_MINS)
    }

    /// What a code stands for.
    fn value(code: u8) -> i16 {
        match Self::TABLE {
            Some(table) => table[usize::from(code & 15)].into(),
            None => i16::from(code) - Self::OFFSET as i16,
        }
    }
}

/// Writes the elements of `block`.
pub(super) fn dequantize<B: IntegerBlock>(block: &B, out: &mut [f32]) {
    // As long as the longest block.
    let mut codes = [0; 256];
    let codes = &mut codes[..B::TYPE.block_len()];
    block.codes(codes);
    let (d, dmin) = (block.d().to_f32(), block.dmin().to_f32());
    for (sub, (out, codes)) in out.chunks_exact_mut(B::SUB).zip(codes.chunks_exact(B::SUB)).enumerate() {
        let scale = d * f32::from(block.scale(sub));
        let min = dmin * f32::from(block.min(sub));
        for (out, code) in out.iter_mut().zip(codes) {
            *out = scale * f32::from(B::value(*code)) - min;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{IntegerBlock, f16};
    use crate::blocks::{
        BlockIq4Nl, BlockIq4Xs, BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K,
        BlockQ6K, BlockQ8_0, BlockTq1_0, BlockTq2_0,
    };

    /// The formula of the trait, in `f64`, beside what [`super::dequantize`] says.
    fn check<B: IntegerBlock>(bytes: &[u8]) {
        let length = B::TYPE.block_len();
        let block = bytemuck::cast_slice::<u8, B>(&bytes[..size_of::<B>()])[0];
        if !block.d().is_finite() || !block.dmin().is_finite() {
            return;
        }
        let (mut codes, mut found) = (vec![0xff; length], vec![0.0; length]);
        block.codes(&mut codes);
        super::dequantize(&block, &mut found);
        for (at, (code, found)) in codes.iter().zip(found).enumerate() {
            let sub = at / B::SUB;
            assert!(u32::from(*code) < 1 << B::BITS, "{}: {code}", B::TYPE);
            assert!(B::HAS_SUB_SCALES || block.scale(sub) == 1, "{}", B::TYPE);
            assert!(
                !B::HAS_SMALL_SCALES || ((0..16).contains(&block.scale(sub)) && block.min(sub) < 16),
                "{}",
                B::TYPE
            );
            assert!(B::HAS_MINS || (block.dmin() == f16::ZERO && block.min(sub) == 0), "{}", B::TYPE);
            let value = match B::TABLE {
                Some(table) => i32::from(table[usize::from(*code)]),
                None => i32::from(*code) - B::OFFSET,
            };
            let product = block.d().to_f64() * f64::from(block.scale(sub)) * f64::from(value);
            let min = block.dmin().to_f64() * f64::from(block.min(sub));
            let slack = (product.abs() + min.abs()) * f64::from(f32::EPSILON);
            assert!((product - min - f64::from(found)).abs() <= slack, "{}, element {at}", B::TYPE);
        }
    }

    proptest! {
        #[test]
        fn elements_follow_from_codes_scales_and_minima(bytes in prop::collection::vec(any::<u8>(), 210)) {
            check::<BlockQ4_0>(&bytes);
            check::<BlockQ4_1>(&bytes);
            check::<BlockQ5_0>(&bytes);
            check::<BlockQ5_1>(&bytes);
            check::<BlockQ8_0>(&bytes);
            check::<BlockQ2K>(&bytes);
            check::<BlockQ3K>(&bytes);
            check::<BlockQ4K>(&bytes);
            check::<BlockQ5K>(&bytes);
            check::<BlockQ6K>(&bytes);
            check::<BlockIq4Nl>(&bytes);
            check::<BlockIq4Xs>(&bytes);
            check::<BlockTq1_0>(&bytes);
            check::<BlockTq2_0>(&bytes);
        }
    }
}
