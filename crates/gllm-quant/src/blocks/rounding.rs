//! Codes by rounding alone, with ggml's choice of scales and its rounding, so that blocks have the same bytes.

use half::f16;

/// The value farthest from zero, the first of such.
pub(super) fn extreme(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |extreme: f32, value| if value.abs() > extreme.abs() { *value } else { extreme })
}

/// What to multiply with instead of dividing by `scale`; 0 if that is too small to divide by.
pub(super) fn inverse(scale: f32) -> f32 {
    if scale.is_normal() { 1.0 / scale } else { 0.0 }
}

/// Sets `codes` to those below `2 · offset` that stand for `values`, for `d · (code - offset)`; returns `d`.
///
/// The extreme gets code 0: that is as far as codes reach, on one side.
pub(super) fn symmetric(values: &[f32], offset: u8, codes: &mut [u8]) -> f16 {
    let offset = f32::from(offset);
    let d = extreme(values) / -offset;
    let inverse = inverse(d);
    for (code, value) in codes.iter_mut().zip(values) {
        *code = truncated((value * inverse + offset + 0.5).min(2.0 * offset - 1.0));
    }
    f16::from_f32(d)
}

/// Sets `codes` to those up to `greatest` that stand for `values`, for `d · code + m`; returns `d` and `m`.
pub(super) fn affine(values: &[f32], greatest: u8, codes: &mut [u8]) -> (f16, f16) {
    let (least, most) = range(values);
    let d = (most - least) / f32::from(greatest);
    let inverse = inverse(d);
    for (code, value) in codes.iter_mut().zip(values) {
        *code = truncated((value - least) * inverse + 0.5);
    }
    (f16::from_f32(d), f16::from_f32(least))
}

/// The code that is the whole part of `value`, which isn't negative, and below 128.
pub(super) fn truncated(value: f32) -> u8 {
    (value as i8).cast_unsigned()
}

/// The least and the greatest value, the first of such: which zero `f32::min` gives depends on the processor.
pub(super) fn range(values: &[f32]) -> (f32, f32) {
    values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), &value| {
        (if value < least { value } else { least }, if value > most { value } else { most })
    })
}

/// Sets `codes` to 0, 1 and 2 for what is nearest to `-d`, 0 and `d`; returns `d`, which is the extreme's magnitude.
pub(super) fn ternary(values: &[f32], codes: &mut [u8]) -> f16 {
    let d = extreme(values).abs();
    let inverse = inverse(d);
    for (code, value) in codes.iter_mut().zip(values) {
        *code = truncated((value * inverse).round() + 1.0);
    }
    f16::from_f32(d)
}
