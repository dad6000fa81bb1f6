//! `Q5_1`: `d · q + m`, with 5 bits a code.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::packing::{pack, unpack, unpack_high};
use super::rounding::affine;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ5_1 {
    d: [u8; 2],
    m: [u8; 2],
    high: [u8; 4],
    low: [u8; 16],
}

const _: () = assert!(size_of::<BlockQ5_1>() == BlockType::Q5_1.block_bytes());

impl IntegerBlock for BlockQ5_1 {
    const TYPE: BlockType = BlockType::Q5_1;
    const BITS: usize = 5;
    const SUB: usize = 32;
    const HAS_MINS: bool = true;

    fn quantize(values: &[f32]) -> Self {
        let mut codes = [0; 32];
        let (d, m) = affine(values, 31, &mut codes);
        let (high, low) = (pack::<1, 1, _>(&codes, 4), pack::<4, 16, _>(&codes, 0));
        Self { d: d.to_le_bytes(), m: m.to_le_bytes(), high, low }
    }

    fn codes(&self, codes: &mut [u8]) {
        unpack::<4, 16>(&self.low, codes);
        unpack_high::<1, 1>(&self.high, codes, 4);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }

    fn dmin(&self) -> f16 {
        -f16::from_le_bytes(self.m)
    }
}
