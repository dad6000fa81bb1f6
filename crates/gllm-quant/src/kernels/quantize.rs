//! Activations to 8 bits: one body without branches, compiled for each instruction set.

use crate::matmul::{BLOCK, Format, Mins, TileMut};

/// Quantises `x`, `[tile.rows, inputs]`, for weights of a format.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled anew for each instruction set")]
pub(super) fn quantize(x: &[f32], format: &Format, tile: &mut TileMut<'_>) {
    let (rows, subs) = (tile.rows, format.subs);
    for (row, x) in x.chunks_exact(x.len() / rows).enumerate() {
        for (block, x) in x.as_chunks::<BLOCK>().0.iter().enumerate() {
            let place = block * rows + row;
            let codes = &mut tile.codes[place * BLOCK..(place + 1) * BLOCK];
            let scale = quantize_block(x, codes);
            tile.scales[place] = scale;
            for (sub, codes) in codes.chunks_exact(BLOCK / subs).enumerate() {
                let sum: i32 = codes.iter().map(|&code| i32::from(code)).sum();
                tile.starts[place * subs + sub] = -format.offset * sum;
                if format.mins != Mins::None {
                    tile.sums[place * subs + sub] = scale * sum as f32;
                }
            }
        }
    }
}

/// Returns the scale. Where a number isn't finite, neither is the scale, and so no product.
#[inline(always)]
fn quantize_block(x: &[f32; BLOCK], codes: &mut [i8]) -> f32 {
    /// Added to a number below 2²², it leaves the nearest integer in the lowest bits, the even one of two.
    const ROUND: f32 = (3 << 22) as f32;

    // Compared as integers, because the order of floats loses NaN.
    let largest = f32::from_bits(x.iter().fold(0, |largest, x| largest.max(x.abs().to_bits())));
    let inverse = 127.0 / largest;
    // Infinite for zeros and for subnormal numbers, which count as zeros.
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * inverse + ROUND).to_bits() as i8;
    }
    largest / 127.0
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
    fn what_is_not_finite_is_not_lost() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = [1.0; BLOCK];
            x[17] = bad;
            assert!(!quantize_block(&x, &mut [0; BLOCK]).is_finite());
        }
    }

    #[test]
    fn what_is_too_small_is_zero() {
        for small in [0.0, f32::from_bits(1), f32::MIN_POSITIVE / 64.0] {
            let mut codes = [1; BLOCK];
            assert!(quantize_block(&[small; BLOCK], &mut codes).is_finite());
            assert_eq!(codes, [0; BLOCK]);
        }
    }
}
