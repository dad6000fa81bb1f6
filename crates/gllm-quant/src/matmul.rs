//! Products of activations with packed integer weights, `y = x · Wᵀ + b`, on slices.
//!
//! Weights stay as small as their file has them: [`pack::PackedMatrix`] only sorts their codes and scales so that a
//! kernel reads them in one stream, sixteen outputs at a time. Activations are quantised on the fly to 8 bits in
//! blocks of 32 ([`tiles::Tiles`]), as llama.cpp does, or for weights of 8 bits to twice that. Within a block everything is exact integer arithmetic; blocks
//! are added in f32 in the order of the inputs, for each output alone. So a result doesn't depend on the instruction
//! set, on the number of threads, or on the rows beside it.

mod format;
mod pack;
mod product;
mod tiles;

pub(crate) use format::{Format, FormatKind, Mins, StaticFormat, for_each_format, types as format_types};
pub(crate) use pack::{PackedMatrix, RowCodes, plane_widths};
pub(crate) use product::{Factor, multiply, multiply_through};
pub(crate) use tiles::{Tile, TileMut};

/// Outputs that lie together in a packed matrix: a 512-bit register of sums.
pub(crate) const PANEL: usize = 16;

/// Inputs that share a scale of the activations.
pub(crate) const BLOCK: usize = 32;

/// Inputs whose codes lie together, for each output: what one step of an integer dot product takes.
pub(crate) const GROUP: usize = 4;

/// Bits of an activation's second part, where it has two.
pub(crate) const PART_BITS: u32 = 7;

/// Most rows of activations that a kernel takes at once; a matrix is cut into such tiles. The more, the less it counts
/// that the codes of weights are unpacked for each tile.
pub(crate) const TILE_ROWS: usize = 64;
