//! MXFP4: floats of 4 bits (E2M1) that share a power of two. Source: OCP Microscaling Formats 1.0.

use bytemuck::{Pod, Zeroable};

use super::Block;
use super::packing::unpack;
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
