//! `IQ1_S`: eight elements from a grid of 2048; a scale of 3 bits for 32 elements, and an eighth added or subtracted.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::Block;
use super::codebook::eight_ternary;
use super::grids::IQ1_S;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockIq1S {
    d: [u8; 2],
    /// Places in the grid, without their upper 3 bits.
    low: [[u8; 4]; 8],
    /// Of 32 elements: four times the upper 3 bits, the scale, and whether the eighth is subtracted.
    high: [[u8; 2]; 8],
}

const _: () = assert!(size_of::<BlockIq1S>() == BlockType::IQ1_S.block_bytes());

impl Block for BlockIq1S {
    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (out, (low, high)) in out.chunks_exact_mut(32).zip(self.low.into_iter().zip(self.high)) {
            let high = u16::from_le_bytes(high);
            let scale = d * f32::from(2 * (high >> 12 & 7) + 1);
            for (group, (out, low)) in out.chunks_exact_mut(8).zip(low).enumerate() {
                let place = (high >> (3 * group) & 7) << 8 | u16::from(low);
                eight_ternary(out, scale, IQ1_S[usize::from(place)], high >> 15 == 1);
            }
        }
    }
}
