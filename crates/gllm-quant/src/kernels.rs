//! The inner loops of products, one body for each instruction set, and the choice between them.
//!
//! Every kernel computes what [`scalar`] computes, bit for bit: integers exactly, and the same f32 operations in the
//! same order for each output.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod columns;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
mod quantize;
mod scalar;
mod shared_tiles;

use crate::matmul::{BLOCK, Format, FormatKind, PANEL, Tile, TileMut};

pub(crate) use columns::Columns;
pub(crate) use shared_tiles::SharedTiles;

/// An instruction set that this processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// Plain Rust.
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon(neon::Neon),
}

impl Isa {
    /// The best one.
    pub(crate) fn detect() -> Self {
        Self::all().next_back().unwrap_or(Self::Scalar)
    }

    /// All of them, the best last.
    pub(crate) fn all() -> impl DoubleEndedIterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = [avx2::Avx2::new().map(Self::Avx2), avx512::Avx512::new().map(Self::Avx512)];
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        let vector = [neon::Neon::new().map(Self::Neon)];
        #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))))]
        let vector: [Option<Self>; 0] = [];
        std::iter::once(Self::Scalar).chain(vector.into_iter().flatten())
    }

    /// What multiplies panels of `kind`.
    pub(crate) fn kernel(self, kind: FormatKind) -> Kernel {
        let body = match self {
            Self::Scalar => scalar::body(kind),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => isa.body(kind),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => isa.body(kind),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::Neon(isa) => isa.body(kind),
        };
        Kernel { body, kind }
    }

    /// Quantises `x`, `[tile.rows, inputs]`, for weights of a format.
    pub(crate) fn quantize(self, x: &[f32], format: &Format, tile: &mut TileMut<'_>) {
        match self {
            Self::Scalar => quantize::quantize(x, format, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => isa.quantize(x, format, tile),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => isa.quantize(x, format, tile),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::Neon(isa) => isa.quantize(x, format, tile),
        }
    }
}

/// Multiplies a panel of a slab with a tile.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    body: Body,
    kind: FormatKind,
}

/// A kernel's body; unsafe to call on a processor without its instruction set, or with a panel that isn't as long as
/// the tile's blocks say, or with other than as many products as the tile has rows.
type Body = unsafe fn(&[u8], usize, &Tile<'_>, &mut [[f32; PANEL]]);

impl Kernel {
    /// Adds the products of `tile` with the outputs of `panel`, whose spans have `span_blocks` blocks, to `products`.
    ///
    /// # Shapes
    /// - `products`: `[tile.rows, PANEL]`
    pub(crate) fn eval(self, panel: &[u8], span_blocks: usize, tile: &Tile<'_>, products: &mut [[f32; PANEL]]) {
        let (format, places) = (self.kind.format(), tile.blocks * tile.rows);
        let span_bytes = format.header_bytes() + span_blocks * format.block_bytes();
        assert!(products.len() == tile.rows, "{} rows", tile.rows);
        assert!(panel.len() * span_blocks == tile.blocks * span_bytes, "{} bytes", panel.len());
        assert!(tile.codes.len() == places * format.parts * BLOCK && tile.scales.len() == places);
        assert!(tile.starts.len() == places * format.subs && tile.sums.len() == places * format.subs);
        #[expect(unsafe_code, reason = "the instruction set was detected, and the lengths were compared")]
        // SAFETY: an `Isa` exists only where the processor has it; the lengths are those that the format implies, by
        // the assertions above.
        unsafe {
            (self.body)(panel, span_blocks, tile, products);
        }
    }
}
