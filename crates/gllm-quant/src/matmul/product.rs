//! Products of a batch with packed matrices, on all cores.

use std::ops::Range;

use rayon::prelude::*;

use super::tiles::{Tile, Tiles};
use super::{BLOCK, Format, PANEL, PackedMatrix, TILE_ROWS};
use crate::kernels::{Columns, Isa, Kernel};

/// Bytes of weights that are worth a task of their own.
const TASK_BYTES: usize = 64 * 1024;

/// Rows that are multiplied with a panel before the next panel's turn: their codes stay in the cache.
const CHUNK_BYTES: usize = 512 * 1024;

/// Weights that activations are multiplied with, and what is added to their outputs.
#[derive(Clone, Copy)]
pub(crate) struct Factor<'a> {
    pub(crate) matrix: &'a PackedMatrix,
    /// `[outputs]`.
    pub(crate) bias: Option<&'a [f32]>,
}

/// `x · Wᵀ + b` for each of `factors`, all of as many inputs, in one go: a decoder's step has work for a few
/// microseconds, which isn't worth waking the other threads for each matrix.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - returns `[rows, outputs of all factors]`, in the memory of `y`
pub(crate) fn multiply(isa: Isa, factors: &[Factor<'_>], x: &[f32], y: Vec<f32>) -> Vec<f32> {
    let Some(first) = factors.first() else { return Vec::new() };
    let (rows, quantized) = (x.len() / first.matrix.inputs(), quantized(isa, factors, x));
    let run = run(rows, factors.iter().map(|factor| factor.matrix.panels()).sum());
    let (mut runs, mut width) = (0, 0);
    // Each with its first run among those of all jobs, and its first column.
    let mut jobs = Vec::with_capacity(factors.len());
    for factor in factors {
        jobs.push((Job::new(isa, *factor, &quantized), runs, width));
        runs += factor.matrix.panels().div_ceil(run);
        width += factor.matrix.outputs();
    }
    made(rows, (y, width), jobs.iter().map(|(job, ..)| job), run, |places, chunk, index, columns| {
        let (job, first_run, first_column) = &jobs[jobs.partition_point(|(_, first, _)| *first <= index) - 1];
        job.write(places, chunk, job.run(index - first_run, run), *first_column, columns);
    })
}

/// `down(combine(gate(x), up(x)))`: what is between the two is quantised where it is made, and never written otherwise.
/// `combine` changes a run of the first factor's outputs by as many of the second's.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - returns `[rows, outputs of down]`, in the memory of `y`
pub(crate) fn multiply_through(
    isa: Isa,
    [gate, up, down]: [Factor<'_>; 3],
    x: &[f32],
    combine: &(dyn Fn(&mut [f32], &[f32]) + Sync),
    y: Vec<f32>,
) -> Vec<f32> {
    let (rows, width) = (x.len() / gate.matrix.inputs(), down.matrix.inputs());
    let format = down.matrix.kind().format();
    let quantized = quantized(isa, &[gate, up], x);
    let [gate, up] = [gate, up].map(|factor| Job::new(isa, factor, &quantized));
    let mut between = Tiles::unwritten(rows, width, &format);
    let tiles = between.shared();
    // A block takes two panels of each factor.
    let (blocks, panels) = (width / BLOCK, BLOCK / PANEL);
    let run = (run(rows, blocks * panels) / panels).max(1);
    let runs = (0..blocks.div_ceil(run)).into_par_iter().with_min_len(task(2 * panels * run * gate.panel_bytes()));
    for chunk in 0..gate.chunks() {
        let room =
            || ([places(rows, run * panels), places(rows, run * panels)], vec![[0.0; BLOCK]; rows.min(TILE_ROWS)]);
        runs.clone().for_each_init(room, |([of_gate, of_up], combined), index| {
            let blocks = index * run..blocks.min((index + 1) * run);
            for index in gate.chunk(chunk) {
                let range = blocks.start * panels..blocks.end * panels;
                let (rows, products) = gate.products(index, range.clone(), of_gate);
                let (_, others) = up.products(index, range, of_up);
                combine(products.as_flattened_mut(), others.as_flattened());
                for (block, products) in blocks.clone().zip(products.chunks_exact(panels * rows.len())) {
                    for (half, products) in products.chunks_exact(rows.len()).enumerate() {
                        for (combined, products) in combined.iter_mut().zip(products) {
                            combined[half * PANEL..][..PANEL].copy_from_slice(products);
                        }
                    }
                    #[expect(unsafe_code, reason = "threads write different blocks")]
                    // SAFETY: a block is given to one thread, which has one tile after the other.
                    let mut tile = unsafe { tiles.block(index, block) };
                    isa.quantize(combined[..rows.len()].as_flattened(), &format, &mut tile);
                }
            }
        });
    }
    let quantized = [(format, between)];
    let job = Job::new(isa, down, &quantized);
    let run = self::run(rows, down.matrix.panels());
    made(rows, (y, down.matrix.outputs()), [&job], run, |places, chunk, index, columns| {
        job.write(places, chunk, job.run(index, run), 0, columns);
    })
}

/// How many panels a thread takes at once, slab by slab, so that it finds the activations of a slab in its first cache:
/// the more, the fewer rows there are, but some for each thread.
fn run(rows: usize, panels: usize) -> usize {
    let fair = panels / (8 * rayon::current_num_threads());
    (PLACES / rows.max(1)).min(fair).max(1)
}

/// How many pieces of so many bytes are worth a task.
fn task(bytes: usize) -> usize {
    (TASK_BYTES / bytes).max(1)
}

/// Products of rows with panels that a thread computes before it writes them; a block takes two panels of any tile.
const PLACES: usize = 2 * TILE_ROWS;

/// Room for the products of a tile of so many rows at most with a run of panels.
fn places(rows: usize, run: usize) -> Vec<[f32; PANEL]> {
    vec![[0.0; PANEL]; rows.min(TILE_ROWS) * run]
}

/// `[rows, width]` in the memory of `y`, written by `write`, which gets each chunk of the jobs' rows and, for each, in
/// parallel, each run of the jobs' panels.
fn made<'a>(
    rows: usize,
    (mut y, width): (Vec<f32>, usize),
    jobs: impl IntoIterator<Item = &'a Job<'a>>,
    run: usize,
    write: impl Fn(&mut [[f32; PANEL]], usize, usize, &Columns<'_>) + Sync,
) -> Vec<f32> {
    if rows == 0 {
        return Vec::new();
    }
    let (mut chunks, mut runs, mut least) = (0, 0, usize::MAX);
    for job in jobs {
        chunks = chunks.max(job.chunks());
        runs += job.factor.matrix.panels().div_ceil(run);
        least = least.min(job.panel_bytes());
    }
    y.resize(rows * width, 0.0);
    let columns = Columns::new(&mut y, width);
    for chunk in 0..chunks {
        let runs = (0..runs).into_par_iter().with_min_len(task(run * least));
        runs.for_each_init(|| places(rows, run), |places, index| write(places, chunk, index, &columns));
    }
    y
}

/// `x` as the factors need it, once for those that need it alike.
fn quantized(isa: Isa, factors: &[Factor<'_>], x: &[f32]) -> Vec<(Format, Tiles)> {
    let mut quantized: Vec<(Format, Tiles)> = Vec::with_capacity(factors.len());
    for Factor { matrix, .. } in factors {
        let format = matrix.kind().format();
        if !quantized.iter().any(|(of, _)| of.quantizes_as(&format)) {
            quantized.push((format, Tiles::new(isa, x, matrix.inputs(), &format)));
        }
    }
    quantized
}

/// A factor, with the activations as it needs them.
struct Job<'a> {
    factor: Factor<'a>,
    tiles: Vec<Tile<'a>>,
    kernel: Kernel,
}

impl<'a> Job<'a> {
    fn new(isa: Isa, factor: Factor<'a>, quantized: &'a [(Format, Tiles)]) -> Self {
        let kind = factor.matrix.kind();
        let tiles = quantized.iter().find(|(of, _)| of.quantizes_as(&kind.format())).map(|(_, tiles)| tiles);
        Self { factor, tiles: tiles.into_iter().flat_map(Tiles::iter).collect(), kernel: isa.kernel(kind) }
    }

    /// Tiles of a chunk.
    fn chunk_len(&self) -> usize {
        (CHUNK_BYTES / self.factor.matrix.inputs() / TILE_ROWS).max(1)
    }

    fn chunks(&self) -> usize {
        self.tiles.len().div_ceil(self.chunk_len())
    }

    /// The tiles of a chunk, which may be none.
    fn chunk(&self, chunk: usize) -> Range<usize> {
        let end = |chunk: usize| self.tiles.len().min(chunk * self.chunk_len());
        end(chunk)..end(chunk + 1)
    }

    /// The panels of a run.
    fn run(&self, index: usize, run: usize) -> Range<usize> {
        index * run..self.factor.matrix.panels().min((index + 1) * run)
    }

    /// Bytes of a panel, in all slabs.
    fn panel_bytes(&self) -> usize {
        self.factor.matrix.bytes() / self.factor.matrix.panels()
    }

    /// The outputs of a panel.
    fn outputs(&self, panel: usize) -> Range<usize> {
        panel * PANEL..self.factor.matrix.outputs().min((panel + 1) * PANEL)
    }

    /// Writes the results of a chunk and some panels; `column` is the first panel's of all.
    fn write(&self, places: &mut [[f32; PANEL]], chunk: usize, panels: Range<usize>, column: usize, to: &Columns<'_>) {
        for index in self.chunk(chunk) {
            let (rows, products) = self.products(index, panels.clone(), places);
            for (panel, products) in panels.clone().zip(products.chunks_exact(rows.len())) {
                let outputs = self.outputs(panel);
                #[expect(unsafe_code, reason = "threads write different columns")]
                // SAFETY: a panel is given to one thread.
                unsafe {
                    to.write(rows.start, column + outputs.start, products, outputs.len());
                }
            }
        }
    }

    /// The rows of a tile, and the results of some panels for them, `[panels, rows]`.
    fn products<'p>(
        &self,
        tile: usize,
        panels: Range<usize>,
        places: &'p mut [[f32; PANEL]],
    ) -> (Range<usize>, &'p mut [[f32; PANEL]]) {
        let Factor { matrix, bias } = self.factor;
        let tile = &self.tiles[tile];
        let products = &mut places[..panels.len() * tile.rows];
        products.fill([0.0; PANEL]);
        for slab in 0..matrix.slabs() {
            let part = tile.part(matrix.slab(slab));
            for (panel, products) in panels.clone().zip(products.chunks_exact_mut(tile.rows)) {
                self.kernel.eval(matrix.panel(slab, panel), matrix.span_blocks(), &part, products);
            }
        }
        if let Some(bias) = bias {
            for (panel, products) in panels.zip(products.chunks_exact_mut(tile.rows)) {
                let bias = &bias[self.outputs(panel)];
                for sums in products {
                    sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += *bias);
                }
            }
        }
        (tile.first_row..tile.first_row + tile.rows, products)
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;
    use crate::matmul::{BLOCK, FormatKind, Mins, RowCodes};

    /// Numbers that look random, the same on every run.
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u32 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as u32
        }

        fn float(&mut self) -> f32 {
            self.next() as f32 / (1_u32 << 30) as f32 - 1.0
        }

        fn floats(&mut self, len: usize) -> Vec<f32> {
            (0..len).map(|_| self.float()).collect()
        }
    }

    fn random_row(kind: FormatKind, inputs: usize, span: usize, numbers: &mut Numbers) -> RowCodes {
        let format = kind.format();
        let subs = inputs / BLOCK * format.subs;
        let mut halves = |len| (0..len).map(|_| f16::from_f32(numbers.float())).collect();
        let (d, dmin) = (halves(inputs / span), halves(inputs / span));
        let mut bytes = |len| (0..len).map(|_| (numbers.next() % 256) as u8).collect::<Vec<_>>();
        let codes = bytes(inputs).into_iter().map(|code| code & (0xff >> (8 - format.bits))).collect();
        let largest = if format.mins == Mins::BesideScale { 15 } else { 0xff };
        let mut signed = |len| bytes(len).into_iter().map(|byte| (byte & largest).cast_signed()).collect();
        RowCodes { codes, d, dmin, scales: signed(subs), mins: signed(subs) }
    }

    /// The weights that the codes stand for, from the definition.
    fn weights(kind: FormatKind, row: &RowCodes, span: usize) -> Vec<f64> {
        let format = kind.format();
        let weight = |(input, code): (usize, &u8)| {
            let sub = input * format.subs / BLOCK;
            let scale = if format.has_sub_scales { f64::from(row.scales[sub]) } else { 1.0 };
            let min = match format.mins {
                Mins::None => 0.0,
                Mins::Span => row.dmin[input / span].to_f64(),
                Mins::Sub | Mins::BesideScale => row.dmin[input / span].to_f64() * f64::from(row.mins[sub]),
            };
            let value = f64::from(i32::from(format.value(*code)) - format.offset);
            row.d[input / span].to_f64() * scale * value - min
        };
        row.codes.iter().enumerate().map(weight).collect()
    }

    /// Outputs, inputs, span, rows: nothing divides a panel, a tile, a slab or a run of panels.
    const SIZES: [[usize; 4]; 9] = [
        [1, 32, 32, 1],
        [17, 64, 32, 2],
        [16, 512, 256, 15],
        [50, 768, 256, 7],
        [33, 96, 96, 9],
        [20, 2112, 32, 3],
        [9, 2400, 2400, 5],
        [300, 2304, 256, 1],
        [40, 2112, 32, TILE_ROWS + 6],
    ];

    #[test]
    fn every_instruction_set_agrees_with_scalar_bit_for_bit() {
        let mut numbers = Numbers(1);
        for &kind in FormatKind::ALL {
            for [outputs, inputs, span, n_rows] in SIZES {
                let rows: Vec<_> = (0..outputs).map(|_| random_row(kind, inputs, span, &mut numbers)).collect();
                let matrix = PackedMatrix::new(kind, [outputs, inputs], span, |row| rows[row].clone());
                let (x, bias) = (numbers.floats(n_rows * inputs), numbers.floats(outputs));
                let product = |isa, x: &[f32]| {
                    let y = multiply(isa, &[Factor { matrix: &matrix, bias: Some(&bias) }], x, vec![f32::NAN; 7]);
                    y.iter().map(|y| y.to_bits()).collect::<Vec<_>>()
                };
                let expected = product(Isa::Scalar, &x);
                for isa in Isa::all() {
                    assert_eq!(product(isa, &x), expected, "{isa:?} {kind:?} {outputs} × {inputs}, {n_rows} rows");
                    let alone: Vec<_> = x.chunks(inputs).flat_map(|x| product(isa, x)).collect();
                    assert_eq!(alone, expected, "{isa:?} {kind:?}, row by row");
                }
            }
        }
    }

    #[test]
    fn together_is_as_one_by_one() {
        let mut numbers = Numbers(4);
        let inputs = 4 * BLOCK;
        let matrices: Vec<_> = FormatKind::ALL
            .iter()
            .enumerate()
            .map(|(index, &kind)| {
                let outputs = 5 + 11 * index;
                let rows: Vec<_> = (0..outputs).map(|_| random_row(kind, inputs, BLOCK, &mut numbers)).collect();
                PackedMatrix::new(kind, [outputs, inputs], BLOCK, |row| rows[row].clone())
            })
            .collect();
        let biases: Vec<_> = matrices.iter().map(|matrix| numbers.floats(matrix.outputs())).collect();
        let factors: Vec<_> =
            matrices.iter().zip(&biases).map(|(matrix, bias)| Factor { matrix, bias: Some(bias) }).collect();
        for n_rows in [1, 3, 13] {
            let x = numbers.floats(n_rows * inputs);
            let product = |factors: &[Factor<'_>]| {
                let outputs: usize = factors.iter().map(|factor| factor.matrix.outputs()).sum();
                (multiply(Isa::detect(), factors, &x, Vec::new()), outputs)
            };
            let (together, width) = product(&factors);
            let mut first = 0;
            for factor in &factors {
                let (alone, outputs) = product(&[*factor]);
                let columns = together.chunks(width).flat_map(|row| &row[first..first + outputs]);
                assert!(columns.eq(alone.iter()), "{:?}, {n_rows} rows", factor.matrix.kind());
                first += outputs;
            }
        }
    }

    #[test]
    fn the_largest_codes_overflow_nowhere() {
        let (inputs, mut numbers) = (2 * BLOCK, Numbers(3));
        for &kind in FormatKind::ALL {
            for code in [0, 0xff >> (8 - kind.format().bits)] {
                let row = RowCodes { codes: vec![code; inputs], ..random_row(kind, inputs, BLOCK, &mut numbers) };
                let matrix = PackedMatrix::new(kind, [PANEL, inputs], BLOCK, |_| row.clone());
                for x in [1.0, -1.0] {
                    let product = |isa| {
                        let y = multiply(isa, &[Factor { matrix: &matrix, bias: None }], &vec![x; inputs], Vec::new());
                        y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                    };
                    for isa in Isa::all() {
                        assert_eq!(product(isa), product(Isa::Scalar), "{isa:?} {kind:?}, codes {code}, x {x}");
                    }
                }
            }
        }
    }

    #[test]
    fn products_are_those_of_the_weights() {
        let mut numbers = Numbers(2);
        for &kind in FormatKind::ALL {
            for [outputs, inputs, span, n_rows] in SIZES {
                let rows: Vec<_> = (0..outputs).map(|_| random_row(kind, inputs, span, &mut numbers)).collect();
                let matrix = PackedMatrix::new(kind, [outputs, inputs], span, |row| rows[row].clone());
                // Exact in 8 bits: whole numbers up to 127, one of which is in every block.
                let whole = |i: usize| if i.is_multiple_of(BLOCK) { 127.0 } else { (numbers.float() * 127.0).round() };
                let x: Vec<f32> = (0..n_rows * inputs).map(whole).collect();
                let y = multiply(Isa::detect(), &[Factor { matrix: &matrix, bias: None }], &x, Vec::new());
                for (x, y) in x.chunks(inputs).zip(y.chunks(outputs)) {
                    for (row, &found) in rows.iter().zip(y) {
                        let terms = weights(kind, row, span).into_iter().zip(x).map(|(w, x)| w * f64::from(*x));
                        let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                        let error = (f64::from(found) - sum).abs();
                        assert!(error <= 1e-5 * size, "{kind:?} {outputs} × {inputs}: {found}, expected {sum}");
                    }
                }
            }
        }
    }
}
