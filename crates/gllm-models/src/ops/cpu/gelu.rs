//! Exact GELU over a slice.
//!
//! `0.5 · x · (1 + erf(x / √2))`, the error function as `t · P(t²) / Q(t²)` on `|t| ≤ 4`, beyond which it is 1 in f32.
//! The coefficients are a minimax fit (Lawson's iteration, weighted by `t`) to the exact error function; the error
//! is below 5e-7 absolute. One body without branches, compiled for each instruction set: the
//! results are the same bit for bit, because no compilation contracts a product and a sum.

use std::f32::consts::FRAC_1_SQRT_2;

use rayon::prelude::*;

/// Elements that are worth a task of their own: 64 KiB.
const CHUNK: usize = 16 * 1024;

/// From the constant term up.
#[expect(clippy::approx_constant, reason = "a fitted coefficient, near 2/√π because erf'(0) is")]
const P: [f32; 6] = [1.128_379, 0.196_248_95, 0.053_467_426, 0.004_003_627_7, 0.000_288_038_3, 0.000_001_974_798_6];
const Q: [f32; 6] = [1.0, 0.507_252_3, 0.116_476_37, 0.015_444_392, 0.001_216_350_1, 0.000_037_480_364];

/// Applies GELU to each element, on all cores where there is enough to do.
pub(super) fn gelu_in_place(values: &mut [f32]) {
    values.par_chunks_mut(CHUNK).for_each(kernel());
}

/// The body for the best instruction set that this machine has.
fn kernel() -> fn(&mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
            // SAFETY: the processor has AVX-512F, detected just above.
            return |values| unsafe { gelu_avx512(values) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
            // SAFETY: the processor has AVX2, detected just above.
            return |values| unsafe { gelu_avx2(values) };
        }
    }
    gelu_scalar
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn gelu_avx512(values: &mut [f32]) {
    gelu_scalar(values);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn gelu_avx2(values: &mut [f32]) {
    gelu_scalar(values);
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled anew for each instruction set")]
fn gelu_scalar(values: &mut [f32]) {
    for x in values {
        *x = 0.5 * *x * (1.0 + erf(*x * FRAC_1_SQRT_2));
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled anew for each instruction set")]
fn erf(t: f32) -> f32 {
    let t = t.clamp(-4.0, 4.0);
    let square = t * t;
    let polynomial = |coefficients: [f32; 6]| coefficients.into_iter().rev().fold(0.0, |sum, c| sum * square + c);
    (t * polynomial(P) / polynomial(Q)).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf in f64 by its Maclaurin series, and by symmetry and its limit where that converges slowly.
    fn erf_series(t: f64) -> f64 {
        if t.abs() > 5.0 {
            return t.signum();
        }
        let mut term = t;
        let mut sum = t;
        for n in 1..200 {
            term *= -t * t / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    fn inputs() -> Vec<f32> {
        (-70_000..=70_000).map(|i| i as f32 * 1e-4).chain([0.0, -0.0, 1e-30, -1e-30, 100.0, -100.0]).collect()
    }

    #[test]
    fn gelu_is_exact_to_rounding() {
        let mut found = inputs();
        gelu_in_place(&mut found);
        for (x, found) in inputs().into_iter().zip(found) {
            let x = f64::from(x);
            let expected = 0.5 * x * (1.0 + erf_series(x * std::f64::consts::FRAC_1_SQRT_2));
            let error = (f64::from(found) - expected).abs();
            assert!(error <= 5e-7 * x.abs().max(1.0), "gelu({x}) = {found}, expected {expected}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let mut values = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        gelu_in_place(&mut values);
        assert!(values[0].is_nan() && values[1] == f32::INFINITY, "{values:?}");
        assert!(values[2] == 0.0 || values[2].is_nan(), "{values:?}");
    }

    /// Holds a kernel against the scalar one on awkward lengths.
    #[cfg(target_arch = "x86_64")]
    fn agrees_bit_for_bit(kernel: fn(&mut [f32])) {
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let all = inputs();
        for length in (0..70).chain([CHUNK - 1, CHUNK + 1, all.len()]) {
            let (mut found, mut expected) = (all[..length].to_vec(), all[..length].to_vec());
            kernel(&mut found);
            gelu_scalar(&mut expected);
            assert_eq!(bits(&found), bits(&expected), "{length} elements");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn avx2_agrees_with_scalar() {
        if std::arch::is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "the feature was detected")]
            // SAFETY: the processor has AVX2, detected just above.
            agrees_bit_for_bit(|values| unsafe { gelu_avx2(values) });
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn avx512_agrees_with_scalar() {
        if std::arch::is_x86_feature_detected!("avx512f") {
            #[expect(unsafe_code, reason = "the feature was detected")]
            // SAFETY: the processor has AVX-512F, detected just above.
            agrees_bit_for_bit(|values| unsafe { gelu_avx512(values) });
        }
    }
}
