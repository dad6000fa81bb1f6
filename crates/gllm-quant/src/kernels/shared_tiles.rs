//! Tiles that several threads write, each its own blocks.

use std::marker::PhantomData;

use crate::matmul::{BLOCK, Format, TileMut};

/// Tiles of quantised activations; a block of a tile is in one piece.
pub(crate) struct SharedTiles<'a> {
    /// First row and number of rows of each tile.
    ranges: &'a [(usize, usize)],
    blocks: usize,
    subs: usize,
    parts: usize,
    codes: *mut i8,
    scales: *mut f32,
    starts: *mut i32,
    sums: *mut f32,
    lifetime: PhantomData<TileMut<'a>>,
}

#[expect(unsafe_code, reason = "threads write different blocks")]
// SAFETY: what is pointed to is borrowed for the lifetime of this, and nothing but `SharedTiles::block` touches it, whose
// callers never ask for the same block from two threads.
unsafe impl Sync for SharedTiles<'_> {}

impl<'a> SharedTiles<'a> {
    /// Over the memory of `all`, for tiles of these rows, one after the other from the first on, each of so many blocks
    /// for weights of a format.
    pub(crate) fn new(ranges: &'a [(usize, usize)], blocks: usize, format: &Format, all: TileMut<'a>) -> Self {
        let &Format { subs, parts, .. } = format;
        let places = ranges.last().map_or(0, |(first, rows)| first + rows) * blocks;
        let TileMut { rows: _, codes, scales, starts, sums } = all;
        assert!(codes.len() >= places * parts * BLOCK && scales.len() >= places, "{places} places");
        assert!(starts.len() >= places * subs && sums.len() >= places * subs, "{places} places");
        Self {
            ranges,
            blocks,
            subs,
            parts,
            codes: codes.as_mut_ptr(),
            scales: scales.as_mut_ptr(),
            starts: starts.as_mut_ptr(),
            sums: sums.as_mut_ptr(),
            lifetime: PhantomData,
        }
    }

    /// A block of all rows of a tile, as a tile of one block.
    ///
    /// # Safety
    /// Nobody else has this block of this tile while it is used.
    #[expect(unsafe_code, reason = "the tiles are shared by threads")]
    pub(crate) unsafe fn block(&self, tile: usize, block: usize) -> TileMut<'_> {
        let (first_row, rows) = self.ranges[tile];
        assert!(block < self.blocks, "block {block} of {}", self.blocks);
        let (place, subs, codes) = (first_row * self.blocks + block * rows, self.subs, self.parts * BLOCK);
        // SAFETY: the places are below those of all tiles, which the buffers have room for, as `new` has checked; they
        // are the caller's alone, by the contract of this function.
        unsafe {
            TileMut {
                rows,
                codes: std::slice::from_raw_parts_mut(self.codes.add(place * codes), rows * codes),
                scales: std::slice::from_raw_parts_mut(self.scales.add(place), rows),
                starts: std::slice::from_raw_parts_mut(self.starts.add(place * subs), rows * subs),
                sums: std::slice::from_raw_parts_mut(self.sums.add(place * subs), rows * subs),
            }
        }
    }
}
