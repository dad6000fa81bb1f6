//! `IQ2_XS`: eight elements from a grid of 512, with an even number of signs; a scale of 4 bits for 16 elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::Block;
use super::codebook::{eight, even_signs};
use super::grids::IQ2_XS;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockIq2Xs {
    d: [u8; 2],
    /// Of eight elements: 9 bits of a place in the grid, 7 bits of signs above.
    groups: [[u8; 2]; 32],
    scales: [u8; 8],
}

const _: () = assert!(size_of::<BlockIq2Xs>() == BlockType::IQ2_XS.block_bytes());

impl Block for BlockIq2Xs {
    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (group, (out, bits)) in out.chunks_exact_mut(8).zip(self.groups).enumerate() {
            let bits = u16::from_le_bytes(bits);
            let scale = self.scales[group / 4] >> (group / 2 % 2 * 4) & 15;
            let scale = d * (0.5 + f32::from(scale)) * 0.25;
            eight(out, scale, IQ2_XS[usize::from(bits & 511)], even_signs(u32::from(bits >> 9)));
        }
    }
}
