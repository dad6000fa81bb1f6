//! `Q6_K`: `d · scale · (q - 32)`, with 6 bits a code and a signed byte as the scale of 16 elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::packing::{pack, unpack, unpack_high};
use super::search::scaled;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ6K {
    low: [u8; 128],
    high: [u8; 64],
    scales: [u8; 16],
    d: [u8; 2],
}

const _: () = assert!(size_of::<BlockQ6K>() == BlockType::Q6_K.block_bytes());

impl IntegerBlock for BlockQ6K {
    const TYPE: BlockType = BlockType::Q6_K;
    const BITS: usize = 6;
    const SUB: usize = 16;
    const OFFSET: i32 = 32;
    const HAS_SUB_SCALES: bool = true;

    fn quantize(values: &[f32]) -> Self {
        let found = scaled::<Self>(values, -128);
        Self {
            low: pack::<4, 64, _>(&found.codes, 0),
            high: pack::<2, 32, _>(&found.codes, 4),
            scales: found.scales.map(i8::cast_unsigned),
            d: found.d.to_le_bytes(),
        }
    }

    fn codes(&self, codes: &mut [u8]) {
        unpack::<4, 64>(&self.low, codes);
        unpack_high::<2, 32>(&self.high, codes, 4);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }

    fn scale(&self, sub: usize) -> i8 {
        self.scales[sub].cast_signed()
    }
}
