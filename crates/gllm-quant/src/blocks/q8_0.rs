//! `Q8_0`: `d · q`, with a signed byte an element.

use std::array;

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::rounding::{extreme, inverse};
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ8_0 {
    d: [u8; 2],
    values: [u8; 32],
}

const _: () = assert!(size_of::<BlockQ8_0>() == BlockType::Q8_0.block_bytes());

impl IntegerBlock for BlockQ8_0 {
    const TYPE: BlockType = BlockType::Q8_0;
    const BITS: usize = 8;
    const SUB: usize = 32;
    const OFFSET: i32 = 128;

    fn quantize(values: &[f32]) -> Self {
        let d = extreme(values).abs() / 127.0;
        let inverse = inverse(d);
        let value = |at: usize| ((values[at] * inverse).round() as i8).cast_unsigned();
        Self { d: f16::from_f32(d).to_le_bytes(), values: array::from_fn(value) }
    }

    fn codes(&self, codes: &mut [u8]) {
        // From two's complement to an offset.
        codes.iter_mut().zip(self.values).for_each(|(code, value)| *code = value ^ 0x80);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }
}
