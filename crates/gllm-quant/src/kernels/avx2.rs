//! The kernel for AVX2: two registers hold the sums of sixteen outputs.

#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "instructions have long names"))]
use std::arch::x86_64::*;

use super::{Body, quantize};
use crate::matmul::{
    BLOCK, Format, FormatKind, GROUP, Mins, PANEL, PART_BITS, StaticFormat, Tile, TileMut, for_each_format,
};

/// Proof that this processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(super) fn new() -> Option<Self> {
        let has =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Self(()))
    }

    /// The body for a format.
    #[expect(clippy::unused_self, reason = "proof that the body may be called")]
    pub(super) fn body(self, kind: FormatKind) -> Body {
        for_each_format!(kind, F => panel::<F>)
    }

    /// Quantises `x`, `[tile.rows, inputs]`, for weights of a format.
    #[expect(clippy::unused_self, reason = "proof that the body may be called")]
    pub(super) fn quantize(self, x: &[f32], format: &Format, tile: &mut TileMut<'_>) {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn body(x: &[f32], format: &Format, tile: &mut TileMut<'_>) {
            quantize::quantize(x, format, tile);
        }
        #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
        // SAFETY: `self` is the proof that the processor has it.
        unsafe {
            body(x, format, tile);
        }
    }
}

/// Groups of inputs in a block.
const GROUPS: usize = BLOCK / GROUP;

/// Outputs of a register.
const LANES: usize = PANEL / 2;

#[target_feature(enable = "avx2,fma,f16c")]
#[expect(unsafe_code, reason = "loads at places that the caller has checked")]
/// # Safety
/// The lengths are as [`super::Kernel::eval`] checks them.
unsafe fn panel<F: StaticFormat>(panel: &[u8], span_blocks: usize, tile: &Tile<'_>, products: &mut [[f32; PANEL]]) {
    for half in 0..2 {
        // SAFETY: as for this function.
        unsafe { half_panel::<F>(panel, half, span_blocks, tile, products) };
    }
}

/// Adds the products with half of a panel's outputs.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
#[expect(unsafe_code, reason = "loads at places that the caller has checked")]
/// # Safety
/// As [`panel`].
unsafe fn half_panel<F: StaticFormat>(
    panel: &[u8],
    half: usize,
    span_blocks: usize,
    tile: &Tile<'_>,
    products: &mut [[f32; PANEL]],
) {
    let format = const { F::FORMAT };
    let subs = format.subs;
    let mut at = panel.as_ptr();
    let mut codes = tile.codes.as_ptr();
    let mut place = 0;
    // SAFETY: `at` walks through the panel once, and `codes` and `place` through the tile; the lengths of both are
    // `tile.blocks` times what a block takes, as the caller has checked. No load has to be aligned.
    unsafe {
        for _ in 0..tile.blocks / span_blocks {
            let d = halves(at.add(2 * LANES * half));
            let dmin = if matches!(format.mins, Mins::None) { d } else { halves(at.add(2 * (PANEL + LANES * half))) };
            at = at.add(format.header_bytes());
            for _ in 0..span_blocks {
                let mut scales = [d; 2];
                let mut mins = [dmin; 2];
                let mut own = at.add(LANES * half);
                if matches!(format.mins, Mins::BesideScale) {
                    for (scale, min) in scales[..subs].iter_mut().zip(&mut mins) {
                        let [low, high] = nibbles(own);
                        (*scale, *min) = (_mm256_mul_ps(d, low), _mm256_mul_ps(dmin, high));
                        own = own.add(PANEL);
                    }
                } else if format.has_sub_scales {
                    for scale in &mut scales[..subs] {
                        *scale = _mm256_mul_ps(d, bytes(own));
                        own = own.add(PANEL);
                    }
                }
                if matches!(format.mins, Mins::Sub) {
                    for min in &mut mins[..subs] {
                        *min = _mm256_mul_ps(dmin, bytes(own));
                        own = own.add(PANEL);
                    }
                }
                let values = values::<F>(at.add(format.sub_bytes() + GROUP * LANES * half));
                at = at.add(format.block_bytes());
                for products in &mut *products {
                    let mut product = _mm256_setzero_ps();
                    for sub in 0..subs {
                        // Values of 8 bits are made signed, without their offset; then there is none to take off.
                        let start =
                            if format.offset % 128 == 0 { 0 } else { *tile.starts.get_unchecked(place * subs + sub) };
                        let mut dot = _mm256_set1_epi32(start);
                        for part in 0..format.parts {
                            if part > 0 {
                                dot = _mm256_slli_epi32::<{ PART_BITS as i32 }>(dot);
                            }
                            let groups = &values[sub * GROUPS / subs..(sub + 1) * GROUPS / subs];
                            for values in groups.chunks(together(&format)) {
                                let mut pairs = _mm256_setzero_si256();
                                for &values in values {
                                    let code = _mm256_set1_epi32(codes.cast::<i32>().read_unaligned());
                                    codes = codes.add(GROUP);
                                    let products = pairs_of_products(values, code, format.offset == 128);
                                    pairs = _mm256_add_epi16(pairs, products);
                                }
                                dot = _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
                            }
                        }
                        let dot = _mm256_cvtepi32_ps(dot);
                        product = match sub {
                            0 => _mm256_mul_ps(dot, scales[0]),
                            _ => _mm256_fmadd_ps(dot, scales[sub], product),
                        };
                    }
                    if !matches!(format.mins, Mins::None) {
                        for (sub, &min) in mins[..subs].iter().enumerate() {
                            let sum = _mm256_set1_ps(*tile.sums.get_unchecked(place * subs + sub));
                            product = _mm256_fnmadd_ps(min, sum, product);
                        }
                    }
                    let to = products.as_mut_ptr().add(LANES * half);
                    let scale = _mm256_set1_ps(*tile.scales.get_unchecked(place));
                    _mm256_storeu_ps(to, _mm256_fmadd_ps(product, scale, _mm256_loadu_ps(to)));
                    place += 1;
                }
            }
        }
    }
}

/// How many sums of two products can be added in 16 bits: codes are at least -127.
const fn together(format: &Format) -> usize {
    let largest = if format.offset == 128 { 128 } else { (1 << format.bits) - 1 };
    i16::MAX as usize / (2 * 127 * largest)
}

/// The sums of two products each. Values are unsigned and below 64, or, where they have an offset of 128, signed: the
/// instruction wants one side unsigned and adds two products in 16 bits, which must not saturate.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn pairs_of_products(values: __m256i, codes: __m256i, is_signed: bool) -> __m256i {
    if is_signed {
        _mm256_maddubs_epi16(_mm256_abs_epi8(values), _mm256_sign_epi8(codes, values))
    } else {
        _mm256_maddubs_epi16(values, codes)
    }
}

/// Eight halves.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
/// # Safety
/// 16 bytes are readable.
unsafe fn halves(at: *const u8) -> __m256 {
    // SAFETY: by the contract of this function.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(at.cast()) })
}

/// Eight signed bytes, as floats.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
/// # Safety
/// 8 bytes are readable.
unsafe fn bytes(at: *const u8) -> __m256 {
    // SAFETY: by the contract of this function.
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(unsafe { _mm_loadl_epi64(at.cast()) }))
}

/// The lower and the upper half of eight bytes, as floats.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
/// # Safety
/// 8 bytes are readable.
unsafe fn nibbles(at: *const u8) -> [__m256; 2] {
    // SAFETY: by the contract of this function.
    let bytes = _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(at.cast()) });
    let low = _mm256_and_si256(bytes, _mm256_set1_epi32(15));
    [low, _mm256_srli_epi32::<4>(bytes)].map(|halves| _mm256_cvtepi32_ps(halves))
}

/// The values of half a block: for each group of inputs, four bytes for each output. Values with an offset of 128 come
/// without it, as signed bytes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
#[expect(unsafe_code, reason = "loads")]
/// # Safety
/// The planes of a block are readable from here, but for the bytes before this half.
unsafe fn values<F: StaticFormat>(planes: *const u8) -> [__m256i; GROUPS] {
    let format = const { F::FORMAT };
    let mut values = [_mm256_setzero_si256(); GROUPS];
    // SAFETY: by the contract of this function; a plane of some bits has as many vectors of 64 bytes.
    unsafe {
        if format.bits & 8 != 0 {
            plane::<8>(planes, 0, &mut values);
        }
        if format.bits & 4 != 0 {
            plane::<4>(planes, 0, &mut values);
        }
        if format.bits & 2 != 0 {
            let below = format.bits & 4;
            plane::<2>(planes.add(64 * below), below, &mut values);
        }
        if format.bits & 1 != 0 {
            let below = format.bits & 6;
            plane::<1>(planes.add(64 * below), below, &mut values);
        }
    }
    if let Some(table) = format.table {
        let table = _mm256_broadcastsi128_si256(table_register(&table));
        for value in &mut values {
            *value = _mm256_shuffle_epi8(table, *value);
        }
    }
    if format.offset == 128 {
        for value in &mut values {
            *value = _mm256_xor_si256(*value, _mm256_set1_epi8(i8::MIN));
        }
    }
    values
}

/// Puts a plane of so many bits above the `below` lowest bits of the codes.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
#[expect(unsafe_code, reason = "loads")]
/// # Safety
/// The plane is readable, but for the bytes before this half.
unsafe fn plane<const WIDTH: usize>(plane: *const u8, below: usize, codes: &mut [__m256i; GROUPS]) {
    let mask = _mm256_set1_epi8((((1_u32 << WIDTH) - 1) << below) as i8);
    for vector in 0..WIDTH {
        // SAFETY: by the contract of this function.
        let fields = unsafe { _mm256_loadu_si256(plane.add(64 * vector).cast()) };
        for field in 0..GROUPS / WIDTH {
            let moved = shift(fields, field * WIDTH, below);
            let group = &mut codes[field * WIDTH + vector];
            *group = _mm256_or_si256(*group, _mm256_and_si256(moved, mask));
        }
    }
}

/// Moves the bits from place `from` of each byte to place `to`; bits of a neighbour come with them.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn shift(x: __m256i, from: usize, to: usize) -> __m256i {
    let count = |bits: usize| _mm_cvtsi32_si128(bits as i32);
    if from >= to { _mm256_srl_epi16(x, count(from - to)) } else { _mm256_sll_epi16(x, count(to - from)) }
}

#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
fn table_register(table: &[u8; 16]) -> __m128i {
    // SAFETY: the array has 16 bytes.
    unsafe { _mm_loadu_si128(table.as_ptr().cast()) }
}
