//! A linear layer on 8 bits: `y = f(x · Wᵀ + b)`, with `x` and `W` as whole numbers, scaled in groups of 128 inputs.
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
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;

use rayon::prelude::*;

use self::codes::Codes;
use super::erf::rough_gelu;
use super::share::{self, Lines, PANEL, Panels, Part, Sums, TILE_ROWS, Then, share};
use super::simd::{LANES, Scalar, Simd};
use crate::threads;

/// Inputs whose codes lie together, for each output.
const QUAD: usize = 4;

/// Inputs that share scales.
const GROUP: usize = 128;

/// Quads of a group.
const QUADS: usize = GROUP / QUAD;

/// The codes of a quad, the first in the lowest byte.
type Quad = u32;

/// The weights of one or more layers with the same inputs.
#[derive(Clone, Debug)]
pub(crate) struct Int8Linear {
    /// For each, `[groups]`.
    pub(super) panels: Panels<PanelGroup>,
    isa: Isa,
}

/// A group of inputs of the outputs of a panel; inputs and outputs that are missing are zeros.
#[derive(Clone, Debug)]
pub(super) struct PanelGroup {
    /// As [`Products::arrange`] leaves them.
    codes: [Lines<Quad>; QUADS],
    scales: Lines<f32>,
    /// The sum of the scaled codes, to be multiplied with the lowest activation.
    sums: Lines<f32>,
}

impl Int8Linear {
    /// Whether this processor multiplies codes with instructions that there is a kernel for.
    pub(crate) fn is_fast() -> bool {
        !matches!(Isa::detect(), Isa::Scalar(_))
    }

    /// A layer `[outputs, inputs]` with or without a bias.
    pub(crate) fn new(weight: &[f32], bias: Option<&[f32]>, inputs: usize) -> Self {
        Self::with(Isa::detect(), weight, bias, inputs)
    }

    fn with(isa: Isa, weight: &[f32], bias: Option<&[f32]>, inputs: usize) -> Self {
        let (outputs, n_groups) = (weight.len() / inputs, inputs.div_ceil(GROUP));
        let n_panels = outputs.div_ceil(PANEL);
        let groups = (0..n_panels * n_groups).into_par_iter().map(|index| {
            let (panel, group) = (index / n_groups, index % n_groups);
            let rows = weight.chunks_exact(inputs).skip(panel * PANEL).take(PANEL);
            let mut made = PanelGroup::new(rows.map(|row| &row[group * GROUP..inputs.min((group + 1) * GROUP)]));
            isa.arrange(&mut made.codes);
            made
        });
        // Taken by the caller: what a thread of the pool took, it would keep from the others once it is free again.
        let mut panels = Vec::with_capacity(n_panels * n_groups);
        threads::on_pool(|| groups.collect_into_vec(&mut panels));
        Self { panels: Panels::new([inputs, outputs], panels, bias), isa }
    }

    /// Layers one after the other as one, as [`Panels::joined`].
    pub(crate) fn joined(layers: &[&Self]) -> Option<Self> {
        let panels: Vec<_> = layers.iter().map(|layer| &layer.panels).collect();
        Some(Self { panels: Panels::joined(&panels)?, isa: layers.first()?.isa })
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

impl PanelGroup {
    /// Of the weights of each output, at most [`GROUP`] of each.
    fn new<'a>(outputs: impl Iterator<Item = &'a [f32]>) -> Self {
        let nothing = Lines([0.0; PANEL]);
        let mut made = Self { codes: [Lines([0; PANEL]); QUADS], scales: nothing, sums: nothing };
        for (lane, weights) in outputs.enumerate() {
            let largest = weights.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
            let inverse = 127.0 / largest;
            // Infinite for zeros and for subnormal numbers, which count as zeros.
            let inverse = if inverse.is_finite() { inverse } else { 0.0 };
            let scale = largest / 127.0;
            let mut sum = 0_i32;
            for (quads, weights) in made.codes.iter_mut().zip(weights.chunks(QUAD)) {
                let mut codes = [0_u8; QUAD];
                for (code, weight) in codes.iter_mut().zip(weights) {
                    let rounded = (weight * inverse).round_ties_even() as i8;
                    sum += i32::from(rounded);
                    *code = rounded.cast_unsigned();
                }
                quads.0[lane] = Quad::from_le_bytes(codes);
            }
            // What isn't finite stays so.
            made.scales.0[lane] = if weights.iter().all(|weight| weight.is_finite()) { scale } else { f32::NAN };
            made.sums.0[lane] = made.scales.0[lane] * sum as f32;
        }
        made
    }
}

/// What multiplies the codes of a group.
trait Products: Copy {
    type Floats: Simd;
    /// Sixteen sums.
    type Sums: Copy;

    /// Brings the codes of a group of weights, a line for each quad of inputs, into the order that they are read in.
    fn arrange(_codes: &mut [Lines<Quad>; QUADS]) {}

    /// What computes with the sums of groups.
    fn floats(self) -> Self::Floats;

    /// Each row's products with the weights of the first and the second half of the outputs, exact.
    fn products<const R: usize>(self, x: &[[Quad; QUADS]; R], weights: &[Lines<Quad>; QUADS]) -> [[Self::Sums; 2]; R];

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
    fn arrange(self, codes: &mut [Lines<Quad>; QUADS]) {
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

/// What a group of inputs of the next layer is made of: its panels' results for a row.
#[repr(align(64))]
struct Wide([f32; GROUP]);

/// Panels of a group of inputs of the next layer.
const WIDE: usize = GROUP / PANEL;

impl Block<'_> {
    /// With at most `MOST` rows at once.
    #[inline(always)]
    fn eval<P: Products, const MOST: usize>(self, isa: P) {
        let Self { through, layer, x, part: Part { rows, panels, y, width }, then } = self;
        let (simd, n_rows) = (isa.floats(), rows.len());
        let inputs = through.map_or(layer, |(before, _)| before).panels.inputs;
        let mut x = Codes::of(simd, &x[rows.start * inputs..rows.end * inputs], inputs);
        let mut sums = vec![Lines([0.0; PANEL]); n_rows * WIDE];
        let mut wide = Wide([0.0; GROUP]);
        if let Some((before, then)) = through {
            let outputs = before.panels.outputs;
            let mut inner = Codes::new(n_rows, outputs);
            for group in 0..outputs.div_ceil(GROUP) {
                let panels = group * WIDE..before.panels.bias.len().min((group + 1) * WIDE);
                let len = GROUP.min(outputs - group * GROUP);
                before.add_panels::<P, MOST>(isa, &x, panels, &mut sums);
                for row in 0..n_rows {
                    finish(simd, &sums, (row, n_rows), then, &mut wide.0[..len]);
                    inner.put(simd, (row, group), &wide.0[..len]);
                }
            }
            x = inner;
        }
        for (index, first) in panels.clone().step_by(WIDE).enumerate() {
            layer.add_panels::<P, MOST>(isa, &x, first..panels.end.min(first + WIDE), &mut sums);
            for (row, y) in y.chunks_exact_mut(width).enumerate() {
                let y = &mut y[index * GROUP..width.min((index + 1) * GROUP)];
                finish(simd, &sums, (row, n_rows), then, y);
            }
        }
    }
}

/// Puts `then` of a row's sums, `[panels, rows]`, into `y`.
#[inline(always)]
fn finish<S: Simd>(simd: S, sums: &[Sums], (row, rows): (usize, usize), then: Then, y: &mut [f32]) {
    for (y, sums) in y.chunks_mut(PANEL).zip(sums[row..].iter().step_by(rows)) {
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
    /// The sums of a few panels with their bias: `[panels, rows]`.
    #[inline(always)]
    fn add_panels<P: Products, const MOST: usize>(&self, isa: P, x: &Codes, panels: Range<usize>, sums: &mut [Sums]) {
        let n_groups = self.panels.inputs.div_ceil(GROUP);
        for (panel, sums) in panels.zip(sums.chunks_exact_mut(x.rows)) {
            for (group, weights) in self.panels.of(panel, n_groups).iter().enumerate() {
                let bias = (group == 0).then_some(&self.panels.bias[panel]);
                let mut row = 0;
                while row < x.rows {
                    let most = MOST.min(x.rows - row);
                    let rows = TILE_ROWS.into_iter().find(|rows| *rows <= most).unwrap_or(1);
                    let sums = &mut sums[row..row + rows];
                    match rows {
                        12 => add_group::<P, 12>(isa, weights, x, (row, group), bias, sums),
                        6 => add_group::<P, 6>(isa, weights, x, (row, group), bias, sums),
                        3 => add_group::<P, 3>(isa, weights, x, (row, group), bias, sums),
                        _ => add_group::<P, 1>(isa, weights, x, (row, group), bias, sums),
                    }
                    row += rows;
                }
            }
        }
    }
}

/// Adds the products of a group of inputs for `R` rows of `x`, from `row` on: all of one tile of the most rows. They are
/// added to the bias if there is one, else to what is there.
#[inline(always)]
fn add_group<P: Products, const R: usize>(
    isa: P,
    weights: &PanelGroup,
    x: &Codes,
    (row, group): (usize, usize),
    bias: Option<&Sums>,
    totals: &mut [Sums],
) {
    let simd = isa.floats();
    let ranges = &x.ranges[group * x.rows.div_ceil(TILE_ROWS[0]) + row / TILE_ROWS[0]];
    let (Some(rows), Some(steps), Some(lows), Some(totals)) = (
        x.quads[group * x.rows + row..].first_chunk::<R>(),
        ranges.steps[row % TILE_ROWS[0]..].first_chunk::<R>(),
        ranges.lows[row % TILE_ROWS[0]..].first_chunk::<R>(),
        totals.first_chunk_mut::<R>(),
    ) else {
        return;
    };
    let products = isa.products(rows, &weights.codes);
    if let Some(bias) = bias {
        totals.fill(*bias);
    }
    let halves = |of: &Lines<f32>| [simd.load(&of.0.as_chunks().0[0]), simd.load(&of.0.as_chunks().0[1])];
    let (scales, sums) = (halves(&weights.scales), halves(&weights.sums));
    for row in 0..R {
        let (step, low) = (simd.splat(steps[row]), simd.splat(lows[row]));
        for half in 0..2 {
            let total = &mut totals[row].0.as_chunks_mut::<LANES>().0[half];
            let product = simd.mul(isa.to_floats(products[row][half]), step);
            let sum = simd.fma(product, scales[half], simd.load(total));
            *total = simd.to_array(simd.fma(low, sums[half], sum));
        }
    }
}

impl<D: Dots> Products for D {
    type Floats = D::Floats;
    type Sums = D::Sums;

    #[inline(always)]
    fn floats(self) -> D::Floats {
        Dots::floats(self)
    }

    #[inline(always)]
    fn products<const R: usize>(self, x: &[[Quad; QUADS]; R], weights: &[Lines<Quad>; QUADS]) -> [[D::Sums; 2]; R] {
        let mut dots = [[self.zero(); 2]; R];
        for (quad, weights) in weights.iter().enumerate() {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
    }

    /// Rows, inputs, outputs: nothing divides a panel, a tile or a group.
    const SIZES: [[usize; 3]; 6] =
        [[1, 1, 1], [2, 7, 33], [13, 400, 70], [29, 387, 32], [101, 128, 100], [250, 40, 65]];

    #[test]
    fn products_are_near_and_the_same_on_every_instruction_set_and_row_by_row() {
        for [rows, inputs, outputs] in SIZES {
            let (weight, bias, x) = (numbers(outputs * inputs, 1), numbers(outputs, 2), numbers(rows * inputs, 3));
            let mut expected: Option<Vec<f32>> = None;
            for isa in Isa::all() {
                let layer = Int8Linear::with(isa, &weight, Some(&bias), inputs);
                let found = layer.forward(&x, Then::Nothing, Vec::new());
                for (row, y) in found.chunks(outputs).enumerate() {
                    for (output, found) in y.iter().enumerate() {
                        let terms = weight[output * inputs..][..inputs].iter().zip(&x[row * inputs..]);
                        let sum: f64 = terms.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                        let error = (f64::from(*found) - sum - f64::from(bias[output])).abs();
                        assert!(error <= 0.012 * (inputs as f64).sqrt(), "{rows} {inputs} {outputs}: {error}");
                    }
                }
                let alone: Vec<f32> =
                    x.chunks(inputs).flat_map(|x| layer.forward(x, Then::Nothing, Vec::new())).collect();
                assert_eq!(alone, found, "{isa:?} {rows} {inputs} {outputs}, row by row");
                assert_eq!(expected.get_or_insert_with(|| found.clone()), &found, "{isa:?} {rows} {inputs} {outputs}");
            }
        }
    }

    #[test]
    fn the_largest_codes_overflow_nowhere_and_whole_numbers_are_exact() {
        let (inputs, outputs) = (3 * GROUP, 34);
        for sign in [1.0, -1.0] {
            let weight = vec![127.0 * sign; outputs * inputs];
            // Codes are the numbers themselves, from 0 to 255.
            let x: Vec<f32> = (0..inputs).map(|i| if i % GROUP == 0 { 0.0 } else { 255.0 }).collect();
            for isa in Isa::all() {
                let y = Int8Linear::with(isa, &weight, None, inputs).forward(&x, Then::Nothing, Vec::new());
                let exact = 127.0 * sign * x.iter().sum::<f32>();
                assert!(y.iter().all(|y| (y - exact).abs() <= exact.abs() * 1e-6), "{isa:?}: {y:?}, expected {exact}");
            }
        }
    }

    #[test]
    fn an_input_that_is_far_off_costs_its_own_group_alone() {
        let (inputs, weight) = (2 * GROUP, numbers(2 * GROUP, 8));
        let mut x = numbers(inputs, 9);
        let calm = &x.clone()[GROUP..];
        x[5] = 1e4;
        let mut of_second = weight.clone();
        of_second[..GROUP].fill(0.0);
        let layer = Int8Linear::new(&of_second, None, inputs);
        let exact: f64 = calm.iter().zip(&weight[GROUP..]).map(|(x, w)| f64::from(*x) * f64::from(*w)).sum();
        let found = f64::from(layer.forward(&x, Then::Nothing, Vec::new())[0]);
        assert!((found - exact).abs() <= 0.1, "{found}, expected {exact}");
    }

    #[test]
    fn numbers_that_are_all_the_same_are_exact() {
        let (inputs, weight) = (130, numbers(130, 7));
        for same in [0.0, -3.5, 1e-40, 1e30] {
            let zeros = Int8Linear::new(&vec![1.0; inputs], None, inputs).forward(
                &vec![same; inputs],
                Then::Nothing,
                Vec::new(),
            );
            let exact = same * inputs as f32;
            assert!((zeros[0] - exact).abs() <= exact.abs() * 1e-6, "{same}: {zeros:?}");
            let layer = Int8Linear::new(&weight, None, inputs);
            assert!(layer.forward(&vec![same; inputs], Then::Nothing, Vec::new())[0].is_finite(), "{same}");
        }
    }

    #[test]
    fn what_is_not_finite_is_not_lost() {
        for isa in Isa::all() {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for place in [0, 33, 64] {
                    let (mut x, mut weight) = ([1.0; 65], [1.0; 65]);
                    x[place] = bad;
                    let y = Int8Linear::with(isa, &weight, None, 65).forward(&x, Then::Nothing, Vec::new());
                    assert!(!y[0].is_finite(), "{isa:?} {bad} at {place}");
                    weight[place] = bad;
                    let y = Int8Linear::with(isa, &weight, None, 65).forward(&[1.0; 65], Then::Nothing, Vec::new());
                    assert!(!y[0].is_finite(), "{isa:?} {bad} as weight {place}");
                }
            }
        }
    }

    #[test]
    fn layers_at_once_are_as_those_one_after_the_other() {
        // Neither a panel, nor a group of the second layer's inputs, nor a tile is whole.
        for [rows, inputs, between, outputs] in [[1, 5, 3, 2], [13, 130, 150, 33], [29, 128, 256, 64], [50, 40, 77, 70]]
        {
            let x = numbers(rows * inputs, 1);
            let mut expected: Option<Vec<f32>> = None;
            for isa in Isa::all() {
                let up = Int8Linear::with(isa, &numbers(between * inputs, 2), Some(&numbers(between, 3)), inputs);
                let down = Int8Linear::with(isa, &numbers(outputs * between, 4), Some(&numbers(outputs, 5)), between);
                let apart = down.forward(&up.forward(&x, Then::Gelu, Vec::new()), Then::Nothing, Vec::new());
                let mut found = vec![f32::NAN; rows * outputs];
                down.part_through(&up, Then::Gelu, &x, Part::whole(&mut found, outputs));
                assert_eq!(found, apart, "{isa:?} {rows} {inputs} {between} {outputs}");
                assert_eq!(expected.get_or_insert_with(|| apart.clone()), &apart, "{isa:?}");
            }
        }
    }

    #[test]
    fn gelu_is_as_exact_as_8_bits_need() {
        let exact = |mut x: Vec<f32>| {
            crate::ops::cpu::map::map(&mut x, Then::Gelu);
            x
        };
        let x: Vec<f32> = (-8000..=8000).map(|i| i as f32 * 1e-3).chain([-1e3, 1e3, 1e30]).collect();
        for (&x, exact) in x.iter().zip(exact(x.clone())) {
            let found = Scalar.to_array(apply(Scalar, [x; LANES], Then::Gelu))[0];
            assert!((found - exact).abs() <= 2e-4 + 2e-6 * x.abs(), "{x}: {found}, expected {exact}");
        }
        let not_finite = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        let of = |x: f32| apply(Scalar, [x; LANES], Then::Gelu)[0];
        assert!(not_finite.iter().all(|x| !of(*x).is_finite()), "{:?}", not_finite.map(of));
    }

    #[test]
    fn joined_layers_are_as_those_one_by_one() {
        let (inputs, x) = (150, numbers(3 * 150, 4));
        let layers = [64, 32, 20].map(|outputs| Int8Linear::new(&numbers(outputs * inputs, outputs), None, inputs));
        let joined = Int8Linear::joined(&layers.each_ref()).expect("whole panels but for the last");
        let y = joined.forward(&x, Then::Silu, Vec::new());
        let apart = layers.each_ref().map(|layer| layer.forward(&x, Then::Silu, Vec::new()));
        for (row, y) in y.chunks(116).enumerate() {
            let expected = apart.iter().zip([64, 32, 20]).flat_map(|(y, width)| &y[row * width..(row + 1) * width]);
            assert!(y.iter().eq(expected), "row {row}");
        }
        assert!(Int8Linear::joined(&[&layers[2], &layers[0]]).is_none());
    }
}
