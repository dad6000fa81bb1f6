//! Sixteen floats at a time, on whatever the processor has.
//!
//! A kernel is written once over [`Simd`] and compiled for each instruction set; a value of a type that implements it
//! proves that the processor has the instructions. Every operation rounds as IEEE 754 says, a multiplication with an
//! addition once, so that all instruction sets give the same bits: [`Scalar`] is the oracle.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(super) mod neon;

use std::array;

/// Floats in a vector.
pub(super) const LANES: usize = 16;

/// An instruction set.
pub(super) trait Simd: Copy {
    /// Sixteen floats.
    type V: Copy;
    /// Rows of [`Simd::VECTORS`] vectors whose sums fit into the registers, beside what is added.
    const ROWS: usize;
    /// Vectors of a row that are summed at once: 1 or 2.
    const VECTORS: usize = 2;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, x: &[f32; LANES]) -> Self::V;
    fn to_array(self, v: Self::V) -> [f32; LANES];
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger of each pair; `b` where `a` isn't a number.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The same of a number from memory and vectors.
    #[inline(always)]
    fn fma_by(self, a: f32, b: Self::V, c: Self::V) -> Self::V {
        self.fma(self.splat(a), b, c)
    }
    /// `2ⁿ` of whole numbers from -126 to 127; 0 of -127.
    fn power_of_two(self, n: Self::V) -> Self::V;
    /// `v · 2ⁿ`, a normal number or 0, for whole numbers `n` in the lowest bits of the lanes.
    fn scaled(self, v: Self::V, n: Self::V) -> Self::V;
    /// Whether a lane isn't a number.
    #[inline(always)]
    fn has_nan(self, v: Self::V) -> bool {
        self.to_array(v).iter().fold(false, |found, x| found | x.is_nan())
    }
    /// The lowest byte of each lane, four to a word, the first in its lowest byte.
    fn low_bytes(self, v: Self::V) -> [u32; LANES / 4] {
        let bytes = self.to_array(v).map(|x| x.to_bits() as u8);
        array::from_fn(|word| u32::from_le_bytes(array::from_fn(|byte| bytes[4 * word + byte])))
    }

    /// The sum of the lanes, in a fixed order.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        fold(self.to_array(v), |a, b| a + b)
    }

    /// The smallest lane, of numbers.
    #[inline(always)]
    fn smallest(self, v: Self::V) -> f32 {
        fold(self.to_array(v), |a, b| if a < b { a } else { b })
    }

    /// The largest lane, of numbers.
    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        fold(self.to_array(v), f32::max)
    }
}

/// Folds halves onto each other.
#[inline(always)]
fn fold(x: [f32; LANES], f: impl Fn(f32, f32) -> f32) -> f32 {
    let x: [f32; 8] = array::from_fn(|i| f(x[i], x[i + 8]));
    let x: [f32; 4] = array::from_fn(|i| f(x[i], x[i + 4]));
    f(f(x[0], x[2]), f(x[1], x[3]))
}

/// A computation that is compiled for each instruction set.
pub(super) trait Kernel {
    type Output;

    /// Must be `#[inline(always)]`, as all that it calls.
    fn eval<S: Simd>(self, simd: S) -> Self::Output;
}

/// The instruction sets that this processor has.
#[derive(Clone, Copy, Debug)]
pub(super) enum Isa {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    Neon(neon::Neon),
}

impl Isa {
    /// The best one.
    pub(super) fn detect() -> Self {
        Self::all().next_back().unwrap_or(Self::Scalar(Scalar))
    }

    /// All of them, the best last.
    pub(super) fn all() -> impl DoubleEndedIterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = [x86::Avx2::new().map(Self::Avx2), x86::Avx512::new().map(Self::Avx512)];
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        let vector = [neon::Neon::new().map(Self::Neon)];
        #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))))]
        let vector: [Option<Self>; 0] = [];
        std::iter::once(Self::Scalar(Scalar)).chain(vector.into_iter().flatten())
    }

    /// Evaluates `kernel` with it.
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Scalar(simd) => kernel.eval(simd),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => simd.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) => simd.run(kernel),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::Neon(simd) => simd.run(kernel),
        }
    }
}

/// Plain Rust.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar;

impl Simd for Scalar {
    type V = [f32; LANES];
    const ROWS: usize = 1;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, x: &[f32; LANES]) -> Self::V {
        *x
    }

    #[inline(always)]
    fn to_array(self, v: Self::V) -> [f32; LANES] {
        v
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        array::from_fn(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn min(self, a: Self::V, b: Self::V) -> Self::V {
        array::from_fn(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn power_of_two(self, n: Self::V) -> Self::V {
        n.map(|n| f32::from_bits((n as i32 + 127).cast_unsigned() << 23))
    }

    #[inline(always)]
    fn scaled(self, v: Self::V, n: Self::V) -> Self::V {
        array::from_fn(|lane| f32::from_bits(v[lane].to_bits().wrapping_add(n[lane].to_bits() << 23)))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::{
        __m256, __m512, _CMP_UNORD_Q, _mm_storeu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_castps_si256,
        _mm256_castsi256_ps, _mm256_cvtps_epi32, _mm256_div_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps,
        _mm256_min_ps, _mm256_mul_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32, _mm256_storeu_ps,
        _mm256_sub_ps, _mm512_add_epi32, _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmp_ps_mask,
        _mm512_cvtepi32_epi8, _mm512_cvtps_epi32, _mm512_div_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps,
        _mm512_min_ps, _mm512_mul_ps, _mm512_reduce_max_ps, _mm512_reduce_min_ps, _mm512_set1_epi32, _mm512_set1_ps,
        _mm512_slli_epi32, _mm512_storeu_ps, _mm512_sub_ps,
    };

    use super::{Kernel, LANES, Simd};

    /// AVX2 with FMA: two registers for a vector.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Avx2(());

    /// AVX-512 F: one register for a vector.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Avx512(());

    impl Avx2 {
        pub(in super::super) fn new() -> Option<Self> {
            (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
        }

        pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
            #[target_feature(enable = "avx2,fma")]
            fn body<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
                kernel.eval(simd)
            }
            #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
            // SAFETY: `self` is the proof that the processor has it.
            unsafe {
                body(self, kernel)
            }
        }
    }

    impl Avx512 {
        pub(in super::super) fn new() -> Option<Self> {
            is_x86_feature_detected!("avx512f").then_some(Self(()))
        }

        pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
            #[target_feature(enable = "avx512f")]
            fn body<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
                kernel.eval(simd)
            }
            #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
            // SAFETY: `self` is the proof that the processor has it.
            unsafe {
                body(self, kernel)
            }
        }
    }

    /// Applies an instruction to both registers.
    macro_rules! both {
        ($instruction:ident($($v:ident),*)) => {{
            #[expect(unsafe_code, reason = "instructions that the processor has")]
            // SAFETY: `self` is the proof.
            unsafe {
                [$instruction($($v[0]),*), $instruction($($v[1]),*)]
            }
        }};
    }

    impl Simd for Avx2 {
        type V = [__m256; 2];
        const ROWS: usize = 3;

        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            #[expect(unsafe_code, reason = "instructions that the processor has")]
            // SAFETY: `self` is the proof.
            unsafe {
                [_mm256_set1_ps(x); 2]
            }
        }

        #[inline(always)]
        fn load(self, x: &[f32; LANES]) -> Self::V {
            #[expect(unsafe_code, reason = "instructions that the processor has, on sixteen floats")]
            // SAFETY: `self` is the proof, and eight floats lie at either place.
            unsafe {
                [_mm256_loadu_ps(x.as_ptr()), _mm256_loadu_ps(x.as_ptr().add(8))]
            }
        }

        #[inline(always)]
        fn to_array(self, v: Self::V) -> [f32; LANES] {
            let mut out = [0.0; LANES];
            #[expect(unsafe_code, reason = "instructions that the processor has, on sixteen floats")]
            // SAFETY: `self` is the proof, and there is room for eight floats at either place.
            unsafe {
                _mm256_storeu_ps(out.as_mut_ptr(), v[0]);
                _mm256_storeu_ps(out.as_mut_ptr().add(8), v[1]);
            }
            out
        }

        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            both!(_mm256_add_ps(a, b))
        }

        #[inline(always)]
        fn sub(self, a: Self::V, b: Self::V) -> Self::V {
            both!(_mm256_sub_ps(a, b))
        }

        #[inline(always)]
        fn mul(self, a: Self::V, b: Self::V) -> Self::V {
            both!(_mm256_mul_ps(a, b))
        }

        #[inline(always)]
        fn div(self, a: Self::V, b: Self::V) -> Self::V {
            both!(_mm256_div_ps(a, b))
        }

        #[inline(always)]
        fn max(self, a: Self::V, b: Self::V) -> Self::V {
            both!(_mm256_max_ps(a, b))
        }

        #[inline(always)]
        fn min(self, a: Self::V, b: Self::V) -> Self::V {
            both!(_mm256_min_ps(a, b))
        }

        #[inline(always)]
        fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            both!(_mm256_fmadd_ps(a, b, c))
        }

        #[inline(always)]
        fn power_of_two(self, n: Self::V) -> Self::V {
            #[expect(unsafe_code, reason = "instructions that the processor has")]
            // SAFETY: `self` is the proof.
            n.map(|n| unsafe {
                let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
            })
        }

        #[inline(always)]
        fn scaled(self, v: Self::V, n: Self::V) -> Self::V {
            #[expect(unsafe_code, reason = "instructions that the processor has")]
            // SAFETY: `self` is the proof.
            std::array::from_fn(|half| unsafe {
                let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(n[half]));
                _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(v[half]), exponent))
            })
        }
    }

    /// Evaluates instructions that the processor has.
    macro_rules! has {
        ($expression:expr) => {{
            #[expect(unsafe_code, reason = "instructions that the processor has")]
            // SAFETY: `self` is the proof; a reference to sixteen floats is what is loaded or stored.
            unsafe {
                $expression
            }
        }};
    }

    impl Simd for Avx512 {
        type V = __m512;
        const ROWS: usize = 12;

        #[inline(always)]
        fn splat(self, x: f32) -> Self::V {
            has!(_mm512_set1_ps(x))
        }

        #[inline(always)]
        fn load(self, x: &[f32; LANES]) -> Self::V {
            has!(_mm512_loadu_ps(x.as_ptr()))
        }

        #[inline(always)]
        fn to_array(self, v: Self::V) -> [f32; LANES] {
            let mut out = [0.0; LANES];
            has!(_mm512_storeu_ps(out.as_mut_ptr(), v));
            out
        }

        #[inline(always)]
        fn add(self, a: Self::V, b: Self::V) -> Self::V {
            has!(_mm512_add_ps(a, b))
        }

        #[inline(always)]
        fn sub(self, a: Self::V, b: Self::V) -> Self::V {
            has!(_mm512_sub_ps(a, b))
        }

        #[inline(always)]
        fn mul(self, a: Self::V, b: Self::V) -> Self::V {
            has!(_mm512_mul_ps(a, b))
        }

        #[inline(always)]
        fn div(self, a: Self::V, b: Self::V) -> Self::V {
            has!(_mm512_div_ps(a, b))
        }

        #[inline(always)]
        fn max(self, a: Self::V, b: Self::V) -> Self::V {
            has!(_mm512_max_ps(a, b))
        }

        #[inline(always)]
        fn min(self, a: Self::V, b: Self::V) -> Self::V {
            has!(_mm512_min_ps(a, b))
        }

        #[inline(always)]
        fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
            has!(_mm512_fmadd_ps(a, b, c))
        }

        #[inline(always)]
        fn power_of_two(self, n: Self::V) -> Self::V {
            has!({
                let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
            })
        }

        #[inline(always)]
        fn scaled(self, v: Self::V, n: Self::V) -> Self::V {
            has!({
                let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(n));
                _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(v), exponent))
            })
        }

        #[inline(always)]
        fn smallest(self, v: Self::V) -> f32 {
            has!(_mm512_reduce_min_ps(v))
        }

        #[inline(always)]
        fn largest(self, v: Self::V) -> f32 {
            has!(_mm512_reduce_max_ps(v))
        }

        #[inline(always)]
        fn has_nan(self, v: Self::V) -> bool {
            has!(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v)) != 0
        }

        #[inline(always)]
        fn low_bytes(self, v: Self::V) -> [u32; LANES / 4] {
            let mut words = [0; LANES / 4];
            let bytes = has!(_mm512_cvtepi32_epi8(_mm512_castps_si512(v)));
            has!(_mm_storeu_si128(words.as_mut_ptr().cast(), bytes));
            words
        }
    }
}
