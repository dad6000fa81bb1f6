//! `Q8_K`: `d · q`, with a signed byte an element. What activations become for products with the K types.

use std::array;

use bytemuck::{Pod, Zeroable};

use super::Block;
use super::rounding::extreme;
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
    const QUANTIZE: Option<fn(&[f32]) -> Self> = Some(quantize);

    fn dequantize(&self, out: &mut [f32]) {
        let d = f32::from_le_bytes(self.d);
        out.iter_mut().zip(self.values).for_each(|(out, value)| *out = d * f32::from(value.cast_signed()));
    }
}

/// Rounds, with ggml's choice of the scale: the extreme becomes -127.
fn quantize(elements: &[f32]) -> BlockQ8K {
    let inverse = -127.0 / extreme(elements);
    if !inverse.is_finite() {
        return BlockQ8K::zeroed();
    }
    let value = |at: usize| (elements[at] * inverse).round_ties_even() as i8;
    let values: [i8; 256] = array::from_fn(value);
    let sums = array::from_fn(|sub| values[16 * sub..][..16].iter().map(|value| i16::from(*value)).sum());
    BlockQ8K {
        d: (1.0 / inverse).to_le_bytes(),
        values: values.map(i8::cast_unsigned),
        sums: <[i16; 16]>::map(sums, i16::to_le_bytes),
    }
}
