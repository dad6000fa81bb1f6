//! `Q2_K`: `d · scale · q - dmin · min`, with 2 bits a code and a scale and a minimum of 4 bits for 16 elements.

use std::array;

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::packing::{pack, unpack};
use super::search::affine;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ2K {
    /// Scales below, minima above.
    scales: [u8; 16],
    codes: [u8; 64],
    d: [u8; 2],
    dmin: [u8; 2],
}

const _: () = assert!(size_of::<BlockQ2K>() == BlockType::Q2_K.block_bytes());

impl IntegerBlock for BlockQ2K {
    const TYPE: BlockType = BlockType::Q2_K;
    const BITS: usize = 2;
    const SUB: usize = 16;
    const HAS_SUB_SCALES: bool = true;
    const HAS_SMALL_SCALES: bool = true;
    const HAS_MINS: bool = true;

    fn quantize(values: &[f32]) -> Self {
        let found = affine::<Self>(values, 15);
        let scale = |sub: usize| found.mins[sub] << 4 | found.scales[sub].cast_unsigned();
        Self {
            scales: array::from_fn(scale),
            codes: pack::<2, 32, _>(&found.codes, 0),
            d: found.d.to_le_bytes(),
            dmin: found.dmin.to_le_bytes(),
        }
    }

    fn codes(&self, codes: &mut [u8]) {
        unpack::<2, 32>(&self.codes, codes);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }

    fn dmin(&self) -> f16 {
        f16::from_le_bytes(self.dmin)
    }

    fn scale(&self, sub: usize) -> i8 {
        (self.scales[sub] & 15).cast_signed()
    }

    fn min(&self, sub: usize) -> u8 {
        self.scales[sub] >> 4
    }
}
