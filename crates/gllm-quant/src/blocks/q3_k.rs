//! `Q3_K`: `d · scale · (q - 4)`, with 3 bits a code and a scale of 6 bits for 16 elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::packing::{pack, unpack, unpack_high};
use super::search::scaled;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ3K {
    high: [u8; 32],
    low: [u8; 64],
    /// The lower 4 bits of all scales, then the upper 2.
    scales: [u8; 12],
    d: [u8; 2],
}

const _: () = assert!(size_of::<BlockQ3K>() == BlockType::Q3_K.block_bytes());

impl IntegerBlock for BlockQ3K {
    const TYPE: BlockType = BlockType::Q3_K;
    const BITS: usize = 3;
    const SUB: usize = 16;
    const OFFSET: i32 = 4;
    const HAS_SUB_SCALES: bool = true;

    fn quantize(values: &[f32]) -> Self {
        let found = scaled::<Self>(values, -32);
        let codes = found.scales.map(|scale| (scale + 32).cast_unsigned());
        let mut scales = [0; 12];
        scales[..8].copy_from_slice(&pack::<4, 8, 8>(&codes, 0));
        scales[8..].copy_from_slice(&pack::<2, 4, 4>(&codes, 4));
        Self {
            high: pack::<1, 32, _>(&found.codes, 2),
            low: pack::<2, 32, _>(&found.codes, 0),
            scales,
            d: found.d.to_le_bytes(),
        }
    }

    fn codes(&self, codes: &mut [u8]) {
        unpack::<2, 32>(&self.low, codes);
        unpack_high::<1, 32>(&self.high, codes, 2);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }

    fn scale(&self, sub: usize) -> i8 {
        let low = self.scales[sub % 8] >> (sub / 8 * 4) & 15;
        let high = self.scales[8 + sub % 4] >> (sub / 4 * 2) & 3;
        (high << 4 | low).cast_signed() - 32
    }
}
