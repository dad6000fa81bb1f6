//! `IQ4_NL`: `d · VALUES[q]`, with 4 bits a code.

use bytemuck::{Pod, Zeroable};
use half::f16;

use super::IntegerBlock;
use super::packing::{pack, unpack};
use super::search::single;
use crate::BlockType;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct BlockIq4Nl {
    d: [u8; 2],
    codes: [u8; 16],
}

const _: () = assert!(size_of::<BlockIq4Nl>() == BlockType::IQ4_NL.block_bytes());

impl IntegerBlock for BlockIq4Nl {
    const TYPE: BlockType = BlockType::IQ4_NL;
    const BITS: usize = 4;
    const SUB: usize = 32;
    const TABLE: Option<[i8; 16]> = Some(VALUES);

    fn quantize(values: &[f32]) -> Self {
        let found = single::<Self>(values);
        Self { d: found.d.to_le_bytes(), codes: pack::<4, 16, _>(&found.codes, 0) }
    }

    fn codes(&self, codes: &mut [u8]) {
        unpack::<4, 16>(&self.codes, codes);
    }

    fn d(&self) -> f16 {
        f16::from_le_bytes(self.d)
    }
}

/// What codes stand for: closer together near zero, where weights are.
pub(super) const VALUES: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
