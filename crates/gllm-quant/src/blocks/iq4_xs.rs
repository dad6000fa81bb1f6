//! `IQ4_XS`: `d · scale · VALUES[q]`, with 4 bits a code, the values of `IQ4_NL`, and a scale of 6 bits for 32
//! elements.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::iq4_nl::VALUES;
use super::packing::{pack, unpack};
use super::search::scaled;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockIq4Xs {
    d: [u8; 2],
    scales_high: [u8; 2],
    scales_low: [u8; 4],
    codes: [u8; 128],
}

const _: () = assert!(size_of::<BlockIq4Xs>() == BlockType::IQ4_XS.block_bytes());

impl IntegerBlock for BlockIq4Xs {
    const TYPE: BlockType = BlockType::IQ4_XS;
    const BITS: usize = 4;
    const SUB: usize = 32;
    const TABLE: Option<[i8; 16]> = Some(VALUES);
    const HAS_SUB_SCALES: bool = true;

    fn quantize(values: &[f32]) -> Self {
        let found = scaled::<Self>(values, -32);
        let scales = found.scales.map(|scale| (scale + 32).cast_unsigned());
        Self {
            d: found.d.to_le_bytes(),
            scales_high: pack::<2, 1, _>(&scales, 4),
            scales_low: pack::<4, 1, _>(&scales, 0),
            codes: pack::<4, 16, _>(&found.codes, 0),
        }
    }

    fn codes(&self, codes: &mut [u8]) {
        unpack::<4, 16>(&self.codes, codes);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }

    fn scale(&self, sub: usize) -> i8 {
        let low = self.scales_low[sub / 2] >> (sub % 2 * 4) & 15;
        let high = self.scales_high[sub / 4] >> (sub % 4 * 2) & 3;
        (high << 4 | low).cast_signed() - 32
    }
}
