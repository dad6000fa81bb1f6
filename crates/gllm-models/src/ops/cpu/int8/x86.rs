//! Products of codes for AVX2 and for AVX-512 with VNNI.

use std::arch::x86_64::{
    __m256, __m256i, __m512, __m512i, _mm256_add_epi32, _mm256_and_si256, _mm256_cvtepi32_ps, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_slli_epi16, _mm256_srai_epi16,
    _mm256_srli_epi16, _mm512_cvtepi32_ps, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_setzero_si512,
};

use super::{Block, Dots, LANES, Quad};
use crate::ops::cpu::simd::x86::{Avx2, Avx512};

/// AVX-512 F and VNNI.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512Vnni(Avx512);

impl Avx512Vnni {
    pub(super) fn new() -> Option<Self> {
        Avx512::new().filter(|_| is_x86_feature_detected!("avx512vnni")).map(Self)
    }

    pub(super) fn run(self, block: Block<'_>) {
        #[target_feature(enable = "avx512f,avx512vnni")]
        fn body(isa: Avx512Vnni, block: Block<'_>) {
            block.eval::<_, 6>(isa);
        }
        #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
        // SAFETY: `self` is the proof that the processor has it.
        unsafe {
            body(self, block);
        }
    }
}

/// Evaluates `block` with `isa`.
pub(super) fn run_avx2(isa: Avx2, block: Block<'_>) {
    #[target_feature(enable = "avx2,fma")]
    fn body(isa: Avx2, block: Block<'_>) {
        block.eval::<_, 3>(isa);
    }
    #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
    // SAFETY: `isa` is the proof that the processor has it.
    unsafe {
        body(isa, block);
    }
}

/// Evaluates instructions that the processor has.
macro_rules! has {
    ($expression:expr) => {{
        #[expect(unsafe_code, reason = "instructions that the processor has")]
        // SAFETY: `self` is the proof; sixteen quads are what is loaded.
        unsafe {
            $expression
        }
    }};
}

impl Dots for Avx512Vnni {
    type Floats = Avx512;
    type Sums = __m512i;

    #[inline(always)]
    fn floats(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    fn zero(self) -> __m512i {
        has!(_mm512_setzero_si512())
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, x: Quad, weights: &[Quad; LANES]) -> __m512i {
        has!({
            let weights = _mm512_loadu_si512(weights.as_ptr().cast());
            _mm512_dpbusd_epi32(sums, _mm512_set1_epi32(x.cast_signed()), weights)
        })
    }

    #[inline(always)]
    fn to_floats(self, sums: __m512i) -> __m512 {
        has!(_mm512_cvtepi32_ps(sums))
    }
}

impl Dots for Avx2 {
    type Floats = Self;
    type Sums = [__m256i; 2];

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }

    #[inline(always)]
    fn zero(self) -> [__m256i; 2] {
        has!([_mm256_setzero_si256(); 2])
    }

    /// In 16 bits, the even inputs and the odd ones: the products of bytes would overflow the sums of two that AVX2 makes
    /// of them.
    #[inline(always)]
    fn dot(self, sums: [__m256i; 2], x: Quad, weights: &[Quad; LANES]) -> [__m256i; 2] {
        has!({
            let x = _mm256_set1_epi32(x.cast_signed());
            let (even, odd) = (_mm256_and_si256(x, _mm256_set1_epi32(0x00ff_00ff)), _mm256_srli_epi16::<8>(x));
            let half = |sums, at: usize| {
                let weights: __m256i = _mm256_loadu_si256(weights.as_ptr().add(at).cast());
                let evens = _mm256_madd_epi16(even, _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(weights)));
                let odds = _mm256_madd_epi16(odd, _mm256_srai_epi16::<8>(weights));
                _mm256_add_epi32(_mm256_add_epi32(sums, evens), odds)
            };
            [half(sums[0], 0), half(sums[1], LANES / 2)]
        })
    }

    #[inline(always)]
    fn to_floats(self, sums: [__m256i; 2]) -> [__m256; 2] {
        has!([_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])])
    }
}
