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
            *out = scale * f32::from(value::<B>(*code)) - min;
        }
    }
}

/// What a code stands for.
fn value<B: IntegerBlock>(code: u8) -> i16 {
    match B::TABLE {
        Some(table) => table[usize::from(code & 15)].into(),
        None => i16::from(code) - B::OFFSET as i16,
    }
}
