//! The error function, and GELU by it.
//!
//! `erf(t) = t · P(t²) / Q(t²)` on `|t| ≤ 4`, beyond which it is 1 in f32. The coefficients are a minimax fit (Lawson's
//! iteration, weighted by `t`) to the exact error function; the error is below 5e-7 absolute.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use super::simd::Simd;

/// From the constant term up.
#[expect(clippy::approx_constant, reason = "a fitted coefficient, near 2/√π because erf'(0) is")]
const P: [f32; 6] = [1.128_379, 0.196_248_95, 0.053_467_426, 0.004_003_627_7, 0.000_288_038_3, 0.000_001_974_798_6];
const Q: [f32; 6] = [1.0, 0.507_252_3, 0.116_476_37, 0.015_444_392, 0.001_216_350_1, 0.000_037_480_364];

/// `0.5 · x · (1 + erf(x / √2))`.
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::V) -> S::V {
    let erf = erf(simd, simd.mul(x, simd.splat(std::f32::consts::FRAC_1_SQRT_2)));
    simd.mul(simd.mul(x, simd.splat(0.5)), simd.add(erf, simd.splat(1.0)))
}

/// [`gelu`] within 2e-4, for what is rounded to 8 bits: `x · (0.5 + t · P(t²))`, with `t` no further from 0 than where the
/// sum is 0 or 1. The coefficients are a fit like those above.
#[inline(always)]
pub(super) fn rough_gelu<S: Simd>(simd: S, x: S::V) -> S::V {
    const END: f32 = 3.95;
    const P: [f32; 7] =
        [0.397_986_68, -0.064_722_75, 0.008_842_918, -0.000_829_039_3, 4.955_193_8e-5, -1.681_152_3e-6, 2.443_577_6e-8];

    let t = simd.min(simd.max(x, simd.splat(-END)), simd.splat(END));
    let half = polynomial(simd, simd.mul(t, t), &P);
    simd.mul(x, simd.fma(t, half, simd.splat(0.5)))
}

#[inline(always)]
fn erf<S: Simd>(simd: S, t: S::V) -> S::V {
    let t = simd.min(simd.max(t, simd.splat(-4.0)), simd.splat(4.0));
    let square = simd.mul(t, t);
    simd.div(simd.mul(t, polynomial(simd, square, &P)), polynomial(simd, square, &Q))
}

#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::V, terms: &[f32; N]) -> S::V {
    let mut sum = simd.splat(terms[N - 1]);
    for term in terms[..N - 1].iter().rev() {
        sum = simd.fma(sum, x, simd.splat(*term));
    }
    sum
}
