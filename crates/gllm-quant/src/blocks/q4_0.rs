//! `Q4_0`: `d · (q - 8)`, with 4 bits a code.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::packing::{pack, unpack};
use super::rounding::symmetric;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ4_0 {
    d: [u8; 2],
    codes: [u8; 16],
}

const _: () = assert!(size_of::<BlockQ4_0>() == BlockType::Q4_0.block_bytes());

impl IntegerBlock for BlockQ4_0 {
    const TYPE: BlockType = BlockType::Q4_0;
    const BITS: usize = 4;
    const SUB: usize = 32;
    const OFFSET: i32 = 8;

    fn quantize(values: &[f32]) -> Self {
        let mut codes = [0; 32];
        let d = symmetric(values, 8, &mut codes);
        Self { d: d.to_le_bytes(), codes: pack::<4, 16, _>(&codes, 0) }
    }

    fn codes(&self, codes: &mut [u8]) {
        unpack::<4, 16>(&self.codes, codes);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }
}
