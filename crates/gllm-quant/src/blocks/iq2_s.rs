//! `IQ2_S`: eight elements from a grid of 1024, with any signs; a scale of 4 bits for 16 elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::Block;
use super::codebook::eight;
use super::grids::IQ2_S;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockIq2S {
    d: [u8; 2],
    /// Places in the grid, without their upper 2 bits.
    low: [u8; 32],
    signs: [u8; 32],
    high: [u8; 8],
    scales: [u8; 8],
}

const _: () = assert!(size_of::<BlockIq2S>() == BlockType::IQ2_S.block_bytes());

impl Block for BlockIq2S {
    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (group, out) in out.chunks_exact_mut(8).enumerate() {
            let high = self.high[group / 4] >> (group % 4 * 2) & 3;
            let place = usize::from(high) << 8 | usize::from(self.low[group]);
            let scale = self.scales[group / 4] >> (group / 2 % 2 * 4) & 15;
            eight(out, d * (0.5 + f32::from(scale)) * 0.25, IQ2_S[place], self.signs[group]);
        }
    }
}
