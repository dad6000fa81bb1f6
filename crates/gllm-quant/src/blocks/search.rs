//! Scales by search: those with which codes come closest to the values, by the sum of squares.
//!
//! Each sub-block tries some scales near the one that makes its values just fit. For the codes that one of them gives,
//! the best scale (and minimum) has a formula: least squares. The block's own scale then makes the extreme sub-block's
//! fit, and with what the sub-blocks' scales became, codes are chosen anew.

use std::array;

use half::f16;

use super::IntegerBlock;
use super::rounding::{extreme, inverse, range, truncated};

/// A number that has integers for neighbours: adding it rounds.
const INTEGERS: f32 = 1.5 * (1 << 23) as f32;

/// A block of [`scaled`] or [`affine`]; only as many scales and codes count as it has.
pub(super) struct Found {
    pub(super) d: f16,
    pub(super) dmin: f16,
    pub(super) scales: [i8; 16],
    pub(super) mins: [u8; 16],
    pub(super) codes: [u8; 256],
}

impl Found {
    fn empty() -> Self {
        Self { d: f16::ZERO, dmin: f16::ZERO, scales: [0; 16], mins: [0; 16], codes: [0; 256] }
    }
}

/// A block of a type without minima; scales reach from `least` to `-least - 1`.
pub(super) fn scaled<B: IntegerBlock>(values: &[f32], least: i8) -> Found {
    const { assert!(B::HAS_SUB_SCALES && !B::HAS_MINS) };
    let mut scales = [0.0; 16];
    for (scale, values) in scales.iter_mut().zip(values.chunks_exact(B::SUB)) {
        *scale = scale_of::<B>(values);
    }
    let mut found = Found::empty();
    found.d = f16::from_f32(extreme(&scales) / f32::from(least));
    let d = found.d.to_f32();
    let inverse_d = inverse(d);
    for (sub, values) in values.chunks_exact(B::SUB).enumerate() {
        let scale = (scales[sub] * inverse_d).round().clamp(least.into(), (-1 - least).into());
        found.scales[sub] = scale as i8;
        write_codes::<B>(values, 0.0, d * scale, &mut found.codes[sub * B::SUB..]);
    }
    found
}

/// A block of one scale.
pub(super) fn single<B: IntegerBlock>(values: &[f32]) -> Found {
    const { assert!(!B::HAS_SUB_SCALES && !B::HAS_MINS) };
    let mut found = Found::empty();
    found.d = f16::from_f32(scale_of::<B>(values));
    write_codes::<B>(values, 0.0, found.d.to_f32(), &mut found.codes);
    found
}

/// A block of a type with minima; scales and minima reach from 0 to `most`.
pub(super) fn affine<B: IntegerBlock>(values: &[f32], most: u8) -> Found {
    const { assert!(B::HAS_SUB_SCALES && B::HAS_MINS) };
    let (mut scales, mut mins) = ([0.0; 16], [0.0; 16]);
    for (sub, values) in values.chunks_exact(B::SUB).enumerate() {
        (scales[sub], mins[sub]) = scale_and_min_of::<B>(values);
    }
    let mut found = Found::empty();
    let most = f32::from(most);
    found.d = f16::from_f32(extreme(&scales) / most);
    found.dmin = f16::from_f32(extreme(&mins) / most);
    let (d, dmin) = (found.d.to_f32(), found.dmin.to_f32());
    for (sub, values) in values.chunks_exact(B::SUB).enumerate() {
        let scale = (scales[sub] * inverse(d)).round().min(most);
        let min = (mins[sub] * inverse(dmin)).round().min(most);
        (found.scales[sub], found.mins[sub]) = (scale as i8, truncated(min));
        write_codes::<B>(values, dmin * min, d * scale, &mut found.codes[sub * B::SUB..]);
    }
    found
}

/// Sets `codes` to those that stand for `values`, for `scale · value(code) - min`.
fn write_codes<B: IntegerBlock>(values: &[f32], min: f32, scale: f32, codes: &mut [u8]) {
    let inverse = inverse(scale);
    for (code, value) in codes.iter_mut().zip(values) {
        *code = code_of::<B>((value + min) * inverse);
    }
}

/// The scale that a sub-block without a minimum is best multiplied with.
fn scale_of<B: IntegerBlock>(values: &[f32]) -> f32 {
    let extreme = extreme(values);
    let (mut scale, mut gain) = (0.0, 0.0);
    // Both sides of what makes the extreme the first or the last code.
    let step = if B::TABLE.is_some() { 1.0 } else { 0.1 };
    let (first, last) = ends::<B>();
    for end in [first, last] {
        for steps in -9i8..=9 {
            let inverse = (end + step * f32::from(steps)) * inverse(extreme);
            let [products, squares] = sums(values, |value| {
                let nearest = nearest::<B>(value * inverse);
                [value * nearest, nearest * nearest]
            });
            // By how much the error's square is smaller than with a scale of 0.
            if products * products > gain * squares {
                (scale, gain) = (products / squares, products * products / squares);
            }
        }
    }
    scale
}

/// The scale of a sub-block, and the minimum that is best subtracted from it; neither is negative.
fn scale_and_min_of<B: IntegerBlock>(values: &[f32]) -> (f32, f32) {
    let (least, most) = range(values);
    // Never the zero with a sign, which `min` gives on some processors.
    let least = if least < 0.0 { least } else { 0.0 };
    let (_, greatest) = ends::<B>();
    let count = values.len() as f32;
    let [total] = sums(values, |value| [value - least]);
    let inverse = inverse(most - least);

    let (mut scale, mut shift, mut gain) = (0.0, 0.0, 0.0);
    for steps in -10i8..=10 {
        let inverse = (greatest + 0.1 * f32::from(steps)) * inverse;
        let [codes, squares, products] = sums(values, |value| {
            let code = nearest::<B>((value - least) * inverse);
            [code, code * code, code * (value - least)]
        });
        // It is 0 where all codes are the same, which a scale alone is enough for.
        let determinant = count * squares - codes * codes;
        let this_shift = if determinant > 0.0 { (squares * total - codes * products) / determinant } else { 0.0 };
        // No minimum is negative.
        let this_shift = this_shift.min(-least);
        let rest = products - this_shift * codes;
        let this_gain = rest * rest / squares + this_shift * (2.0 * total - this_shift * count);
        if rest > 0.0 && this_gain > gain {
            (scale, shift, gain) = (rest / squares, this_shift, this_gain);
        }
    }
    (scale, -least - shift)
}

/// The sums of what `terms` gives for each of `values`, 16 or 32.
fn sums<const N: usize>(values: &[f32], terms: impl Fn(f32) -> [f32; N]) -> [f32; N] {
    // Independent sums, for several at a time.
    let mut sums = [[0.0; 8]; N];
    for values in values.as_chunks::<8>().0 {
        for (lane, value) in values.iter().enumerate() {
            let terms = terms(*value);
            for (sums, term) in sums.iter_mut().zip(terms) {
                sums[lane] += term;
            }
        }
    }
    array::from_fn(|n| sums[n].iter().sum())
}

/// What the code stands for that comes nearest to `value`.
fn nearest<B: IntegerBlock>(value: f32) -> f32 {
    if let Some(table) = B::TABLE {
        let above = |nearest, at| if value > midpoint(&table, at) { f32::from(table[at]) } else { nearest };
        (1..16).fold(table[0].into(), above)
    } else {
        let (least, most) = ends::<B>();
        value.clamp(least, most) + INTEGERS - INTEGERS
    }
}

/// The code that comes nearest to `value`.
fn code_of<B: IntegerBlock>(value: f32) -> u8 {
    if let Some(table) = B::TABLE {
        (1..16).map(|at| u8::from(value > midpoint(&table, at))).sum()
    } else {
        truncated(nearest::<B>(value) - ends::<B>().0)
    }
}

/// What the first and the last code stand for.
fn ends<B: IntegerBlock>() -> (f32, f32) {
    (B::value(0).into(), B::value(u8::MAX >> (8 - B::BITS)).into())
}

/// Between the values of `at - 1` and `at`.
fn midpoint(table: &[i8; 16], at: usize) -> f32 {
    f32::from(i16::from(table[at - 1]) + i16::from(table[at])) / 2.0
}
