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
