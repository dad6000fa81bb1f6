//! Activations, quantised for kernels: 8 bits, with a scale for each 32 inputs of a row.
//!
//! `q = round(x · 127 / max|x|)`, as `Q8_0` of ggml. Where the format wants two parts, codes for what `q` leaves of `x`
//! lie behind those of `q` in each block.
//!
//! Rows are cut into tiles; a tile has its blocks in the order of the inputs, and in a block its rows one after the
//! other, so that a kernel reads it as one stream.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::{BLOCK, Format, TILE_ROWS};
use crate::kernels::{Isa, SharedTiles};

thread_local! {
    /// Memory of tiles that are gone, for the next ones of this thread: clearing it again costs more than reading it.
    static SPARE: RefCell<Vec<Buffers>> = const { RefCell::new(Vec::new()) };
}

/// Most tiles whose memory is kept: as many as a product has at once, mostly.
const SPARES: usize = 2;

/// Most codes of tiles whose memory is kept.
const SPARE_CODES: usize = 4 << 20;

#[derive(Default)]
struct Buffers {
    codes: Vec<i8>,
    scales: Vec<f32>,
    starts: Vec<i32>,
    sums: Vec<f32>,
}

impl Buffers {
    /// With room for at least so many codes, scales and sub-blocks, and anything in it.
    fn take(codes: usize, scales: usize, subs: usize) -> Self {
        let mut buffers = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        // Never shorter: what is added is cleared.
        buffers.codes.resize(codes.max(buffers.codes.len()), 0);
        buffers.scales.resize(scales.max(buffers.scales.len()), 0.0);
        buffers.starts.resize(subs.max(buffers.starts.len()), 0);
        buffers.sums.resize(subs.max(buffers.sums.len()), 0.0);
        buffers
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        let buffers = std::mem::take(&mut self.buffers);
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < SPARES && buffers.codes.capacity() <= SPARE_CODES {
                spare.push(buffers);
            }
        });
    }
}

/// `[rows, inputs]`, quantised.
pub(crate) struct Tiles {
    format: Format,
    blocks: usize,
    /// First row and number of rows of each tile.
    ranges: Vec<(usize, usize)>,
    buffers: Buffers,
}

/// As [`Tile`], being made.
pub(crate) struct TileMut<'a> {
    pub(crate) rows: usize,
    pub(crate) codes: &'a mut [i8],
    pub(crate) scales: &'a mut [f32],
    pub(crate) starts: &'a mut [i32],
    pub(crate) sums: &'a mut [f32],
}

/// Some quantised rows, at most [`TILE_ROWS`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile<'a> {
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    pub(crate) blocks: usize,
    /// `[blocks, rows, parts, BLOCK]`.
    pub(crate) codes: &'a [i8],
    /// `[blocks, rows]`.
    pub(crate) scales: &'a [f32],
    /// `[blocks, rows, subs]`: where the integer sum of a sub-block starts ([`Format::start`]).
    pub(crate) starts: &'a [i32],
    /// `[blocks, rows, subs]`: the sum of the codes, to be multiplied with a minimum.
    pub(crate) sums: &'a [f32],
}

impl Tile<'_> {
    /// Some of its blocks.
    pub(crate) fn part(&self, blocks: Range<usize>) -> Self {
        fn part<'a, T>(of: &'a [T], all: usize, blocks: &Range<usize>) -> &'a [T] {
            let width = of.len() / all;
            &of[blocks.start * width..blocks.end * width]
        }
        Tile {
            blocks: blocks.len(),
            codes: part(self.codes, self.blocks, &blocks),
            scales: part(self.scales, self.blocks, &blocks),
            starts: part(self.starts, self.blocks, &blocks),
            sums: part(self.sums, self.blocks, &blocks),
            ..*self
        }
    }
}

impl Tiles {
    /// Quantises `x`, `[rows, inputs]`, for weights of a format.
    pub(crate) fn new(isa: Isa, x: &[f32], inputs: usize, format: &Format) -> Self {
        let mut made = Self::unwritten(x.len() / inputs, inputs, format);
        let mut jobs: Vec<_> = made.iter_mut(x).collect();
        match jobs.as_mut_slice() {
            // A decoder's step: not worth waking another thread.
            [(x, tile)] => isa.quantize(x, format, tile),
            jobs => jobs.par_iter_mut().for_each(|(x, tile)| isa.quantize(x, format, tile)),
        }
        made
    }

    /// Room for `rows` of activations, with anything in it.
    pub(crate) fn unwritten(rows: usize, inputs: usize, format: &Format) -> Self {
        let (blocks, tiles) = (inputs / BLOCK, rows.div_ceil(TILE_ROWS));
        // As large as each other, or nearly.
        let first = |tile: usize| rows * tile / tiles;
        let ranges = (0..tiles).map(|tile| (first(tile), first(tile + 1) - first(tile))).collect();
        let places = rows * blocks;
        let buffers = Buffers::take(places * format.parts * BLOCK, places, places * format.subs);
        Self { format: *format, blocks, ranges, buffers }
    }

    /// The tiles, to be written by several threads, each its own blocks.
    pub(crate) fn shared(&mut self) -> SharedTiles<'_> {
        let Buffers { codes, scales, starts, sums } = &mut self.buffers;
        SharedTiles::new(&self.ranges, self.blocks, &self.format, TileMut { rows: 0, codes, scales, starts, sums })
    }

    /// Each tile with its rows of `x`.
    fn iter_mut<'a>(&'a mut self, x: &'a [f32]) -> impl Iterator<Item = (&'a [f32], TileMut<'a>)> {
        let (blocks, Format { subs, parts, .. }) = (self.blocks, self.format);
        let Buffers { codes, scales, starts, sums } = &mut self.buffers;
        let mut rest = (x, &mut **codes, &mut **scales, &mut **starts, &mut **sums);
        self.ranges.iter().map(move |&(_, rows)| {
            let places = rows * blocks;
            let tile = TileMut {
                rows,
                codes: rest.1.split_off_mut(..places * parts * BLOCK).unwrap_or_default(),
                scales: rest.2.split_off_mut(..places).unwrap_or_default(),
                starts: rest.3.split_off_mut(..places * subs).unwrap_or_default(),
                sums: rest.4.split_off_mut(..places * subs).unwrap_or_default(),
            };
            (rest.0.split_off(..places * BLOCK).unwrap_or_default(), tile)
        })
    }

    /// The tiles, in the order of the rows.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = Tile<'_>> {
        self.ranges.iter().map(|&(first_row, rows)| {
            let range = |width: usize| first_row * self.blocks * width..(first_row + rows) * self.blocks * width;
            Tile {
                first_row,
                rows,
                blocks: self.blocks,
                codes: &self.buffers.codes[range(self.format.parts * BLOCK)],
                scales: &self.buffers.scales[range(1)],
                starts: &self.buffers.starts[range(self.format.subs)],
                sums: &self.buffers.sums[range(self.format.subs)],
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::FormatKind;

    #[test]
    fn a_tile_has_its_rows_side_by_side() {
        let inputs = 2 * BLOCK;
        let x: Vec<f32> = (0..(TILE_ROWS + 3) * inputs).map(|i| (i as f32 * 0.7).sin()).collect();
        let tiles = Tiles::new(Isa::detect(), &x, inputs, &FormatKind::K6.format());
        let tiles: Vec<_> = tiles.iter().collect();
        let half = TILE_ROWS / 2 + 1;
        let ranges = tiles.iter().map(|tile| (tile.first_row, tile.rows));
        assert_eq!(ranges.collect::<Vec<_>>(), [(0, half), (half, half + 1)]);
        for tile in tiles {
            for (row, block, input) in [(0, 0, 0), (tile.rows - 1, 1, 31), (tile.rows / 2, 1, 7)] {
                let place = block * tile.rows + row;
                let found = f32::from(tile.codes[place * BLOCK + input]) * tile.scales[place];
                let expected = x[(tile.first_row + row) * inputs + block * BLOCK + input];
                assert!((found - expected).abs() <= 0.5 * tile.scales[place] * 1.001, "{found}, expected {expected}");
                let sum: i32 = tile.codes[place * BLOCK + 16..][..16].iter().map(|&code| i32::from(code)).sum();
                assert_eq!(tile.starts[place * 2 + 1], -32 * sum);
            }
        }
    }
}
