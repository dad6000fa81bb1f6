//! Activations to 8 bits: one body without branches, compiled for each instruction set.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use crate::matmul::{BLOCK, Format, PART_BITS, TileMut};

/// Quantises `x`, `[tile.rows, inputs]`, for weights of a format.
#[inline(always)]
pub(super) fn quantize(x: &[f32], format: &Format, tile: &mut TileMut<'_>) {
    let (rows, parts) = (tile.rows, format.parts);
    for (row, x) in x.chunks_exact(x.len() / rows).enumerate() {
        for (block, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
            let place = block * rows + row;
            let codes = &mut tile.codes[place * parts * BLOCK..(place + 1) * parts * BLOCK];
            tile.scales[place] = if parts == 1 { quantize_block(x, codes) } else { quantize_in_two(x, codes) };
            sum_codes(place, format, tile);
        }
    }
}

/// What the second part of an activation counts, beside the first.
const LOW: f32 = 1.0 / (1 << PART_BITS) as f32;

/// Added to a number below 2²², it leaves the nearest integer in the lowest bits, the even one of two.
pub(super) const ROUND: f32 = (3 << 22) as f32;

/// Writes what a kernel needs to know of a block's codes as a whole.
#[inline(always)]
fn sum_codes(place: usize, format: &Format, tile: &mut TileMut<'_>) {
    let (subs, parts) = (format.subs, format.parts);
    let codes = &tile.codes[place * parts * BLOCK..(place + 1) * parts * BLOCK];
    for sub in 0..subs {
        let inputs = sub * BLOCK / subs..(sub + 1) * BLOCK / subs;
        let sum = codes.chunks_exact(BLOCK).fold(0, |sum, part| {
            (sum << PART_BITS) + part[inputs.clone()].iter().map(|&code| i32::from(code)).sum::<i32>()
        });
        tile.starts[place * subs + sub] = format.start(sum);
        tile.sums[place * subs + sub] = sum as f32;
    }
}

/// Returns the scale. Where a number isn't finite, neither is the scale, and so no product.
#[inline(always)]
fn quantize_block(x: &[f32; BLOCK], codes: &mut [i8]) -> f32 {
    let (largest, inverse) = range(x, 127.0);
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * inverse + ROUND).to_bits() as i8;
    }
    largest / 127.0
}

/// As [`quantize_block`], with [`PART_BITS`] more: behind the codes of the block those of what is left, 128 times as
/// fine, as the scale is.
#[inline(always)]
fn quantize_in_two(x: &[f32; BLOCK], codes: &mut [i8]) -> f32 {
    let (largest, inverse) = range(x, 127.0 / LOW);
    let (high, low) = codes.split_at_mut(BLOCK);
    for ((high, low), x) in high.iter_mut().zip(low).zip(x) {
        let both = (x * inverse + ROUND).to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
        // The nearest, so that what is left is from -64 to 63.
        let nearest = (both + (1 << (PART_BITS - 1))) >> PART_BITS;
        *high = nearest as i8;
        *low = (both - (nearest << PART_BITS)) as i8;
    }
    LOW * (largest / 127.0)
}

/// The largest magnitude, and what makes it `code`.
#[inline(always)]
fn range(x: &[f32; BLOCK], code: f32) -> (f32, f32) {
    // Compared as integers, because the order of floats loses NaN.
    scale_to(f32::from_bits(x.iter().fold(0, |largest, x| largest.max(x.abs().to_bits()))), code)
}

/// The largest magnitude, as it is, and what makes it `code`.
#[inline(always)]
pub(super) fn scale_to(largest: f32, code: f32) -> (f32, f32) {
    let inverse = code / largest;
    // Infinite for zeros and for subnormal numbers, which count as zeros.
    (largest, if inverse.is_finite() { inverse } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_nearest_integers() {
        let x: [f32; BLOCK] = std::array::from_fn(|i| match i {
            0 => -127.0,
            _ => i as f32 * 0.5 - 4.0,
        });
        let mut codes = [0; BLOCK];
        assert_eq!(quantize_block(&x, &mut codes).to_bits(), 1_f32.to_bits());
        for (code, x) in codes.into_iter().zip(x) {
            assert_eq!(f32::from(code).to_bits(), (x.round_ties_even() + 0.0).to_bits());
        }
    }

    #[test]
    fn two_codes_are_exact_to_fifteen_bits() {
        let x: [f32; BLOCK] = std::array::from_fn(|i| (i as f32 * 1.3).sin());
        let mut codes = [0; 2 * BLOCK];
        let scale = quantize_in_two(&x, &mut codes);
        for (i, x) in x.into_iter().enumerate() {
            assert!(codes[i] > i8::MIN && (-64..64).contains(&codes[BLOCK + i]), "{codes:?}");
            let found = scale * (128.0 * f32::from(codes[i]) + f32::from(codes[BLOCK + i]));
            assert!((found - x).abs() <= 0.501 * scale, "{found}, expected {x}");
        }
    }

    #[test]
    fn what_is_not_finite_is_not_lost() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; BLOCK];
            x[17] = bad;
            assert!(!quantize_block(&x, &mut [0; BLOCK]).is_finite());
            assert!(!quantize_in_two(&x, &mut [0; 2 * BLOCK]).is_finite());
        }
    }

    #[test]
    fn what_is_too_small_is_zero() {
        for small in [0.0, f32::from_bits(1), f32::MIN_POSITIVE / 64.0] {
            let mut codes = [1; BLOCK];
            assert!(quantize_block(&[small; BLOCK], &mut codes).is_finite());
            assert_eq!(codes, [0; BLOCK]);
            let mut codes = [1; 2 * BLOCK];
            assert!(quantize_in_two(&[small; BLOCK], &mut codes).is_finite());
            assert_eq!(codes, [0; 2 * BLOCK]);
        }
    }
}
