//! `IQ1_M`: eight elements from the grid of `IQ1_S`, an eighth added or subtracted; a scale of 3 bits for 16 elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::Block;
use super::codebook::eight_ternary;
use super::grids::IQ1_S;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockIq1M {
    /// Places in the grid, without their upper 3 bits.
    low: [u8; 32],
    /// Nibbles, of eight elements each: the upper 3 bits, and whether the eighth is subtracted.
    high: [u8; 16],
    /// Of 64 elements: four times 3 bits below a quarter of the block's scale.
    scales: [[u8; 2]; 4],
}

const _: () = assert!(size_of::<BlockIq1M>() == BlockType::IQ1_M.block_bytes());

impl Block for BlockIq1M {
    fn dequantize(&self, out: &mut [f32]) {
        let scales = self.scales.map(u16::from_le_bytes);
        let d = f16::from_bits(scales.iter().rev().fold(0, |d, scales| d << 4 | scales >> 12)).to_f32();
        for (group, out) in out.chunks_exact_mut(8).enumerate() {
            let high = self.high[group / 2] >> (group % 2 * 4) & 15;
            let place = usize::from(high & 7) << 8 | usize::from(self.low[group]);
            let scale = scales[group / 8] >> (group / 2 % 4 * 3) & 7;
            eight_ternary(out, d * f32::from(2 * scale + 1), IQ1_S[place], high >> 3 == 1);
        }
    }
}
