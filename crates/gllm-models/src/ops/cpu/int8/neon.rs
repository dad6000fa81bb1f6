//! Products of codes for NEON with dot products or with products of matrices (i8mm), half of a panel's outputs at a time.
//!
//! In assembly, an instruction each, because their intrinsics aren't stable.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use std::arch::aarch64::{
    float32x4_t, int8x16_t, int32x4_t, uint8x16_t, uint32x4_t, vaddvq_u32, vcombine_u8, vcvtq_f32_s32, vdupq_n_s32,
    vdupq_n_u8, vdupq_n_u32, vld1_u8, vld1q_s8, vld1q_u8, vreinterpretq_s32_s64, vreinterpretq_s32_u32,
    vreinterpretq_s64_s32, vzip1q_s64, vzip2q_s64,
};
use std::arch::asm;

use super::{Block, LANES, Lines, Products, QUADS, Quad};
use crate::ops::cpu::simd::neon::Neon;

/// NEON with dot products of bytes of the same kind, signed or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct DotProducts(Neon);

/// NEON with products of matrices of bytes, unsigned by signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct MatrixProducts(Neon);

/// Sixteen sums.
type Sums = [int32x4_t; 4];

impl DotProducts {
    pub(super) fn new() -> Option<Self> {
        Neon::new().filter(|_| std::arch::is_aarch64_feature_detected!("dotprod")).map(Self)
    }

    pub(super) fn run(self, block: Block<'_>) {
        #[target_feature(enable = "neon,dotprod")]
        fn body(isa: DotProducts, block: Block<'_>) {
            block.eval::<_, 6>(isa);
        }
        #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
        // SAFETY: `self` is the proof that the processor has it.
        unsafe {
            body(self, block);
        }
    }
}

impl MatrixProducts {
    pub(super) fn new() -> Option<Self> {
        Neon::new().filter(|_| std::arch::is_aarch64_feature_detected!("i8mm")).map(Self)
    }

    pub(super) fn run(self, block: Block<'_>) {
        #[target_feature(enable = "neon,i8mm")]
        fn body(isa: MatrixProducts, block: Block<'_>) {
            block.eval::<_, 6>(isa);
        }
        #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
        // SAFETY: `self` is the proof that the processor has it.
        unsafe {
            body(self, block);
        }
    }
}

/// Evaluates instructions that the processor has.
macro_rules! has {
    ($expression:expr) => {{
        #[expect(unsafe_code, reason = "instructions that the processor has")]
        // SAFETY: `self` is the proof; what is loaded lies in the arrays that it is loaded from.
        unsafe {
            $expression
        }
    }};
}

/// `sums + x · weights`, four bytes for each of four outputs.
#[target_feature(enable = "neon,dotprod")]
#[inline]
#[expect(unsafe_code, reason = "assembly")]
fn add_dots(mut sums: uint32x4_t, weights: uint8x16_t, x: Quad) -> uint32x4_t {
    // SAFETY: it only computes, with registers that it names, and the processor has the instruction.
    unsafe {
        asm!(
            "udot {sums:v}.4s, {weights:v}.16b, {x:v}.4b[0]",
            sums = inout(vreg) sums,
            weights = in(vreg) weights,
            // A float is loaded into a register of the right kind.
            x = in(vreg) f32::from_bits(x),
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// `sums + x · weights` of two rows and two outputs, with eight bytes of each.
#[target_feature(enable = "neon,i8mm")]
#[inline]
#[expect(unsafe_code, reason = "assembly")]
fn add_squares(mut sums: int32x4_t, x: uint8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: it only computes, with registers that it names, and the processor has the instruction.
    unsafe {
        asm!(
            "usmmla {sums:v}.4s, {x:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            x = in(vreg) x,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

#[inline(always)]
fn to_floats(sums: Sums) -> [float32x4_t; 4] {
    has!([vcvtq_f32_s32(sums[0]), vcvtq_f32_s32(sums[1]), vcvtq_f32_s32(sums[2]), vcvtq_f32_s32(sums[3])])
}

impl Products for DotProducts {
    type Floats = Neon;
    type Sums = Sums;

    /// Weights 128 larger, so that they are unsigned as activations are.
    fn arrange(codes: &mut [Lines<Quad>]) {
        for quad in codes.iter_mut().flat_map(|quads| &mut quads.0) {
            *quad ^= 0x8080_8080;
        }
    }

    #[inline(always)]
    fn floats(self) -> Neon {
        self.0
    }

    #[inline(always)]
    fn products<const R: usize>(self, rows: &[[Quad; QUADS]; R], codes: &[Lines<Quad>]) -> [[Sums; 2]; R] {
        let mut products = [[has!([vdupq_n_s32(0); 4]); 2]; R];
        // What weights that are 128 larger make too much.
        let mut starts = [has!(vdupq_n_u32(0)); R];
        for (start, row) in starts.iter_mut().zip(rows) {
            has!({
                let mut sums = vdupq_n_u32(0);
                for quads in row[..codes.len()].as_chunks::<4>().0 {
                    sums = add_dots(sums, vld1q_u8(quads.as_ptr().cast()), 0x0101_0101);
                }
                *start = vdupq_n_u32((vaddvq_u32(sums) << 7).wrapping_neg());
            });
        }
        for half in 0..2 {
            let mut sums = [[has!(vdupq_n_u32(0)); 4]; R];
            for (sums, start) in sums.iter_mut().zip(starts) {
                *sums = [start; 4];
            }
            for (quad, codes) in codes.iter().enumerate() {
                let codes = &codes.0.as_chunks::<LANES>().0[half];
                for (quarter, codes) in codes.as_chunks::<4>().0.iter().enumerate() {
                    has!({
                        let codes = vld1q_u8(codes.as_ptr().cast());
                        for (sums, row) in sums.iter_mut().zip(rows) {
                            sums[quarter] = add_dots(sums[quarter], codes, row[quad]);
                        }
                    });
                }
            }
            for (products, sums) in products.iter_mut().zip(sums) {
                for (product, sum) in products[half].iter_mut().zip(sums) {
                    *product = has!(vreinterpretq_s32_u32(sum));
                }
            }
        }
        products
    }

    #[inline(always)]
    fn to_floats(self, sums: Sums) -> [float32x4_t; 4] {
        to_floats(sums)
    }
}

impl Products for MatrixProducts {
    type Floats = Neon;
    type Sums = Sums;

    /// Two quads of an output side by side: in the first of two lines those of the first half of outputs.
    fn arrange(codes: &mut [Lines<Quad>]) {
        for lines in codes.as_chunks_mut::<2>().0 {
            let [first, second] = *lines;
            for (half, line) in lines.iter_mut().enumerate() {
                for (output, both) in line.0.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                    let lane = half * LANES + output;
                    *both = [first.0[lane], second.0[lane]];
                }
            }
        }
    }

    #[inline(always)]
    fn floats(self) -> Neon {
        self.0
    }

    #[inline(always)]
    fn products<const R: usize>(self, rows: &[[Quad; QUADS]; R], codes: &[Lines<Quad>]) -> [[Sums; 2]; R] {
        let mut products = [[has!([vdupq_n_s32(0); 4]); 2]; R];
        for half in 0..2 {
            // For two rows each, two outputs each: more than are used.
            let mut squares = [[has!(vdupq_n_s32(0)); LANES / 2]; R];
            for (pair, lines) in codes.as_chunks::<2>().0.iter().enumerate() {
                let codes = lines[half].0.as_chunks::<4>().0;
                let mut x = [has!(vdupq_n_u8(0)); R];
                for (at, x) in x[..R.div_ceil(2)].iter_mut().enumerate() {
                    // An odd one is its own neighbour.
                    let (first, second) = (&rows[2 * at], &rows[(2 * at + 1).min(R - 1)]);
                    let load = |row: &[Quad; QUADS]| has!(vld1_u8(row.as_chunks::<2>().0[pair].as_ptr().cast()));
                    *x = has!(vcombine_u8(load(first), load(second)));
                }
                for (outputs, codes) in codes.iter().enumerate() {
                    has!({
                        let codes = vld1q_s8(codes.as_ptr().cast());
                        for at in 0..R.div_ceil(2) {
                            squares[at][outputs] = add_squares(squares[at][outputs], x[at], codes);
                        }
                    });
                }
            }
            for (row, products) in products.iter_mut().enumerate() {
                let squares = squares[row / 2].as_chunks::<2>().0;
                for (product, [first, second]) in products[half].iter_mut().zip(squares) {
                    *product = has!({
                        let (first, second) = (vreinterpretq_s64_s32(*first), vreinterpretq_s64_s32(*second));
                        let zipped = if row % 2 == 0 { vzip1q_s64(first, second) } else { vzip2q_s64(first, second) };
                        vreinterpretq_s32_s64(zipped)
                    });
                }
            }
        }
        products
    }

    #[inline(always)]
    fn to_floats(self, sums: Sums) -> [float32x4_t; 4] {
        to_floats(sums)
    }
}
