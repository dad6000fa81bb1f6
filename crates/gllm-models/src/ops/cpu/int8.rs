//! A linear layer on 8 bits: `y = f(x · Wᵀ + b)`, with `x` and `W` as whole numbers, scaled in groups of inputs.
//!
//! A group of an output's weights is `scale · code`, codes from -127 to 127; a group of a row of activations is
//! `low + step · code`, codes from 0 to 255, so that both ends of its range are exact: what normalisation and GELU give
//! isn't centred, and a few inputs are far larger than the others. Both are groups of the same inputs, so an input that is
//! far off costs its neighbours precision and nobody else. Within a group sums are exact; groups are added in f32 in the
//! order of the inputs. So a result is the same, bit for bit, whatever rows stand beside it, on any number of threads and
//! with any instruction set.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

mod codes;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::cell::Cell;
use std::ops::Range;

use gllm_quant::HugeVec;
use rayon::prelude::*;

use self::codes::Codes;
use super::erf::rough_gelu;
use super::share::{self, Lines, PANEL, Panels, Part, Sums, TILE_ROWS, Then, for_tile, prefetch, share, tiles};
use super::simd::{LANES, Scalar, Simd};
use crate::threads;

/// Inputs whose codes lie together, for each output.
const QUAD: usize = 4;

/// Most inputs that share scales: their products' sums are exact in `f32`.
const GROUP: usize = 256;

/// Quads of the largest group.
const QUADS: usize = GROUP / QUAD;

/// The codes of a quad, the first in the lowest byte.
type Quad = u32;

/// The weights of a layer.
#[derive(Clone, Debug)]
pub(crate) struct Int8Linear {
    /// For each, `[groups, quads]`, as [`Products::arrange`] leaves them. Inputs and outputs that are missing are zeros.
    pub(super) panels: Panels<Lines<Quad>>,
    /// `[panels, groups]`.
    scales: Vec<Scales>,
    /// Inputs of a group, whole panels of the layer before.
    group: usize,
    isa: Isa,
}

/// What the codes of a group of inputs of the outputs of a panel stand for.
#[derive(Clone, Debug)]
struct Scales {
    of_codes: Lines<f32>,
    /// The sum of the scaled codes, to be multiplied with the lowest activation.
    sums: Lines<f32>,
}

impl Int8Linear {
    /// Whether this processor multiplies codes with instructions that there is a kernel for.
    pub(crate) fn is_fast() -> bool {
        !matches!(Isa::detect(), Isa::Scalar(_))
    }

    /// A layer `[outputs, inputs]` with or without a bias, whose groups have at most `most` inputs, or few more.
    pub(crate) fn new(weight: &[f32], bias: Option<&[f32]>, inputs: usize, most: usize) -> Self {
        Self::with(Isa::detect(), weight, bias, inputs, most)
    }

    fn with(isa: Isa, weight: &[f32], bias: Option<&[f32]>, inputs: usize, most: usize) -> Self {
        let outputs = weight.len() / inputs;
        let group = inputs.div_ceil(inputs.div_ceil(most.min(GROUP))).next_multiple_of(PANEL);
        let (n_panels, n_groups) = (outputs.div_ceil(PANEL), inputs.div_ceil(group));
        let mut codes = HugeVec::<Lines<Quad>>::zeros(n_panels * n_groups * (group / QUAD));
        let mut scales = Vec::with_capacity(n_panels * n_groups);
        let groups = codes.par_chunks_exact_mut(group / QUAD).enumerate().map(|(index, codes)| {
            let (panel, first) = (index / n_groups, index % n_groups * group);
            let rows = weight.chunks_exact(inputs).skip(panel * PANEL).take(PANEL);
            let scales = quantize(rows.map(|row| &row[first..inputs.min(first + group)]), codes);
            isa.arrange(codes);
            scales
        });
        threads::on_pool(|| groups.collect_into_vec(&mut scales));
        Self { panels: Panels::new([inputs, outputs], codes, bias), scales, group, isa }
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
        self.isa.run(Block { through: None, layer: self, x, part, then });
    }

    /// A part of `self(then(before(x)))`, on the caller's thread; what is between them is codes at once.
    pub(super) fn part_through(&self, before: &Self, between: Then, x: &[f32], part: Part<'_>) {
        self.isa.run(Block { through: Some((before, between)), layer: self, x, part, then: Then::Nothing });
    }
}

/// Puts the codes of a group of inputs into `quads`, of the weights of each output, at most [`PANEL`] of them.
fn quantize<'a>(outputs: impl Iterator<Item = &'a [f32]>, quads: &mut [Lines<Quad>]) -> Scales {
    let nothing = Lines([0.0; PANEL]);
    let mut scales = Scales { of_codes: nothing, sums: nothing };
    for (lane, weights) in outputs.enumerate() {
        let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
        let inverse = 127.0 / largest;
        // Infinite for zeros and for subnormal numbers, which count as zeros.
        let inverse = if inverse.is_finite() { inverse } else { 0.0 };
        let scale = largest / 127.0;
        let mut sum = 0_i32;
        for (quads, weights) in quads.iter_mut().zip(weights.chunks(QUAD)) {
            let mut codes = [0_u8; QUAD];
            for (code, weight) in codes.iter_mut().zip(weights) {
                let rounded = (weight * inverse).round_ties_even() as i8;
                sum += i32::from(rounded);
                *code = rounded.cast_unsigned();
            }
            quads.0[lane] = Quad::from_le_bytes(codes);
        }
        // What isn't finite stays so.
        scales.of_codes.0[lane] = if weights.iter().all(|weight| weight.is_finite()) { scale } else { f32::NAN };
        scales.sums.0[lane] = scales.of_codes.0[lane] * sum as f32;
    }
    scales
}

/// What multiplies the codes of a group.
trait Products: Copy {
    type Floats: Simd;
    /// Sixteen sums.
    type Sums: Copy;

    /// Brings the codes of a group of weights, a line for each quad of inputs, into the order that they are read in.
    fn arrange(_codes: &mut [Lines<Quad>]) {}

    /// What computes with the sums of groups.
    fn floats(self) -> Self::Floats;

    /// Each row's products with the weights of the first and the second half of the outputs, exact: of as many quads as
    /// there are weights.
    fn products<const R: usize>(self, x: &[[Quad; QUADS]; R], weights: &[Lines<Quad>]) -> [[Self::Sums; 2]; R];

    /// Exact below 2²⁴.
    fn to_floats(self, sums: Self::Sums) -> <Self::Floats as Simd>::V;
}

/// What multiplies them a quad at a time.
trait Dots: Copy {
    type Floats: Simd;
    /// Sixteen sums.
    type Sums: Copy;

    /// What computes with the sums of groups.
    fn floats(self) -> Self::Floats;

    fn zero(self) -> Self::Sums;

    /// `sums + x · weights` of each lane, `x` unsigned and weights signed.
    fn dot(self, sums: Self::Sums, x: Quad, weights: &[Quad; LANES]) -> Self::Sums;

    /// Exact below 2²⁴.
    fn to_floats(self, sums: Self::Sums) -> <Self::Floats as Simd>::V;
}

/// The instruction sets that multiply codes.
#[derive(Clone, Copy, Debug)]
enum Isa {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(super::simd::x86::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(x86::Avx512Vnni),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    DotProducts(neon::DotProducts),
    #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
    MatrixProducts(neon::MatrixProducts),
}

impl Isa {
    /// The best one.
    fn detect() -> Self {
        Self::all().next_back().unwrap_or(Self::Scalar(Scalar))
    }

    /// All of them, the best last.
    fn all() -> impl DoubleEndedIterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let vector = [super::simd::x86::Avx2::new().map(Self::Avx2), x86::Avx512Vnni::new().map(Self::Avx512)];
        #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
        let vector =
            [neon::DotProducts::new().map(Self::DotProducts), neon::MatrixProducts::new().map(Self::MatrixProducts)];
        #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))))]
        let vector: [Option<Self>; 0] = [];
        std::iter::once(Self::Scalar(Scalar)).chain(vector.into_iter().flatten())
    }

    /// [`Products::arrange`] of the instruction set.
    fn arrange(self, codes: &mut [Lines<Quad>]) {
        match self {
            Self::Scalar(_) => Scalar::arrange(codes),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => super::simd::x86::Avx2::arrange(codes),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => x86::Avx512Vnni::arrange(codes),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::DotProducts(_) => neon::DotProducts::arrange(codes),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::MatrixProducts(_) => neon::MatrixProducts::arrange(codes),
        }
    }

    fn run(self, block: Block<'_>) {
        match self {
            Self::Scalar(scalar) => block.eval::<_, 1>(scalar),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => x86::run_avx2(isa, block),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(isa) => isa.run(block),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::DotProducts(isa) => isa.run(block),
            #[cfg(all(target_arch = "aarch64", target_endian = "little"))]
            Self::MatrixProducts(isa) => isa.run(block),
        }
    }
}

/// Some rows, through some panels, or through another layer first.
struct Block<'a> {
    /// The layer before, and what becomes of its sums.
    through: Option<(&'a Int8Linear, Then)>,
    layer: &'a Int8Linear,
    x: &'a [f32],
    part: Part<'a>,
    then: Then,
}

thread_local! {
    static ROOM: Cell<Room> = const { Cell::new(Room { inner: Vec::new(), codes: [Codes::NONE; 2] }) };
}

/// What a thread computes in, kept for its next block.
#[derive(Default)]
struct Room {
    /// `[rows, GROUP]`: what a group of inputs of the next layer is made of.
    inner: Vec<f32>,
    /// Of the activations and of what is between two layers.
    codes: [Codes; 2],
}

impl Block<'_> {
    /// With at most `MOST` rows at once.
    #[inline(always)]
    fn eval<P: Products, const MOST: usize>(self, isa: P) {
        let Self { through, layer, x, part: Part { rows, panels, y, width }, then } = self;
        let (simd, n_rows) = (isa.floats(), rows.len());
        let first = through.map_or(layer, |(before, _)| before);
        let inputs = first.panels.inputs;
        let Room { mut inner, codes: [mut x_codes, mut inner_codes] } = ROOM.take();
        x_codes.put_all(simd, &x[rows.start * inputs..rows.end * inputs], inputs, first.group);
        if let Some((before, then)) = through {
            let outputs = before.panels.outputs;
            inner_codes.make_room(n_rows, outputs, layer.group);
            if inner.len() < n_rows * GROUP + LANES {
                inner.resize(n_rows * GROUP + LANES, 0.0);
            }
            // From a line of the cache on.
            let start = inner.as_ptr().align_offset(size_of::<[f32; LANES]>()).min(LANES);
            let inner = &mut inner[start..][..n_rows * GROUP];
            for group in 0..outputs.div_ceil(layer.group) {
                let first = group * layer.group;
                let len = layer.group.min(outputs - first);
                let panels = first / PANEL..(first + len).div_ceil(PANEL);
                before.panels::<P, MOST>(isa, &x_codes, panels, then, (inner, GROUP), len);
                for (row, x) in inner.chunks_exact(GROUP).enumerate() {
                    inner_codes.put(simd, (row, group), &x[..len]);
                }
            }
            std::mem::swap(&mut x_codes, &mut inner_codes);
        }
        layer.panels::<P, MOST>(isa, &x_codes, panels, then, (y, width), width);
        ROOM.set(Room { inner, codes: [x_codes, inner_codes] });
    }
}

/// `then` of each lane, of GELU no more than 8 bits need.
#[inline(always)]
fn apply<S: Simd>(simd: S, x: S::V, then: Then) -> S::V {
    match then {
        Then::Gelu => rough_gelu(simd, x),
        _ => share::apply(simd, x, then),
    }
}

impl Int8Linear {
    /// Puts `then` of the sums of some panels into `y`: the first `width` of each `stride`.
    #[inline(always)]
    fn panels<P: Products, const MOST: usize>(
        &self,
        isa: P,
        x: &Codes,
        panels: Range<usize>,
        then: Then,
        (y, stride): (&mut [f32], usize),
        width: usize,
    ) {
        let (quads, n_groups) = (self.group / QUAD, self.panels.inputs.div_ceil(self.group));
        let mut tile = [Lines([0.0; PANEL]); TILE_ROWS];
        for (index, panel) in panels.enumerate() {
            let scales = &self.scales[panel * n_groups..][..n_groups];
            let (weights, bias) = (self.panels.of(panel, n_groups * quads), &self.panels.bias[panel]);
            let columns = index * PANEL..width.min((index + 1) * PANEL);
            for rows in tiles(x.rows, MOST) {
                let (n_rows, first) = (rows.len(), rows.start);
                for_tile!(n_rows, sum_groups::<P>(isa, weights, scales, x, first, bias, &mut tile));
                for (sums, y) in tile.iter().zip(y[first * stride..].chunks_mut(stride)).take(n_rows) {
                    finish(isa.floats(), sums, then, &mut y[columns.clone()]);
                }
            }
        }
    }
}

/// Puts `then` of sums into `y`, which has no more.
#[inline(always)]
fn finish<S: Simd>(simd: S, sums: &Sums, then: Then, y: &mut [f32]) {
    let halves = sums.0.as_chunks::<LANES>().0;
    let done = [apply(simd, simd.load(&halves[0]), then), apply(simd, simd.load(&halves[1]), then)];
    // Copies of a known length are two instructions.
    if let ([first, second], _) = y.as_chunks_mut::<LANES>() {
        *first = simd.to_array(done[0]);
        *second = simd.to_array(done[1]);
    } else {
        let both = [simd.to_array(done[0]), simd.to_array(done[1])];
        y.copy_from_slice(&both.as_flattened()[..y.len()]);
    }
}

/// Puts the products of all groups of inputs, added to the bias, for `R` rows from the `first` on, into `totals`.
#[inline(always)]
fn sum_groups<P: Products, const R: usize>(
    isa: P,
    weights: &[Lines<Quad>],
    scales: &[Scales],
    x: &Codes,
    first: usize,
    bias: &Sums,
    totals: &mut [Sums],
) {
    let simd = isa.floats();
    let bias = halves(simd, bias);
    let mut sums = [bias; R];
    let groups = weights.chunks_exact(weights.len() / scales.len()).zip(scales);
    for (group, (weights, scales)) in groups.enumerate() {
        let place = group * x.rows + first;
        let (Some(rows), Some(steps), Some(lows)) = (
            x.quads[place..].first_chunk::<R>(),
            x.steps[place..].first_chunk::<R>(),
            x.lows[place..].first_chunk::<R>(),
        ) else {
            return;
        };
        let products = isa.products(rows, weights);
        let (of_codes, of_lows) = (halves(simd, &scales.of_codes), halves(simd, &scales.sums));
        for row in 0..R {
            let (step, low) = (simd.splat(steps[row]), simd.splat(lows[row]));
            for half in 0..2 {
                let product = simd.mul(isa.to_floats(products[row][half]), step);
                let sum = simd.fma(product, of_codes[half], sums[row][half]);
                sums[row][half] = simd.fma(low, of_lows[half], sum);
            }
        }
    }
    for (totals, sums) in totals.iter_mut().zip(sums) {
        let both = totals.0.as_chunks_mut::<LANES>().0;
        both[0] = simd.to_array(sums[0]);
        both[1] = simd.to_array(sums[1]);
    }
}

#[inline(always)]
fn halves<S: Simd>(simd: S, of: &Lines<f32>) -> [S::V; 2] {
    let halves = of.0.as_chunks().0;
    [simd.load(&halves[0]), simd.load(&halves[1])]
}

impl<D: Dots> Products for D {
    type Floats = D::Floats;
    type Sums = D::Sums;

    #[inline(always)]
    fn floats(self) -> D::Floats {
        Dots::floats(self)
    }

    #[inline(always)]
    fn products<const R: usize>(self, x: &[[Quad; QUADS]; R], weights: &[Lines<Quad>]) -> [[D::Sums; 2]; R] {
        let mut dots = [[self.zero(); 2]; R];
        for (quad, weights) in weights.iter().enumerate().take(QUADS) {
            prefetch(weights);
            let halves = weights.0.as_chunks::<LANES>().0;
            for (dots, row) in dots.iter_mut().zip(x) {
                dots[0] = self.dot(dots[0], row[quad], &halves[0]);
                dots[1] = self.dot(dots[1], row[quad], &halves[1]);
            }
        }
        dots
    }

    #[inline(always)]
    fn to_floats(self, sums: D::Sums) -> <D::Floats as Simd>::V {
        Dots::to_floats(self, sums)
    }
}

impl Dots for Scalar {
    type Floats = Self;
    type Sums = [i32; LANES];

    #[inline(always)]
    fn floats(self) -> Self {
        self
    }

    #[inline(always)]
    fn zero(self) -> [i32; LANES] {
        [0; LANES]
    }

    #[inline(always)]
    fn dot(self, sums: [i32; LANES], x: Quad, weights: &[Quad; LANES]) -> [i32; LANES] {
        let x = x.to_le_bytes();
        std::array::from_fn(|lane| {
            let products = x.iter().zip(weights[lane].to_le_bytes());
            sums[lane] + products.map(|(x, weight)| i32::from(*x) * i32::from(weight.cast_signed())).sum::<i32>()
        })
    }

    #[inline(always)]
    fn to_floats(self, sums: [i32; LANES]) -> [f32; LANES] {
        sums.map(|sum| sum as f32)
    }
}
