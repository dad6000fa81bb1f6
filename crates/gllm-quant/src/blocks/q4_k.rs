//! `Q4_K`: `d · scale · q - dmin · min`, with 4 bits a code and a scale and a minimum of 6 bits for 32 elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::k_scales::KScales;
use super::packing::{pack, unpack};
use super::search::affine;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ4K {
    d: [u8; 2],
    dmin: [u8; 2],
    scales: KScales,
    codes: [u8; 128],
}

const _: () = assert!(size_of::<BlockQ4K>() == BlockType::Q4_K.block_bytes());

impl IntegerBlock for BlockQ4K {
    const TYPE: BlockType = BlockType::Q4_K;
    const BITS: usize = 4;
    const SUB: usize = 32;
    const HAS_SUB_SCALES: bool = true;
    const HAS_MINS: bool = true;

    fn quantize(values: &[f32]) -> Self {
        let found = affine::<Self>(values, 63);
        Self {
            d: found.d.to_le_bytes(),
            dmin: found.dmin.to_le_bytes(),
            scales: KScales::new(&found),
            codes: pack::<4, 32, _>(&found.codes, 0),
        }
    }

    fn codes(&self, codes: &mut [u8]) {
        unpack::<4, 32>(&self.codes, codes);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }

    fn dmin(&self) -> f16 {
        f16::from_le_bytes(self.dmin)
    }

    fn scale(&self, sub: usize) -> i8 {
        self.scales.scale(sub)
    }

    fn min(&self, sub: usize) -> u8 {
        self.scales.min(sub)
    }
}
