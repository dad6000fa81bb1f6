//! A linear layer on bf16: `y = f(x · Wᵀ + b)`, with `x` and `W` rounded to 8 bits of mantissa and sums in f32.
//!
//! As in [`super::dense`], but two inputs of an output lie together, and an instruction multiplies and adds both: it adds
//! the product of the second, rounds, adds that of the first, and rounds. Numbers below the normal range count as zero.
//! [`Scalar`] does the same, to the bit.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use gllm_quant::HugeVec;
use half::bf16;
use rayon::prelude::*;

use super::rows::{Room, stride};
use super::share::{Lines, PANEL, Panels, Part, Sums, TILE_ROWS, Then, finish, for_tile, prefetch, share, tiles};
#[cfg(test)]
use super::simd::Scalar;
use super::simd::{LANES, Simd};
use crate::threads;

/// Two numbers in bf16, the first in the low bits.
pub(super) type Pair = u32;

/// The weights of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Bf16Linear {
    /// For each, `[pairs]`; outputs that are missing in the last one are zeros.
    pub(super) panels: Panels<Lines<Pair>>,
    isa: Isa,
}

impl Bf16Linear {
    /// Whether this processor multiplies bf16 faster than f32.
    pub(crate) fn is_fast() -> bool {
        Isa::detect().is_some()
    }

    /// A layer `[outputs, inputs]` with or without a bias; `None` where [`Bf16Linear::is_fast`] says no.
    pub(crate) fn new(weight: &[f32], bias: Option<&[f32]>, inputs: usize) -> Option<Self> {
        Isa::detect().map(|isa| Self::with(isa, weight, bias, inputs))
    }

    fn with(isa: Isa, weight: &[f32], bias: Option<&[f32]>, inputs: usize) -> Self {
        let (outputs, pairs) = (weight.len() / inputs, inputs.div_ceil(2));
        let mut panels = HugeVec::<Lines<Pair>>::zeros(outputs.div_ceil(PANEL) * pairs);
        let of_panels = panels.par_chunks_exact_mut(pairs).zip(weight.par_chunks(inputs * PANEL));
        threads::on_pool(|| {
            of_panels.for_each(|(panel, rows)| {
                for (lane, row) in rows.chunks_exact(inputs).enumerate() {
                    panel.iter_mut().zip(row.chunks(2)).for_each(|(to, pair)| to.0[lane] = round(pair));
                }
            });
        });
        Self { panels: Panels::new([inputs, outputs], panels, bias), isa }
    }

    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - returns `[rows, outputs]`, in the memory of `y`
    pub(crate) fn forward(&self, x: &[f32], then: Then, y: Vec<f32>) -> Vec<f32> {
        share(x.len() / self.panels.inputs, [self.panels.inputs, self.panels.outputs], y, |part| {
            self.part(x, part, then);
        })
    }

    /// A part of the results for `x`, on the caller's thread.
    pub(super) fn part(&self, x: &[f32], part: Part<'_>, then: Then) {
        self.isa.run(Block { layer: self, x, part, then });
    }
}

/// One or two numbers, rounded to the nearest; the second is zero if it is missing.
#[inline(always)]
fn round(pair: &[f32]) -> Pair {
    let bits = |x: f32| Pair::from(bf16::from_f32(x).to_bits());
    match *pair {
        [first, second] => bits(first) | bits(second) << 16,
        [first] => bits(first),
        _ => 0,
    }
}

/// Rounds rows to pairs: `[rows, stride]`.
#[inline(always)]
fn round_rows<P: Pairs>(isa: P, x: &[f32], inputs: usize, pairs: &mut [Pair], stride: usize) {
    for (to, row) in pairs.chunks_exact_mut(stride).zip(x.chunks_exact(inputs)) {
        let (chunks, last) = row.as_chunks::<PANEL>();
        let (whole, rest) = to.split_at_mut(chunks.len() * LANES);
        for (to, chunk) in whole.as_chunks_mut::<LANES>().0.iter_mut().zip(chunks) {
            *to = isa.round(chunk);
        }
        rest.iter_mut().zip(last.chunks(2)).for_each(|(to, pair)| *to = round(pair));
    }
}

/// What multiplies pairs.
pub(super) trait Pairs: Copy {
    type Floats: Simd;

    /// What computes with sums.
    fn floats(self) -> Self::Floats;

    /// Rounds to the nearest, as [`round`].
    fn round(self, x: &[f32; PANEL]) -> [Pair; LANES];

    /// The same of vectors.
    #[inline(always)]
    fn round_vectors(self, low: <Self::Floats as Simd>::V, high: <Self::Floats as Simd>::V) -> [Pair; LANES] {
        let simd = self.floats();
        let both = [simd.to_array(low), simd.to_array(high)];
        self.round(both.as_flattened().first_chunk().unwrap_or(&[0.0; PANEL]))
    }

    /// One of `a`, one of `b`, and so on.
    fn zip_pairs(self, a: &[Pair; LANES], b: &[Pair; LANES]) -> [[Pair; LANES]; 2];

    /// The same of floats.
    #[inline(always)]
    fn zip(self, a: &[f32; LANES], b: &[f32; LANES]) -> [f32; PANEL] {
        let [first, second] = self.zip_pairs(bytemuck::cast_ref(a), bytemuck::cast_ref(b));
        bytemuck::cast([first, second])
    }

    /// `sum + x · weights` of each lane: the second of a pair first.
    fn dot(self, sum: Sum<Self>, x: Pair, weights: &[Pair; LANES]) -> Sum<Self>;
}

/// Sixteen sums.
type Sum<P> = <<P as Pairs>::Floats as Simd>::V;

/// A computation with pairs.
pub(super) trait PairKernel {
    type Output;

    /// Must be `#[inline(always)]`, as all that it calls.
    fn eval<P: Pairs>(self, isa: P) -> Self::Output;
}

/// The instruction sets that multiply pairs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Isa {
    /// What the others are held against.
    #[cfg(test)]
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512Bf16),
}

impl Isa {
    #[cfg(target_arch = "x86_64")]
    pub(super) fn detect() -> Option<Self> {
        x86::Avx512Bf16::new().map(Self::Avx512)
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn detect() -> Option<Self> {
        None
    }

    /// Evaluates `kernel` with it.
    #[cfg_attr(
        not(any(test, target_arch = "x86_64")),
        expect(
            unused_variables,
            clippy::needless_pass_by_value,
            reason = "there is no instruction set that multiplies pairs"
        )
    )]
    pub(super) fn run<K: PairKernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(test)]
            Self::Scalar(scalar) => kernel.eval(scalar),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => isa.run(kernel),
        }
    }
}

/// Some rows, through some panels.
struct Block<'a> {
    layer: &'a Bf16Linear,
    x: &'a [f32],
    part: Part<'a>,
    then: Then,
}

impl PairKernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<P: Pairs>(self, isa: P) {
        let Self { layer, x, part: Part { rows, panels, y, width }, then } = self;
        let (n_rows, inputs) = (rows.len(), layer.panels.inputs);
        let (pairs, stride) = (inputs.div_ceil(2), stride(inputs.div_ceil(2)));
        let mut room = Room::new(n_rows * stride);
        let rounded = room.numbers();
        round_rows(isa, &x[rows.start * inputs..rows.end * inputs], inputs, rounded, stride);
        let mut sums = vec![Lines([0.0; PANEL]); n_rows];
        for (index, panel) in panels.enumerate() {
            let weights = layer.panels.of(panel, pairs);
            for rows in tiles(n_rows, TILE_ROWS) {
                let (x, n_rows) = (&rounded[rows.start * stride..], rows.len());
                let sums = &mut sums[rows];
                sums.fill(Lines([0.0; PANEL]));
                for_tile!(n_rows, add_products::<P>(isa, weights, x, stride, sums));
            }
            finish(isa.floats(), &sums, &layer.panels.bias[panel], then, y, width, index * PANEL);
        }
    }
}

/// `sums += x · weights` for `R` rows of `x`, which are `stride` apart.
#[inline(always)]
fn add_products<P: Pairs, const R: usize>(
    isa: P,
    weights: &[Lines<Pair>],
    x: &[Pair],
    stride: usize,
    sums: &mut [Sums],
) {
    let simd = isa.floats();
    // Loops, because closures aren't always compiled for the instruction set of their caller.
    let mut rows: [&[Pair]; R] = [&[]; R];
    for (row, of_row) in rows.iter_mut().enumerate() {
        *of_row = &x[row * stride..][..weights.len()];
    }
    let mut totals = [[simd.splat(0.0); 2]; R];
    for (totals, sums) in totals.iter_mut().zip(&*sums) {
        let halves = sums.0.as_chunks::<LANES>().0;
        *totals = [simd.load(&halves[0]), simd.load(&halves[1])];
    }
    for (pair, weights) in weights.iter().enumerate() {
        prefetch(weights);
        let halves = weights.0.as_chunks::<LANES>().0;
        for (totals, row) in totals.iter_mut().zip(rows) {
            totals[0] = isa.dot(totals[0], row[pair], &halves[0]);
            totals[1] = isa.dot(totals[1], row[pair], &halves[1]);
        }
    }
    for (sums, totals) in sums.iter_mut().zip(totals) {
        let halves = sums.0.as_chunks_mut::<LANES>().0;
        halves[0] = simd.to_array(totals[0]);
        halves[1] = simd.to_array(totals[1]);
    }
}

#[cfg(test)]
impl Pairs for Scalar {
    type Floats = Self;

    fn floats(self) -> Self {
        self
    }

    fn round(self, x: &[f32; PANEL]) -> [Pair; LANES] {
        let pairs = x.as_chunks::<2>().0;
        std::array::from_fn(|lane| round(&pairs[lane]))
    }

    fn zip_pairs(self, a: &[Pair; LANES], b: &[Pair; LANES]) -> [[Pair; LANES]; 2] {
        let place = |at: usize| if at.is_multiple_of(2) { a[at / 2] } else { b[at / 2] };
        [std::array::from_fn(place), std::array::from_fn(|lane| place(LANES + lane))]
    }

    fn dot(self, sum: [f32; LANES], x: Pair, weights: &[Pair; LANES]) -> [f32; LANES] {
        let flush = |x: f32| if x.is_subnormal() { 0.0_f32.copysign(x) } else { x };
        let second = |pair: Pair| flush(f32::from_bits(pair & 0xffff_0000));
        let first = |pair: Pair| flush(f32::from_bits(pair << 16));
        std::array::from_fn(|lane| {
            let sum = flush(second(x).mul_add(second(weights[lane]), flush(sum[lane])));
            flush(first(x).mul_add(first(weights[lane]), sum))
        })
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_permutex2var_epi32, _mm512_set1_epi32,
    };
    use std::mem::transmute;

    use super::{LANES, PANEL, Pair, PairKernel, Pairs};
    use crate::ops::cpu::simd::x86::Avx512;

    /// AVX-512 F and BF16.
    #[derive(Clone, Copy, Debug)]
    pub(in super::super) struct Avx512Bf16(Avx512);

    impl Avx512Bf16 {
        pub(super) fn new() -> Option<Self> {
            Avx512::new().filter(|_| is_x86_feature_detected!("avx512bf16")).map(Self)
        }

        pub(super) fn run<K: PairKernel>(self, kernel: K) -> K::Output {
            #[target_feature(enable = "avx512f,avx512bf16")]
            fn body<K: PairKernel>(isa: Avx512Bf16, kernel: K) -> K::Output {
                kernel.eval(isa)
            }
            #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
            // SAFETY: `self` is the proof that the processor has it.
            unsafe {
                body(self, kernel)
            }
        }
    }

    impl Pairs for Avx512Bf16 {
        type Floats = Avx512;

        #[inline(always)]
        fn floats(self) -> Avx512 {
            self.0
        }

        #[inline(always)]
        fn round(self, x: &[f32; PANEL]) -> [Pair; LANES] {
            #[expect(unsafe_code, reason = "instructions that the processor has, on thirty-two floats")]
            // SAFETY: `self` is the proof, sixteen floats lie at either place, and any bits are as many integers.
            unsafe {
                let (first, second) = (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(LANES)));
                transmute::<__m512bh, [Pair; LANES]>(_mm512_cvtne2ps_pbh(second, first))
            }
        }

        #[inline(always)]
        fn round_vectors(self, low: __m512, high: __m512) -> [Pair; LANES] {
            #[expect(unsafe_code, reason = "instructions that the processor has")]
            // SAFETY: `self` is the proof, and any bits are as many integers.
            unsafe {
                transmute::<__m512bh, [Pair; LANES]>(_mm512_cvtne2ps_pbh(high, low))
            }
        }

        #[inline(always)]
        fn zip_pairs(self, a: &[Pair; LANES], b: &[Pair; LANES]) -> [[Pair; LANES]; 2] {
            const FIRST: [u32; LANES] = [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23];
            const SECOND: [u32; LANES] = [8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31];
            #[expect(unsafe_code, reason = "instructions that the processor has, on sixteen pairs")]
            // SAFETY: `self` is the proof, and any bits are pairs.
            unsafe {
                let load = |x: &[u32; LANES]| _mm512_loadu_si512(x.as_ptr().cast());
                let (a, b) = (load(a), load(b));
                let first = _mm512_permutex2var_epi32(a, load(&FIRST), b);
                let second = _mm512_permutex2var_epi32(a, load(&SECOND), b);
                [transmute::<__m512i, [Pair; LANES]>(first), transmute::<__m512i, [Pair; LANES]>(second)]
            }
        }

        #[inline(always)]
        fn dot(self, sum: __m512, x: Pair, weights: &[Pair; LANES]) -> __m512 {
            #[expect(unsafe_code, reason = "instructions that the processor has, on sixteen pairs")]
            // SAFETY: `self` is the proof, and any bits are pairs.
            unsafe {
                let weights = transmute::<__m512i, __m512bh>(_mm512_loadu_si512(weights.as_ptr().cast()));
                let x = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(x.cast_signed()));
                _mm512_dpbf16_ps(sum, x, weights)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    fn rounded(x: f32) -> f64 {
        bf16::from_f32(x).to_f64()
    }

    fn every_isa() -> impl Iterator<Item = Isa> {
        std::iter::once(Isa::Scalar(Scalar)).chain(Isa::detect())
    }

    /// Rows, inputs, outputs: nothing divides a panel, a tile or a step.
    const SIZES: [[usize; 3]; 6] = [[1, 1, 1], [2, 7, 33], [13, 400, 70], [29, 387, 32], [101, 64, 100], [250, 40, 65]];

    #[test]
    fn products_are_right_and_the_same_on_every_instruction_set_and_row_by_row() {
        for [rows, inputs, outputs] in SIZES {
            let (weight, bias, x) = (numbers(outputs * inputs, 1), numbers(outputs, 2), numbers(rows * inputs, 3));
            for isa in every_isa() {
                let layer = Bf16Linear::with(isa, &weight, Some(&bias), inputs);
                let found = layer.forward(&x, Then::Nothing, Vec::new());
                for (row, y) in found.chunks(outputs).enumerate() {
                    for (output, found) in y.iter().enumerate() {
                        let terms = weight[output * inputs..][..inputs].iter().zip(&x[row * inputs..]);
                        let sum: f64 = terms.map(|(w, x)| rounded(*w) * rounded(*x)).sum();
                        let error = (f64::from(*found) - sum - f64::from(bias[output])).abs();
                        assert!(error <= 1e-5 * (inputs as f64).sqrt(), "{rows} {inputs} {outputs}: {error}");
                    }
                }
                let alone: Vec<f32> =
                    x.chunks(inputs).flat_map(|x| layer.forward(x, Then::Nothing, Vec::new())).collect();
                assert_eq!(alone, found, "{isa:?} {rows} {inputs} {outputs}, row by row");
                let scalar = Bf16Linear::with(Isa::Scalar(Scalar), &weight, Some(&bias), inputs);
                let exact = |y: Vec<f32>| y.into_iter().map(f32::to_bits).collect::<Vec<_>>();
                assert_eq!(
                    exact(found),
                    exact(scalar.forward(&x, Then::Nothing, Vec::new())),
                    "{isa:?} {rows} {inputs} {outputs}"
                );
            }
        }
    }

    /// Where two roundings, their order, and what counts as zero show.
    #[test]
    fn numbers_of_all_sizes_give_the_same_bits() {
        let (rows, inputs, outputs) = (13, 70, 40);
        let sized = |len: usize, seed: usize| -> Vec<f32> {
            let sizes = (0..len).map(|i| ((i * 31 + seed) % 140) as i32 - 70);
            numbers(len, seed).into_iter().zip(sizes).map(|(x, size)| x * 2_f32.powi(size)).collect()
        };
        let mut x = sized(rows * inputs, 5);
        x[3] = f32::MIN_POSITIVE / 4.0;
        x[4] = -f32::MIN_POSITIVE;
        let weight = sized(outputs * inputs, 6);
        let found = |isa| {
            let y = Bf16Linear::with(isa, &weight, None, inputs).forward(&x, Then::Nothing, Vec::new());
            y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        for isa in every_isa() {
            assert_eq!(found(isa), found(Isa::Scalar(Scalar)), "{isa:?}");
        }
    }

    #[test]
    fn what_is_not_finite_is_not_lost() {
        for isa in every_isa() {
            let layer = Bf16Linear::with(isa, &[1.0; 64], None, 64);
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = [1.0; 64];
                x[33] = bad;
                assert!(!layer.forward(&x, Then::Nothing, Vec::new())[0].is_finite(), "{isa:?} {bad}");
            }
        }
    }
}
