//! The scales and minima of `Q4_K` and `Q5_K`: eight pairs of 6 bits in twelve bytes.

use std::array;

use bytemuck::{Pod, Zeroable};

use super::search::Found;

/// Bytes 0..4 hold the first four scales, and above them the upper 2 bits of the last four; bytes 4..8 the minima in
/// the same way; bytes 8..12 the lower 4 bits of the last four, scales below minima.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(transparent)]
pub(super) struct KScales([u8; 12]);

impl KScales {
    pub(super) fn new(found: &Found) -> Self {
        let scales = found.scales.map(i8::cast_unsigned);
        Self(array::from_fn(|place| match place {
            0..4 => scales[place + 4] >> 4 << 6 | scales[place],
            4..8 => found.mins[place] >> 4 << 6 | found.mins[place - 4],
            _ => found.mins[place - 4] << 4 | scales[place - 4] & 15,
        }))
    }

    pub(super) fn scale(&self, sub: usize) -> i8 {
        let Self(bytes) = self;
        let scale = if sub < 4 { bytes[sub] & 63 } else { bytes[sub - 4] >> 6 << 4 | bytes[sub + 4] & 15 };
        scale.cast_signed()
    }

    pub(super) fn min(&self, sub: usize) -> u8 {
        let Self(bytes) = self;
        if sub < 4 { bytes[sub + 4] & 63 } else { bytes[sub] >> 6 << 4 | bytes[sub + 4] >> 4 }
    }
}
