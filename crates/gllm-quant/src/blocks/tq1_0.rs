//! `TQ1_0`: `d · (q - 1)`, for weights of -1, 0 and 1, with five codes a byte.
//!
//! Codes are the digits of a number to base 3, the first the highest; a byte is `256 / 243` of it, rounded up, so that
//! the digits come out on top when a byte is multiplied by 3. The last bytes hold four codes each.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::rounding::ternary;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockTq1_0 {
    fives: [u8; 48],
    fours: [u8; 4],
    d: [u8; 2],
}

const _: () = assert!(size_of::<BlockTq1_0>() == BlockType::TQ1_0.block_bytes());

impl IntegerBlock for BlockTq1_0 {
    const TYPE: BlockType = BlockType::TQ1_0;
    const BITS: usize = 2;
    const SUB: usize = 32;
    const OFFSET: i32 = 1;

    fn quantize(values: &[f32]) -> Self {
        let mut codes = [0; 256];
        let d = ternary(values, &mut codes).to_le_bytes();
        let (first, rest) = codes.split_at(160);
        let (second, third) = rest.split_at(80);
        let mut fives = [0; 48];
        from_digits(first, &mut fives[..32]);
        from_digits(second, &mut fives[32..]);
        let mut fours = [0; 4];
        from_digits(third, &mut fours);
        Self { fives, fours, d }
    }

    fn codes(&self, codes: &mut [u8]) {
        let (first, rest) = codes.split_at_mut(160);
        let (second, third) = rest.split_at_mut(80);
        digits(&self.fives[..32], first);
        digits(&self.fives[32..], second);
        digits(&self.fours, third);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }
}

/// The digits of `bytes`: first the first of each, then the second of each.
fn digits(bytes: &[u8], codes: &mut [u8]) {
    let mut power = 1u8;
    for codes in codes.chunks_exact_mut(bytes.len()) {
        for (code, byte) in codes.iter_mut().zip(bytes) {
            *code = ((u16::from(byte.wrapping_mul(power)) * 3) >> 8) as u8;
        }
        power *= 3;
    }
}

/// The inverse of [`digits`].
fn from_digits(codes: &[u8], bytes: &mut [u8]) {
    let stride = bytes.len();
    for (at, byte) in bytes.iter_mut().enumerate() {
        let mut weight = 81;
        let mut number = 0;
        for code in codes.iter().skip(at).step_by(stride) {
            number += weight * u16::from(*code);
            weight /= 3;
        }
        *byte = (number * 256).div_ceil(243) as u8;
    }
}
