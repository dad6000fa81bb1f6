//! Rows of activations as products read them: apart, in memory that a thread keeps.

use std::cell::Cell;

use bytemuck::{AnyBitPattern, NoUninit};

use super::simd::LANES;

thread_local! {
    static ROOM: Cell<Vec<u32>> = const { Cell::new(Vec::new()) };
}

/// How far apart rows lie: whole lines of the cache, an odd number of them. The rows of a tile are read side by side, and
/// if their distance were a power of two, they would all be kept in the same few places of the first cache.
pub(super) fn stride(elements: usize) -> usize {
    (elements.div_ceil(LANES) | 1) * LANES
}

/// Memory for numbers of 32 bits, which the thread's next one takes over.
pub(super) struct Room(Vec<u32>);

impl Room {
    /// For `len` numbers.
    pub(super) fn new(len: usize) -> Self {
        let mut room = ROOM.take();
        room.resize(len, 0);
        Self(room)
    }

    /// The numbers: any, until they are written.
    pub(super) fn numbers<T: AnyBitPattern + NoUninit>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        ROOM.set(std::mem::take(&mut self.0));
    }
}
