//! What attention multiplies: floats, or pairs of numbers in bf16.

use super::Vector;
use crate::ops::cpu::bf16::Pairs;
use crate::ops::cpu::exp::{exp, rough_exp2};
use crate::ops::cpu::share::PANEL;
use crate::ops::cpu::simd::{LANES, Simd};

/// One or two inputs in 32 bits, and what multiplies them.
pub(super) trait Numbers: Copy {
    type Floats: Simd;

    /// Inputs that lie in a number: 1 or 2.
    const INPUTS: usize;
    /// Queries whose scores, or results, of a panel fit into the registers.
    const ROWS: usize;
    /// The logarithm of e to the base that [`Numbers::power`] raises.
    const LOG_E: f32;

    /// What computes with sums.
    fn floats(self) -> Self::Floats;

    /// Inputs in numbers, with zeros for those that are missing.
    fn numbers(self, x: &[f32]) -> Vector;

    /// The numbers of a panel of dimensions of as many keys as lie in a number.
    fn across(self, keys: [&[f32]; 2]) -> [Vector; 2];

    /// One of `a`, one of `b`, and so on.
    fn zip(self, a: &Vector, b: &Vector) -> [Vector; 2];

    /// `sum + x · weights` of each lane.
    fn dot(self, sum: V<Self>, x: u32, weights: &Vector) -> V<Self>;

    /// As exact as the numbers are.
    fn power(self, x: V<Self>) -> V<Self>;

    /// Puts the numbers of a panel of keys into `to`.
    fn put(self, low: V<Self>, high: V<Self>, to: &mut [u32]);
}

/// Sixteen floats.
pub(super) type V<N> = <<N as Numbers>::Floats as Simd>::V;

/// A number is a float.
#[derive(Clone, Copy)]
pub(super) struct OfFloats<S>(pub(super) S);

/// A number is a pair.
#[derive(Clone, Copy)]
pub(super) struct OfPairs<P>(pub(super) P);

/// The first `N` of `x`, with zeros for what is missing; a copy of a known length where nothing is.
#[inline(always)]
fn filled<const N: usize>(x: &[f32]) -> [f32; N] {
    x.first_chunk().copied().unwrap_or_else(|| {
        let mut filled = [0.0; N];
        filled[..x.len()].copy_from_slice(x);
        filled
    })
}

impl<S: Simd> Numbers for OfFloats<S> {
    type Floats = S;

    const INPUTS: usize = 1;
    const ROWS: usize = S::ROWS * S::VECTORS / 2;
    const LOG_E: f32 = 1.0;

    #[inline(always)]
    fn floats(self) -> S {
        self.0
    }

    #[inline(always)]
    fn numbers(self, x: &[f32]) -> Vector {
        bytemuck::cast(filled::<LANES>(x))
    }

    #[inline(always)]
    fn across(self, [key, _]: [&[f32]; 2]) -> [Vector; 2] {
        bytemuck::cast(filled::<PANEL>(key))
    }

    #[inline(always)]
    fn zip(self, a: &Vector, b: &Vector) -> [Vector; 2] {
        let mut zipped = [[0; LANES]; 2];
        for (half, zipped) in zipped.iter_mut().enumerate() {
            for lane in 0..LANES / 2 {
                zipped[2 * lane] = a[half * LANES / 2 + lane];
                zipped[2 * lane + 1] = b[half * LANES / 2 + lane];
            }
        }
        zipped
    }

    #[inline(always)]
    fn dot(self, sum: S::V, x: u32, weights: &Vector) -> S::V {
        self.0.fma_by(f32::from_bits(x), self.0.load(bytemuck::cast_ref(weights)), sum)
    }

    #[inline(always)]
    fn power(self, x: S::V) -> S::V {
        exp(self.0, x)
    }

    #[inline(always)]
    fn put(self, low: S::V, high: S::V, to: &mut [u32]) {
        if let [first, second] = to.as_chunks_mut::<LANES>().0 {
            *first = bytemuck::cast(self.0.to_array(low));
            *second = bytemuck::cast(self.0.to_array(high));
        }
    }
}

impl<P: Pairs> Numbers for OfPairs<P> {
    type Floats = P::Floats;

    const INPUTS: usize = 2;
    const ROWS: usize = 12;
    const LOG_E: f32 = std::f32::consts::LOG2_E;

    #[inline(always)]
    fn floats(self) -> P::Floats {
        self.0.floats()
    }

    #[inline(always)]
    fn numbers(self, x: &[f32]) -> Vector {
        self.0.round(&filled(x))
    }

    #[inline(always)]
    fn across(self, [even, odd]: [&[f32]; 2]) -> [Vector; 2] {
        let (even, odd) = (filled::<PANEL>(even), filled::<PANEL>(odd));
        let (even, odd) = (even.as_chunks::<LANES>().0, odd.as_chunks::<LANES>().0);
        [self.0.round(&self.0.zip(&even[0], &odd[0])), self.0.round(&self.0.zip(&even[1], &odd[1]))]
    }

    #[inline(always)]
    fn zip(self, a: &Vector, b: &Vector) -> [Vector; 2] {
        self.0.zip_pairs(a, b)
    }

    #[inline(always)]
    fn dot(self, sum: V<Self>, x: u32, weights: &Vector) -> V<Self> {
        self.0.dot(sum, x, weights)
    }

    #[inline(always)]
    fn power(self, x: V<Self>) -> V<Self> {
        rough_exp2(self.floats(), x)
    }

    #[inline(always)]
    fn put(self, low: V<Self>, high: V<Self>, to: &mut [u32]) {
        if let [pairs] = to.as_chunks_mut::<LANES>().0 {
            *pairs = self.0.round_vectors(low, high);
        }
    }
}
