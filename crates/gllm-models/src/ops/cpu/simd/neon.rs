//! NEON: four registers for a vector. Every processor that this is compiled for has it.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use std::arch::aarch64::{
    float32x4_t, uint32x4_t, vaddq_f32, vaddq_s32, vandq_u32, vbslq_f32, vceqq_f32, vcgtq_f32, vcltq_f32,
    vcvtq_s32_f32, vdivq_f32, vdupq_n_f32, vdupq_n_s32, vextq_f32, vfmaq_f32, vgetq_lane_f32, vld1q_f32, vminvq_u32,
    vmulq_f32, vreinterpretq_f32_s32, vreinterpretq_s32_f32, vreinterpretq_u8_u16, vreinterpretq_u16_f32,
    vreinterpretq_u32_u8, vshlq_n_s32, vst1q_f32, vst1q_u32, vsubq_f32, vuzp1q_u8, vuzp1q_u16,
};
use std::arch::asm;
use std::array;

use super::{Kernel, LANES, Simd};

#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Neon(());

impl Neon {
    pub(in super::super) fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("neon").then_some(Self(()))
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        fn body<K: Kernel>(simd: Neon, kernel: K) -> K::Output {
            kernel.eval(simd)
        }
        #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
        // SAFETY: `self` is the proof that the processor has it.
        unsafe {
            body(self, kernel)
        }
    }
}

/// Evaluates instructions that the processor has.
macro_rules! has {
    ($expression:expr) => {{
        #[expect(unsafe_code, reason = "instructions that the processor has")]
        // SAFETY: a value of `Neon` is the proof; what is loaded or stored is as long as its type says.
        unsafe {
            $expression
        }
    }};
}

/// Applies an instruction to all registers.
macro_rules! each {
    ($instruction:ident($($v:ident),*)) => {
        has!([
            $instruction($($v[0]),*),
            $instruction($($v[1]),*),
            $instruction($($v[2]),*),
            $instruction($($v[3]),*),
        ])
    };
}

/// Four registers.
type V = [float32x4_t; 4];

/// Folds halves onto each other.
#[inline(always)]
fn fold(v: V, f: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> f32 {
    let v = f(f(v[0], v[2]), f(v[1], v[3]));
    let v = f(v, has!(vextq_f32::<2>(v, v)));
    let v = f(v, has!(vextq_f32::<1>(v, v)));
    has!(vgetq_lane_f32::<0>(v))
}

/// The larger of each pair, `b` where there is none: the instruction would give what isn't a number.
#[inline(always)]
fn larger(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    has!(vbslq_f32(vcgtq_f32(a, b), a, b))
}

#[inline(always)]
fn smaller(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    has!(vbslq_f32(vcltq_f32(a, b), a, b))
}

impl Simd for Neon {
    type V = V;
    const ROWS: usize = 6;
    const VECTORS: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        has!([vdupq_n_f32(x); 4])
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> V {
        let at = x.as_ptr();
        has!([vld1q_f32(at), vld1q_f32(at.add(4)), vld1q_f32(at.add(8)), vld1q_f32(at.add(12))])
    }

    #[inline(always)]
    fn to_array(self, v: V) -> [f32; LANES] {
        let mut out = [0.0; LANES];
        let at = out.as_mut_ptr();
        has!({
            vst1q_f32(at, v[0]);
            vst1q_f32(at.add(4), v[1]);
            vst1q_f32(at.add(8), v[2]);
            vst1q_f32(at.add(12), v[3]);
        });
        out
    }

    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        each!(vaddq_f32(a, b))
    }

    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        each!(vsubq_f32(a, b))
    }

    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        each!(vmulq_f32(a, b))
    }

    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        each!(vdivq_f32(a, b))
    }

    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        array::from_fn(|i| larger(a[i], b[i]))
    }

    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        array::from_fn(|i| smaller(a[i], b[i]))
    }

    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        each!(vfmaq_f32(c, a, b))
    }

    /// In assembly: the compiler would copy `a` to all lanes first, which takes a multiplication's place.
    #[inline(always)]
    fn fma_by(self, a: f32, b: V, mut c: V) -> V {
        for (b, c) in b.into_iter().zip(&mut c) {
            has!(asm!(
                "fmla {c:v}.4s, {b:v}.4s, {a:v}.s[0]",
                c = inout(vreg) *c,
                b = in(vreg) b,
                a = in(vreg) a,
                options(pure, nomem, nostack, preserves_flags),
            ));
        }
        c
    }

    #[inline(always)]
    fn power_of_two(self, n: V) -> V {
        n.map(|n| {
            has!({
                let exponent = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
                vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
            })
        })
    }

    #[inline(always)]
    fn scaled(self, v: V, n: V) -> V {
        array::from_fn(|quarter| {
            has!({
                let exponent = vshlq_n_s32::<23>(vreinterpretq_s32_f32(n[quarter]));
                vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(v[quarter]), exponent))
            })
        })
    }

    #[inline(always)]
    fn has_nan(self, v: V) -> bool {
        let numbers: [uint32x4_t; 4] = each!(vceqq_f32(v, v));
        has!({
            let all = vandq_u32(vandq_u32(numbers[0], numbers[1]), vandq_u32(numbers[2], numbers[3]));
            vminvq_u32(all) == 0
        })
    }

    #[inline(always)]
    fn low_bytes(self, v: V) -> [u32; LANES / 4] {
        let mut words = [0; LANES / 4];
        has!({
            let halves = v.map(|v| vreinterpretq_u16_f32(v));
            let (first, second) = (vuzp1q_u16(halves[0], halves[1]), vuzp1q_u16(halves[2], halves[3]));
            let bytes = vuzp1q_u8(vreinterpretq_u8_u16(first), vreinterpretq_u8_u16(second));
            vst1q_u32(words.as_mut_ptr(), vreinterpretq_u32_u8(bytes));
        });
        words
    }

    #[inline(always)]
    fn sum(self, v: V) -> f32 {
        fold(v, |a, b| has!(vaddq_f32(a, b)))
    }

    #[inline(always)]
    fn smallest(self, v: V) -> f32 {
        fold(v, smaller)
    }

    #[inline(always)]
    fn largest(self, v: V) -> f32 {
        fold(v, larger)
    }
}
