//! `Q8_K`: `d · q`, with a signed byte an element. What activations become for products with the K types.

use bytemuck::{Pod, Zeroable};

use super::Block;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockQ8K {
    d: [u8; 4],
    values: [u8; 256],
    /// Of 16 elements each, `i16`.
    sums: [[u8; 2]; 16],
}

const _: () = assert!(size_of::<BlockQ8K>() == BlockType::Q8_K.block_bytes());

impl Block for BlockQ8K {
    fn dequantize(&self, out: &mut [f32]) {
        let d = f32::from_le_bytes(self.d);
        out.iter_mut().zip(self.values).for_each(|(out, value)| *out = d * f32::from(value.cast_signed()));
    }
}
