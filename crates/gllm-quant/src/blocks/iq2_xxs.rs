//! `IQ2_XXS`: eight elements from a grid of 256, with an even number of signs; a scale of 4 bits for 32 elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::Block;
use super::codebook::{eight, even_signs};
use super::grids::IQ2_XXS;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockIq2Xxs {
    d: [u8; 2],
    /// Of 32 elements: four places in the grid, and four times 7 bits of signs below the scale.
    groups: [[[u8; 4]; 2]; 8],
}

const _: () = assert!(size_of::<BlockIq2Xxs>() == BlockType::IQ2_XXS.block_bytes());

impl Block for BlockIq2Xxs {
    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (out, [places, signs]) in out.chunks_exact_mut(32).zip(self.groups) {
            let signs = u32::from_le_bytes(signs);
            let scale = d * (0.5 + (signs >> 28) as f32) * 0.25;
            for (group, (out, place)) in out.chunks_exact_mut(8).zip(places).enumerate() {
                eight(out, scale, IQ2_XXS[usize::from(place)], even_signs(signs >> (7 * group)));
            }
        }
    }
}
