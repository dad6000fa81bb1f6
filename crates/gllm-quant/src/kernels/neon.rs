//! The kernel for NEON with dot products: a register holds the sums of four outputs, a quarter of a panel.

#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "instructions have long names"))]
use std::arch::aarch64::*;
use std::arch::asm;

use super::{Body, quantize};
use crate::matmul::{
    BLOCK, Format, FormatKind, GROUP, Mins, PANEL, PART_BITS, StaticFormat, Tile, TileMut, for_each_format,
};

/// Proof that this processor has NEON with dot products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neon(());

impl Neon {
    pub(super) fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }

    /// The body for a format.
    #[expect(clippy::unused_self, reason = "proof that the body may be called")]
    pub(super) fn body(self, kind: FormatKind) -> Body {
        for_each_format!(kind, F => panel::<F>)
    }

    /// Quantises `x`, `[tile.rows, inputs]`, for weights of a format.
    #[expect(clippy::unused_self, reason = "NEON is part of every target that this is compiled for")]
    pub(super) fn quantize(self, x: &[f32], format: &Format, tile: &mut TileMut<'_>) {
        quantize::quantize(x, format, tile);
    }
}

/// Groups of inputs in a block.
const GROUPS: usize = BLOCK / GROUP;

/// Outputs of a register.
const LANES: usize = 4;

/// Groups whose codes a register holds.
const HALF: usize = GROUPS / 2;

#[target_feature(enable = "dotprod")]
#[expect(unsafe_code, reason = "loads at places that the caller has checked")]
/// # Safety
/// The lengths are as [`super::Kernel::eval`] checks them.
unsafe fn panel<F: StaticFormat>(panel: &[u8], span_blocks: usize, tile: &Tile<'_>, products: &mut [[f32; PANEL]]) {
    let format = const { F::FORMAT };
    let (subs, row_codes) = (format.subs, BLOCK * format.parts);
    let mut at = panel.as_ptr();
    let mut codes = tile.codes.as_ptr();
    let mut place = 0;
    // SAFETY: `at` walks through the panel once, and `codes` and `place` through the tile; the lengths of both are
    // `tile.blocks` times what a block takes, as the caller has checked. No load has to be aligned.
    unsafe {
        for _ in 0..tile.blocks / span_blocks {
            let header = at;
            at = at.add(format.header_bytes());
            for _ in 0..span_blocks {
                for lane in (0..PANEL).step_by(LANES) {
                    let mut scales = [halves(header.add(2 * lane)); 2];
                    let mut mins = scales;
                    let mut own = at.add(lane);
                    if !matches!(format.mins, Mins::None) {
                        mins = [halves(header.add(2 * (PANEL + lane))); 2];
                    }
                    if matches!(format.mins, Mins::BesideScale) {
                        for (scale, min) in scales[..subs].iter_mut().zip(&mut mins) {
                            let [low, high] = nibbles(own);
                            (*scale, *min) = (vmulq_f32(*scale, low), vmulq_f32(*min, high));
                            own = own.add(PANEL);
                        }
                    } else if format.has_sub_scales {
                        for scale in &mut scales[..subs] {
                            *scale = vmulq_f32(*scale, bytes(own));
                            own = own.add(PANEL);
                        }
                    }
                    if matches!(format.mins, Mins::Sub) {
                        for min in &mut mins[..subs] {
                            *min = vmulq_f32(*min, bytes(own));
                            own = own.add(PANEL);
                        }
                    }
                    let values = values::<F>(at.add(format.sub_bytes() + GROUP * lane));
                    for (row, products) in products.iter_mut().enumerate() {
                        let (codes, place) = (codes.add(row_codes * row), place + row);
                        let mut product = vdupq_n_f32(0.0);
                        for sub in 0..subs {
                            // Values of 8 bits are made signed, without their offset; then there is none to take off.
                            let start = match format.offset {
                                0 | 128 => 0,
                                _ => *tile.starts.get_unchecked(place * subs + sub),
                            };
                            let mut dot = vdupq_n_s32(start);
                            for part in 0..format.parts {
                                if part > 0 {
                                    dot = vshlq_n_s32::<{ PART_BITS as i32 }>(dot);
                                }
                                let halves = sub * 2 / subs..(sub + 1) * 2 / subs;
                                for (half, values) in halves.clone().zip(&values[halves]) {
                                    let codes = vld1q_s8(codes.add(BLOCK * part + GROUP * HALF * half));
                                    dot = add_products(dot, values, codes);
                                }
                            }
                            let dot = vcvtq_f32_s32(dot);
                            product = match sub {
                                0 => vmulq_f32(dot, scales[0]),
                                _ => vfmaq_f32(product, dot, scales[sub]),
                            };
                        }
                        if !matches!(format.mins, Mins::None) {
                            for (sub, &min) in mins[..subs].iter().enumerate() {
                                product = vfmsq_n_f32(product, min, *tile.sums.get_unchecked(place * subs + sub));
                            }
                        }
                        let to = products.as_mut_ptr().add(lane);
                        vst1q_f32(to, vfmaq_n_f32(vld1q_f32(to), product, *tile.scales.get_unchecked(place)));
                    }
                }
                at = at.add(format.block_bytes());
                codes = codes.add(row_codes * tile.rows);
                place += tile.rows;
            }
        }
    }
}

/// Adds the products of each output's values with the codes of half a block. In assembly, because the intrinsic isn't
/// stable.
#[target_feature(enable = "dotprod")]
#[inline]
#[expect(unsafe_code, reason = "assembly")]
fn add_products(mut sums: int32x4_t, values: &[uint8x16_t; HALF], codes: int8x16_t) -> int32x4_t {
    // SAFETY: it only computes, with registers that it names, and the processor has the instruction.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {a:v}.16b, {codes:v}.4b[0]",
            "sdot {sums:v}.4s, {b:v}.16b, {codes:v}.4b[1]",
            "sdot {sums:v}.4s, {c:v}.16b, {codes:v}.4b[2]",
            "sdot {sums:v}.4s, {d:v}.16b, {codes:v}.4b[3]",
            sums = inout(vreg) sums,
            a = in(vreg) values[0],
            b = in(vreg) values[1],
            c = in(vreg) values[2],
            d = in(vreg) values[3],
            codes = in(vreg) codes,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sums
}

/// Four halves.
#[target_feature(enable = "dotprod")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
/// # Safety
/// 8 bytes are readable.
unsafe fn halves(at: *const u8) -> float32x4_t {
    // SAFETY: by the contract of this function.
    vcvt_f32_f16(vreinterpret_f16_u8(unsafe { vld1_u8(at) }))
}

/// Four signed bytes, as floats.
#[target_feature(enable = "dotprod")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
/// # Safety
/// 4 bytes are readable.
unsafe fn bytes(at: *const u8) -> float32x4_t {
    // SAFETY: by the contract of this function.
    let bytes = vdup_n_u32(unsafe { at.cast::<u32>().read_unaligned() });
    vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(bytes)))))
}

/// The lower and the upper half of four bytes, as floats.
#[target_feature(enable = "dotprod")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
/// # Safety
/// 4 bytes are readable.
unsafe fn nibbles(at: *const u8) -> [float32x4_t; 2] {
    // SAFETY: by the contract of this function.
    let bytes = vdup_n_u32(unsafe { at.cast::<u32>().read_unaligned() });
    let bytes = vmovl_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(bytes))));
    [vandq_u32(bytes, vdupq_n_u32(15)), vshrq_n_u32::<4>(bytes)].map(|halves| vcvtq_f32_u32(halves))
}

/// The values of a quarter of a block: for each group of inputs, four bytes for each output, which count as signed.
/// Values are below 64, or, where they have an offset of 128, come without it.
#[target_feature(enable = "dotprod")]
#[inline]
#[expect(unsafe_code, reason = "loads")]
/// # Safety
/// The planes of a block are readable from here, but for the bytes before this quarter.
unsafe fn values<F: StaticFormat>(planes: *const u8) -> [[uint8x16_t; HALF]; 2] {
    let format = const { F::FORMAT };
    let mut values = [[vdupq_n_u8(0); HALF]; 2];
    let groups = values.as_flattened_mut();
    // SAFETY: by the contract of this function; a plane of some bits has as many vectors of 64 bytes.
    unsafe {
        if format.bits & 8 != 0 {
            plane::<8>(planes, 0, groups);
        }
        if format.bits & 4 != 0 {
            plane::<4>(planes, 0, groups);
        }
        if format.bits & 2 != 0 {
            let below = format.bits & 4;
            plane::<2>(planes.add(64 * below), below, groups);
        }
        if format.bits & 1 != 0 {
            let below = format.bits & 6;
            plane::<1>(planes.add(64 * below), below, groups);
        }
    }
    let sign = vdupq_n_u8(if format.offset == 128 { 0x80 } else { 0 });
    if let Some(table) = format.table {
        let table = veorq_u8(table_register(&table), sign);
        for group in groups {
            *group = vqtbl1q_u8(table, *group);
        }
    } else {
        for group in groups {
            *group = veorq_u8(*group, sign);
        }
    }
    values
}

/// Puts a plane of so many bits above the `below` lowest bits of the codes.
#[target_feature(enable = "dotprod")]
#[inline]
#[expect(unsafe_code, reason = "loads")]
/// # Safety
/// The plane is readable, but for the bytes before this quarter.
unsafe fn plane<const WIDTH: usize>(plane: *const u8, below: usize, codes: &mut [uint8x16_t]) {
    let mask = vdupq_n_u8((((1_u32 << WIDTH) - 1) << below) as u8);
    for vector in 0..WIDTH {
        // SAFETY: by the contract of this function.
        let fields = unsafe { vld1q_u8(plane.add(64 * vector)) };
        for field in 0..GROUPS / WIDTH {
            let moved = vshlq_u8(fields, vdupq_n_s8(below as i8 - (field * WIDTH) as i8));
            let group = &mut codes[field * WIDTH + vector];
            *group = vorrq_u8(*group, vandq_u8(moved, mask));
        }
    }
}

#[target_feature(enable = "dotprod")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
fn table_register(table: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array has 16 bytes.
    unsafe { vld1q_u8(table.as_ptr()) }
}
