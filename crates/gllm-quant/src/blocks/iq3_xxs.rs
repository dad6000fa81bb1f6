//! `IQ3_XXS`: four elements from a grid of 256, eight with an even number of signs; a scale of 4 bits for 32 elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::Block;
use super::codebook::{even_signs, twice_four};
use super::grids::IQ3_XXS;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockIq3Xxs {
    d: [u8; 2],
    places: [[u8; 2]; 32],
    /// Of 32 elements: four times 7 bits below the scale.
    signs: [[u8; 4]; 8],
}

const _: () = assert!(size_of::<BlockIq3Xxs>() == BlockType::IQ3_XXS.block_bytes());

impl Block for BlockIq3Xxs {
    fn dequantize(&self, out: &mut [f32]) {
        let d = f16::from_le_bytes(self.d).to_f32();
        for (group, (out, places)) in out.chunks_exact_mut(8).zip(self.places).enumerate() {
            let signs = u32::from_le_bytes(self.signs[group / 4]);
            let scale = d * (0.5 + (signs >> 28) as f32) * 0.5;
            let rows = places.map(|place| IQ3_XXS[usize::from(place)]);
            twice_four(out, scale, rows, VALUES, even_signs(signs >> (group % 4 * 7)));
        }
    }
}

const VALUES: [f32; 8] = [4.0, 12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 62.0];
