//! `IQ3_S`: four elements from a grid of 512, with any signs; a scale of 4 bits for 32 elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::Block;
use super::codebook::twice_four;
use super::grids::IQ3_S;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockIq3S {
    d: [u8; 2],
    /// Places in the grid, without their upper bit.
    low: [[u8; 2]; 32],
    high: [u8; 8],
    signs: [u8; 32],
    scales: [u8; 4],
}

const _: () = assert!(size_of::<BlockIq3S>() == BlockType::IQ3_S.block_bytes());

impl Block for BlockIq3S {
    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (group, (out, low)) in out.chunks_exact_mut(8).zip(self.low).enumerate() {
            let high = usize::from(self.high[group / 4] >> (group % 4 * 2) & 3);
            let rows = [IQ3_S[(high & 1) << 8 | usize::from(low[0])], IQ3_S[(high >> 1) << 8 | usize::from(low[1])]];
            let scale = self.scales[group / 8] >> (group / 4 % 2 * 4) & 15;
            twice_four(out, d * f32::from(2 * scale + 1), rows, VALUES, self.signs[group]);
        }
    }
}

const VALUES: [f32; 8] = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0];
