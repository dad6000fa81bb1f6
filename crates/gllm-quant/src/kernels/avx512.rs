//! The kernel for AVX-512 with VNNI: a register holds the sums of sixteen outputs.

#[cfg_attr(not(test), expect(clippy::wildcard_imports, reason = "instructions have long names"))]
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use super::{Body, quantize};
use crate::matmul::{
    BLOCK, Format, FormatKind, GROUP, Mins, PANEL, PART_BITS, StaticFormat, TILE_ROWS, Tile, TileMut, for_each_format,
};

/// Proof that this processor has AVX-512 F, BW and VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub(super) fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
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
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        fn body(x: &[f32], format: &Format, tile: &mut TileMut<'_>) {
            if format.parts == 1 {
                quantize_rows(x, format, tile);
            } else {
                quantize::quantize(x, format, tile);
            }
        }
        #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
        // SAFETY: `self` is the proof that the processor has it.
        unsafe {
            body(x, format, tile);
        }
    }
}

/// [`quantize::quantize`] to one code for each activation: what the compiler makes of that takes three times as long.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn quantize_rows(x: &[f32], format: &Format, tile: &mut TileMut<'_>) {
    let (rows, subs) = (tile.rows, format.subs);
    for (row, x) in x.chunks_exact(x.len() / rows).enumerate() {
        for (block, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
            let place = block * rows + row;
            let halves = x.as_chunks::<16>().0;
            let x = [load(&halves[0]), load(&halves[1])];
            let bits = x.map(|x| _mm512_castps_si512(_mm512_abs_ps(x)));
            let largest = _mm512_reduce_max_epi32(_mm512_max_epi32(bits[0], bits[1]));
            let (largest, inverse) = quantize::scale_to(f32::from_bits(largest.cast_unsigned()), 127.0);
            let [inverse, round] = [inverse, quantize::ROUND].map(|x| _mm512_set1_ps(x));
            let whole = x.map(|x| _mm512_castps_si512(_mm512_add_ps(_mm512_mul_ps(x, inverse), round)));
            let codes = whole.map(|whole| _mm512_cvtepi32_epi8(whole));
            let (to, _) = tile.codes[place * BLOCK..].as_chunks_mut::<16>();
            store(&mut to[0], codes[0]);
            store(&mut to[1], codes[1]);
            tile.scales[place] = largest / 127.0;
            let values = codes.map(|codes| _mm512_cvtepi8_epi32(codes));
            let totals = if subs == 1 {
                [_mm512_reduce_add_epi32(_mm512_add_epi32(values[0], values[1])), 0]
            } else {
                values.map(|values| _mm512_reduce_add_epi32(values))
            };
            for (sub, sum) in totals.into_iter().take(subs).enumerate() {
                tile.starts[place * subs + sub] = format.start(sum);
                tile.sums[place * subs + sub] = sum as f32;
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
fn load(x: &[f32; 16]) -> __m512 {
    // SAFETY: the array has 64 bytes.
    unsafe { _mm512_loadu_ps(x.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
#[expect(unsafe_code, reason = "a store")]
fn store(to: &mut [i8; 16], codes: __m128i) {
    // SAFETY: the array has 16 bytes.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), codes) }
}

/// Groups of inputs in a block.
const GROUPS: usize = BLOCK / GROUP;

/// Bytes that come into the cache together.
const LINE: usize = 64;

/// How many bytes ahead of the computation memory is asked for. The processor stops at each page by itself; only where
/// hardly anything is computed between loads, for codes of 8 bits, it does better alone.
const AHEAD: usize = 4096;

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[expect(unsafe_code, reason = "loads at places that the caller has checked")]
/// # Safety
/// The lengths are as [`super::Kernel::eval`] checks them.
unsafe fn panel<F: StaticFormat>(panel: &[u8], span_blocks: usize, tile: &Tile<'_>, products: &mut [[f32; PANEL]]) {
    // SAFETY: as for this function.
    unsafe {
        match products {
            // The sums of a decoder's row stay in a register.
            [_] => rows::<F, 1>(panel, span_blocks, tile, products),
            _ => rows::<F, TILE_ROWS>(panel, span_blocks, tile, products),
        }
    }
}

/// As [`panel`], for at most `MOST` rows, and for one where that is the most.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[expect(unsafe_code, reason = "loads at places that the caller has checked")]
/// # Safety
/// As [`panel`].
unsafe fn rows<F: StaticFormat, const MOST: usize>(
    panel: &[u8],
    span_blocks: usize,
    tile: &Tile<'_>,
    products: &mut [[f32; PANEL]],
) {
    let format = const { F::FORMAT };
    let subs = format.subs;
    let mut room = [MaybeUninit::uninit(); MOST];
    let room = if MOST == 1 { &mut room } else { &mut room[..products.len()] };
    for (total, products) in room.iter_mut().zip(&*products) {
        total.write(load(products));
    }
    // SAFETY: there are as many products, so all of it was written.
    let totals = unsafe { room.assume_init_mut() };
    let mut at = panel.as_ptr();
    let mut codes = tile.codes.as_ptr();
    let mut place = 0;
    // SAFETY: `at` walks through the panel once, and `codes` and `place` through the tile; the lengths of both are
    // `tile.blocks` times what a block takes, as the caller has checked. No load has to be aligned.
    unsafe {
        for _ in 0..tile.blocks / span_blocks {
            let d = halves(at);
            let dmin = if matches!(format.mins, Mins::None) { d } else { halves(at.add(2 * PANEL)) };
            at = at.add(format.header_bytes());
            for _ in 0..span_blocks {
                let mut scales = [d; 2];
                let mut mins = [dmin; 2];
                let mut own = at;
                if matches!(format.mins, Mins::BesideScale) {
                    for (scale, min) in scales[..subs].iter_mut().zip(&mut mins) {
                        let [low, high] = nibbles(own);
                        (*scale, *min) = (_mm512_mul_ps(d, low), _mm512_mul_ps(dmin, high));
                        own = own.add(PANEL);
                    }
                } else if format.has_sub_scales {
                    for scale in &mut scales[..subs] {
                        *scale = _mm512_mul_ps(d, bytes(own));
                        own = own.add(PANEL);
                    }
                }
                if matches!(format.mins, Mins::Sub) {
                    for min in &mut mins[..subs] {
                        *min = _mm512_mul_ps(dmin, bytes(own));
                        own = own.add(PANEL);
                    }
                }
                let values = values::<F>(at.add(format.sub_bytes()));
                if format.bits < 8 {
                    for line in 0..format.block_bytes().div_ceil(LINE) {
                        let ahead = at.wrapping_add(AHEAD + LINE * line).cast();
                        // Weights for one row are read once, those for a tile again for the next.
                        if MOST == 1 {
                            _mm_prefetch::<_MM_HINT_NTA>(ahead);
                        } else {
                            _mm_prefetch::<_MM_HINT_T0>(ahead);
                        }
                    }
                }
                at = at.add(format.block_bytes());
                for total in &mut *totals {
                    let mut product = _mm512_setzero_ps();
                    for sub in 0..subs {
                        let start = if format.offset == 0 { 0 } else { *tile.starts.get_unchecked(place * subs + sub) };
                        // Apart, or one would wait for the other.
                        let mut dots = [_mm512_set1_epi32(start), _mm512_setzero_si512()];
                        for (part, dot) in dots[..format.parts].iter_mut().enumerate() {
                            let groups = sub * GROUPS / subs..(sub + 1) * GROUPS / subs;
                            for (group, &values) in groups.clone().zip(&values[groups]) {
                                let code = codes.add(BLOCK * part + GROUP * group).cast::<i32>().read_unaligned();
                                *dot = _mm512_dpbusd_epi32(*dot, values, _mm512_set1_epi32(code));
                            }
                        }
                        let dot = match format.parts {
                            1 => dots[0],
                            _ => _mm512_add_epi32(_mm512_slli_epi32::<PART_BITS>(dots[0]), dots[1]),
                        };
                        let dot = _mm512_cvtepi32_ps(dot);
                        product = match sub {
                            0 => _mm512_mul_ps(dot, scales[0]),
                            _ => _mm512_fmadd_ps(dot, scales[sub], product),
                        };
                    }
                    if !matches!(format.mins, Mins::None) {
                        for (sub, &min) in mins[..subs].iter().enumerate() {
                            let sum = _mm512_set1_ps(*tile.sums.get_unchecked(place * subs + sub));
                            product = _mm512_fnmadd_ps(min, sum, product);
                        }
                    }
                    let scale = _mm512_set1_ps(*tile.scales.get_unchecked(place));
                    *total = _mm512_fmadd_ps(product, scale, *total);
                    codes = codes.add(BLOCK * format.parts);
                    place += 1;
                }
            }
        }
        for (products, total) in products.iter_mut().zip(totals) {
            _mm512_storeu_ps(products.as_mut_ptr(), *total);
        }
    }
}

/// Sixteen halves.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
/// # Safety
/// 32 bytes are readable.
unsafe fn halves(at: *const u8) -> __m512 {
    // SAFETY: by the contract of this function.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(at.cast()) })
}

/// Sixteen signed bytes, as floats.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
/// # Safety
/// 16 bytes are readable.
unsafe fn bytes(at: *const u8) -> __m512 {
    // SAFETY: by the contract of this function.
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(at.cast()) }))
}

/// The lower and the upper half of sixteen bytes, as floats.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
/// # Safety
/// 16 bytes are readable.
unsafe fn nibbles(at: *const u8) -> [__m512; 2] {
    // SAFETY: by the contract of this function.
    let bytes = _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(at.cast()) });
    let low = _mm512_and_si512(bytes, _mm512_set1_epi32(15));
    [low, _mm512_srli_epi32::<4>(bytes)].map(|halves| _mm512_cvtepi32_ps(halves))
}

/// The values of a block: for each group of inputs, four bytes for each output.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
#[expect(unsafe_code, reason = "loads")]
/// # Safety
/// The planes of a block are readable.
unsafe fn values<F: StaticFormat>(planes: *const u8) -> [__m512i; GROUPS] {
    let format = const { F::FORMAT };
    let mut values = [_mm512_setzero_si512(); GROUPS];
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
        let table = _mm512_broadcast_i32x4(table_register(&table));
        for value in &mut values {
            *value = _mm512_shuffle_epi8(table, *value);
        }
    }
    values
}

/// Puts a plane of so many bits above the `below` lowest bits of the codes.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
#[expect(unsafe_code, reason = "loads")]
/// # Safety
/// The plane is readable.
unsafe fn plane<const WIDTH: usize>(plane: *const u8, below: usize, codes: &mut [__m512i; GROUPS]) {
    let mask = _mm512_set1_epi8((((1_u32 << WIDTH) - 1) << below) as i8);
    for vector in 0..WIDTH {
        // SAFETY: by the contract of this function.
        let fields = unsafe { _mm512_loadu_si512(plane.add(64 * vector).cast()) };
        for field in 0..GROUPS / WIDTH {
            let moved = shift(fields, field * WIDTH, below);
            let group = &mut codes[field * WIDTH + vector];
            // group | (moved & mask)
            *group = _mm512_ternarylogic_epi64::<0xf8>(*group, moved, mask);
        }
    }
}

/// Moves the bits from place `from` of each byte to place `to`; bits of a neighbour come with them.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
fn shift(x: __m512i, from: usize, to: usize) -> __m512i {
    let count = |bits: usize| _mm_cvtsi32_si128(bits as i32);
    if from >= to { _mm512_srl_epi16(x, count(from - to)) } else { _mm512_sll_epi16(x, count(to - from)) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
#[expect(unsafe_code, reason = "a load")]
fn table_register(table: &[u8; 16]) -> __m128i {
    // SAFETY: the array has 16 bytes.
    unsafe { _mm_loadu_si128(table.as_ptr().cast()) }
}
