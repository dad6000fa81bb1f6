//! `TQ2_0`: `d · (q - 1)`, for weights of -1, 0 and 1, with 2 bits a code.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::packing::{pack, unpack};
use super::rounding::ternary;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockTq2_0 {
    codes: [u8; 64],
    d: [u8; 2],
}

const _: () = assert!(size_of::<BlockTq2_0>() == BlockType::TQ2_0.block_bytes());

impl IntegerBlock for BlockTq2_0 {
    const TYPE: BlockType = BlockType::TQ2_0;
    const BITS: usize = 2;
    const SUB: usize = 32;
    const OFFSET: i32 = 1;

    fn quantize(values: &[f32]) -> Self {
        let mut codes = [0; 256];
        let d = ternary(values, &mut codes);
        Self { codes: pack::<2, 32, _>(&codes, 0), d: d.to_le_bytes() }
    }

    fn codes(&self, codes: &mut [u8]) {
        unpack::<2, 32>(&self.codes, codes);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }
}
