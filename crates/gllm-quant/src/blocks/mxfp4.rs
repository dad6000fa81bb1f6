//! MXFP4: floats of 4 bits (E2M1) that share a power of two. Source: OCP Microscaling Formats 1.0.

use bytemuck::{Pod, Zeroable};

use super::Block;
use super::packing::{pack, unpack};
use super::rounding::extreme;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockMxfp4 {
    /// Of the power of two, with a bias of 127.
    exponent: u8,
    codes: [u8; 16],
}

const _: () = assert!(size_of::<BlockMxfp4>() == BlockType::MXFP4.block_bytes());

/// What codes stand for, doubled, so that they are integers.
const VALUES: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

impl Block for BlockMxfp4 {
    const QUANTIZE: Option<fn(&[f32]) -> Self> = Some(quantize);

    fn dequantize(&self, out: &mut [f32]) {
        let mut codes = [0; 32];
        unpack::<4, 16>(&self.codes, &mut codes);
        let scale = half_power(self.exponent);
        out.iter_mut().zip(codes).for_each(|(out, code)| *out = scale * f32::from(VALUES[usize::from(code)]));
    }
}

/// Half of the power of two: 2^(exponent - 128). The two least are subnormal.
fn half_power(exponent: u8) -> f32 {
    match exponent {
        0 => f32::from_bits(0x20_0000),
        exponent => f32::from_bits(u32::from(exponent - 1) << 23 | u32::from(exponent == 1) << 22),
    }
}

/// Rounds, with the power of two with which the extreme is between 4 and 8; 6 is the greatest value.
fn quantize(elements: &[f32]) -> BlockMxfp4 {
    // The exponent of a float, with the same bias; 0 for subnormal ones.
    let exponent = (extreme(elements).abs().to_bits() >> 23) as u8;
    let exponent = exponent.saturating_sub(2);
    let inverse = 1.0 / half_power(exponent);
    let mut codes = [0; 32];
    codes.iter_mut().zip(elements).for_each(|(code, element)| *code = code_of(element * inverse));
    BlockMxfp4 { exponent, codes: pack::<4, 16, _>(&codes, 0) }
}

/// The code that comes nearest to `value`, the smaller magnitude if two do.
fn code_of(value: f32) -> u8 {
    const MIDPOINTS: [f32; 7] = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0];
    let magnitude: u8 = MIDPOINTS.iter().map(|midpoint| u8::from(value.abs() > *midpoint)).sum();
    let negative = magnitude > 0 && value < 0.0;
    u8::from(negative) << 3 | magnitude
}
