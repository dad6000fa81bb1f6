//! A function of each element.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use rayon::prelude::*;

use super::share::{Then, apply};
use super::simd::{Isa, Kernel, LANES, Simd};

/// Floats that are worth a task of their own: 64 KiB.
const TASK: usize = 16 * 1024;

/// Applies `then` to each element, on all cores where there is enough to do.
pub(crate) fn map(x: &mut [f32], then: Then) {
    let isa = Isa::detect();
    if x.len() <= TASK {
        isa.run(Elements { x, then });
    } else {
        x.par_chunks_mut(TASK).for_each(|x| isa.run(Elements { x, then }));
    }
}

struct Elements<'a> {
    x: &'a mut [f32],
    then: Then,
}

impl Kernel for Elements<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<S: Simd>(self, simd: S) {
        let (chunks, last) = self.x.as_chunks_mut::<LANES>();
        for chunk in chunks {
            *chunk = simd.to_array(apply(simd, simd.load(chunk), self.then));
        }
        if !last.is_empty() {
            let mut chunk = [0.0; LANES];
            chunk[..last.len()].copy_from_slice(last);
            let mapped = simd.to_array(apply(simd, simd.load(&chunk), self.then));
            last.copy_from_slice(&mapped[..last.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Then; 6] = [Then::Nothing, Then::Gelu, Then::GeluTanh, Then::Silu, Then::Tanh, Then::Relu];

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
        map(&mut found, Then::Gelu);
        for (x, found) in inputs().into_iter().zip(found) {
            let x = f64::from(x);
            let expected = 0.5 * x * (1.0 + erf_series(x * std::f64::consts::FRAC_1_SQRT_2));
            let error = (f64::from(found) - expected).abs();
            assert!(error <= 5e-7 * x.abs().max(1.0), "gelu({x}) = {found}, expected {expected}");
        }
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "limits are exact")]
    fn what_is_not_finite_stays_so() {
        for then in ALL {
            for isa in Isa::all() {
                let mut x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
                isa.run(Elements { x: &mut x, then });
                let (highest, lowest) = match then {
                    Then::Nothing => (f32::INFINITY, f32::NEG_INFINITY),
                    Then::Tanh => (1.0, -1.0),
                    _ => (f32::INFINITY, 0.0),
                };
                assert!(x[0].is_nan() && x[1].to_bits() == highest.to_bits(), "{isa:?} {then:?}: {x:?}");
                assert!(x[2].is_nan() || x[2] == lowest, "{isa:?} {then:?}: {x:?}");
            }
        }
    }

    #[test]
    fn every_instruction_set_agrees_with_scalar_bit_for_bit() {
        let all = inputs();
        for then in ALL {
            for length in (0..70).chain([TASK - 1, TASK + 1, all.len()]) {
                let found = |isa: Isa| {
                    let mut x = all[..length].to_vec();
                    isa.run(Elements { x: &mut x, then });
                    x.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                let mut sets = Isa::all();
                let expected = sets.next().map(found);
                for isa in sets {
                    assert_eq!(Some(found(isa)), expected, "{isa:?} {then:?}, {length} elements");
                }
            }
        }
    }
}
