//! The exponential function and what is made of it.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use super::simd::Simd;

/// Added to a number below 2²², it leaves the nearest whole number.
const ROUND: f32 = (3 << 22) as f32;

/// `eˣ`, at most 2 units in the last place off where the result is a normal number; 0 below -104.
///
/// `x = n · ln 2 + r`, so that `eˣ = 2ⁿ · eʳ`, and `eʳ` by a polynomial for `|r| ≤ ln 2 / 2`.
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::V) -> S::V {
    // The first part of ln 2 has so few bits that its product with a whole number is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Taylor's coefficients, from the sixth on bent a little to serve the whole range.
    const TERMS: [f32; 6] = [1.393_887_3e-3, 8.363_534e-3, 4.166_629e-2, 0.166_665_24, 0.500_000_06, 1.0];

    // In this order what isn't a number stays so.
    let x = simd.min(simd.splat(89.0), simd.max(simd.splat(-104.0), x));
    let round = simd.splat(ROUND);
    let n = simd.sub(simd.fma(x, simd.splat(std::f32::consts::LOG2_E), round), round);
    let r = simd.fma(n, simd.splat(-LN_2_HIGH), x);
    let r = simd.fma(n, simd.splat(-LN_2_LOW), r);
    let mut sum = simd.splat(TERMS[0]);
    for term in &TERMS[1..] {
        sum = simd.fma(sum, r, simd.splat(*term));
    }
    let sum = simd.fma(sum, r, simd.splat(1.0));
    // In two steps: 2ⁿ alone may be too large or too small for a float.
    let half = simd.sub(simd.fma(n, simd.splat(0.5), round), round);
    let sum = simd.mul(sum, simd.power_of_two(half));
    simd.mul(sum, simd.power_of_two(simd.sub(n, half)))
}

/// `2ˣ` of `x` up to about 0 within 1.1e-4 of it, for what is rounded to bf16; 0 from -127 down. The coefficients are a minimax fit.
#[inline(always)]
pub(super) fn rough_exp2<S: Simd>(simd: S, x: S::V) -> S::V {
    const TERMS: [f32; 3] = [0.055_008_95, 0.242_211_01, 0.693_282_9];

    let round = simd.splat(ROUND);
    let x = simd.max(simd.splat(-127.0), x);
    let n = simd.add(x, round);
    let r = simd.sub(x, simd.sub(n, round));
    let mut sum = simd.splat(TERMS[0]);
    for term in &TERMS[1..] {
        sum = simd.fma(sum, r, simd.splat(*term));
    }
    simd.scaled(simd.fma(sum, r, simd.splat(1.0)), n)
}

/// `x · σ(x)`.
#[inline(always)]
pub(super) fn silu<S: Simd>(simd: S, x: S::V) -> S::V {
    let minus = simd.sub(simd.splat(0.0), x);
    simd.div(x, simd.add(simd.splat(1.0), exp(simd, minus)))
}

/// `tanh x`, within 2e-7.
#[inline(always)]
pub(super) fn tanh<S: Simd>(simd: S, x: S::V) -> S::V {
    let one = simd.splat(1.0);
    let twice = exp(simd, simd.add(x, x));
    simd.sub(one, simd.div(simd.splat(2.0), simd.add(twice, one)))
}

/// `x · Φ(x)` by its approximation with tanh: `0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`.
#[inline(always)]
pub(super) fn gelu_tanh<S: Simd>(simd: S, x: S::V) -> S::V {
    let cube = simd.mul(simd.mul(x, x), x);
    let inner = simd.fma(cube, simd.splat(0.044_715), x);
    let tanh = tanh(simd, simd.mul(inner, simd.splat(0.797_884_6)));
    simd.mul(simd.mul(x, simd.splat(0.5)), simd.add(tanh, simd.splat(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::cpu::simd::{Isa, Kernel, LANES};

    struct Map<F>(F, [f32; LANES]);

    trait Function {
        fn of<S: Simd>(&self, simd: S, x: S::V) -> S::V;
    }

    impl<F: Function> Kernel for Map<F> {
        type Output = [f32; LANES];

        #[inline(always)]
        fn eval<S: Simd>(self, simd: S) -> [f32; LANES] {
            let y = self.0.of(simd, simd.load(&self.1));
            simd.to_array(y)
        }
    }

    macro_rules! function {
        ($name:ident, $f:ident) => {
            #[derive(Clone, Copy)]
            struct $name;
            impl Function for $name {
                #[inline(always)]
                fn of<S: Simd>(&self, simd: S, x: S::V) -> S::V {
                    $f(simd, x)
                }
            }
        };
    }

    function!(Exp, exp);
    function!(RoughExp2, rough_exp2);
    function!(Silu, silu);
    function!(Tanh, tanh);
    function!(GeluTanh, gelu_tanh);

    /// Compares on all instruction sets; `error` of what is found and expected is to stay below `limit`.
    fn check<F: Function + Copy>(f: F, range: f32, exact: fn(f64) -> f64, error: fn(f64, f64) -> f64, limit: f64) {
        let steps = 40_000;
        let mut worst = (0.0, 0.0);
        for step in 0..steps {
            let x: [f32; LANES] =
                std::array::from_fn(|lane| range * ((step * LANES + lane) as f32 / (steps * LANES / 2) as f32 - 1.0));
            let expected = Isa::all().next().expect("one").run(Map(f, x));
            for isa in Isa::all() {
                assert_eq!(isa.run(Map(f, x)).map(f32::to_bits), expected.map(f32::to_bits), "{isa:?} {x:?}");
            }
            for (x, y) in x.iter().zip(expected) {
                let off = error(f64::from(y), exact(f64::from(*x)));
                if off > worst.0 {
                    worst = (off, *x);
                }
            }
        }
        assert!(worst.0 <= limit, "off by {} at {}", worst.0, worst.1);
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let ulps = |found: f64, exact: f64| (found - exact).abs() / (exact.log2().floor() - 23.0).exp2();
        check(Exp, 87.0, f64::exp, ulps, 2.0);
        for isa in Isa::all() {
            let mut x = [0.0; LANES];
            x[..5].copy_from_slice(&[f32::NEG_INFINITY, -1e9, -104.0, f32::INFINITY, 89.0]);
            assert_eq!(isa.run(Map(Exp, x))[..6], [0.0, 0.0, 0.0, f32::INFINITY, f32::INFINITY, 1.0], "{isa:?}");
        }
    }

    #[test]
    fn rough_exp2_is_near_up_to_zero() {
        let negative = |x: f64| if x > 0.0 { f64::INFINITY } else { x.exp2() };
        let error = |found: f64, exact: f64| if exact.is_finite() { (found - exact).abs() / exact } else { 0.0 };
        check(RoughExp2, 126.0, negative, error, 1.1e-4);
        for isa in Isa::all() {
            let mut x = [0.0; LANES];
            x[..3].copy_from_slice(&[f32::NEG_INFINITY, -1e9, -127.0]);
            assert_eq!(isa.run(Map(RoughExp2, x))[..4], [0.0, 0.0, 0.0, 1.0], "{isa:?}");
        }
    }

    #[test]
    fn what_is_made_of_it_is_near() {
        let absolute = |found: f64, exact: f64| (found - exact).abs();
        let relative = |found: f64, exact: f64| (found - exact).abs() / exact.abs().max(1.0);
        check(Tanh, 12.0, f64::tanh, absolute, 2e-7);
        check(Silu, 90.0, |x| x / (1.0 + (-x).exp()), relative, 3e-7);
        let gelu =
            |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh());
        check(GeluTanh, 10.0, gelu, relative, 1e-6);
    }
}
