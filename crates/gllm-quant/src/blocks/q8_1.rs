//! `Q8_1`: `d · q`, with a signed byte an element. What activations become for products with `Q4_1` and `Q5_1`.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::Block;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ8_1 {
    d: [u8; 2],
    /// `d` times the sum of the values.
    sum: [u8; 2],
    values: [u8; 32],
}

const _: () = assert!(size_of::<BlockQ8_1>() == BlockType::Q8_1.block_bytes());

impl Block for BlockQ8_1 {
    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        out.iter_mut().zip(self.values).for_each(|(out, value)| *out = d * f32::from(value.cast_signed()));
    }
}
