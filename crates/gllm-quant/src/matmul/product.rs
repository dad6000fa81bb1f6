//! The product of a batch with a packed matrix, on all cores.

use rayon::prelude::*;

use super::tiles::{Tile, Tiles};
use super::{Format, PANEL, PackedMatrix, TILE_ROWS};
use crate::kernels::{Columns, Isa, Kernel};

/// Panels that are worth a task of their own.
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
/// - returns `[rows, outputs of all factors]`
pub(crate) fn multiply(isa: Isa, factors: &[Factor<'_>], x: &[f32]) -> Vec<f32> {
    let Some(Factor { matrix: first, .. }) = factors.first().filter(|_| !x.is_empty()) else { return Vec::new() };
    let inputs = first.inputs();
    let mut quantized: Vec<(Format, Tiles)> = Vec::with_capacity(factors.len());
    for factor in factors {
        let format = factor.matrix.kind().format();
        if !quantized.iter().any(|(of, _)| of.quantizes_as(&format)) {
            quantized.push((format, Tiles::new(isa, x, inputs, &format)));
        }
    }
    let mut panels = 0;
    let mut column = 0;
    let jobs = factors.iter().map(|factor| {
        let format = factor.matrix.kind().format();
        let tiles = quantized.iter().find(|(of, _)| of.quantizes_as(&format)).map(|(_, tiles)| tiles);
        let job = Job {
            factor: *factor,
            tiles: tiles
                .into_iter()
                .flat_map(Tiles::iter)
                .map(|tile| (tile, isa.kernel(factor.matrix.kind(), tile.rows)))
                .collect(),
            first_panel: panels,
            first_column: column,
        };
        panels += factor.matrix.panels();
        column += factor.matrix.outputs();
        job
    });
    let jobs: Vec<Job<'_>> = jobs.collect();
    let chunk = (CHUNK_BYTES / inputs / TILE_ROWS[0]).max(1);
    let n_chunks = jobs.iter().map(|job| job.tiles.len().div_ceil(chunk)).max().unwrap_or(0);
    let task = (TASK_BYTES / first.panel(0).len()).max(1);
    let len = x.len() / inputs * column;
    // Not zeros first: the outputs of a prompt are more than the caches hold.
    let mut y = Vec::with_capacity(len);
    let columns = Columns::new(&mut y.spare_capacity_mut()[..len], column);
    for index in 0..n_chunks {
        (0..panels).into_par_iter().with_min_len(task).for_each(|panel| {
            let job = &jobs[jobs.partition_point(|job| job.first_panel <= panel) - 1];
            job.multiply(job.tiles.chunks(chunk).nth(index).unwrap_or_default(), panel - job.first_panel, &columns);
        });
    }
    #[expect(unsafe_code, reason = "every place was written")]
    // SAFETY: the tiles of a job have all rows, and the panels of all jobs all columns; each job's chunks are all of its
    // tiles.
    unsafe {
        y.set_len(len);
    }
    y
}

/// A factor, with the activations as it needs them, and where its results go.
struct Job<'a> {
    factor: Factor<'a>,
    tiles: Vec<(Tile<'a>, Kernel)>,
    /// Its first panel among those of all jobs.
    first_panel: usize,
    first_column: usize,
}

impl Job<'_> {
    /// Multiplies some tiles with a panel.
    fn multiply(&self, tiles: &[(Tile<'_>, Kernel)], panel: usize, y: &Columns<'_>) {
        let Factor { matrix, bias } = self.factor;
        let (kind, parts, bytes) = (matrix.kind(), matrix.kind().format().parts, matrix.panel(panel));
        let outputs = panel * PANEL..matrix.outputs().min((panel + 1) * PANEL);
        let bias = bias.map(|bias| &bias[outputs.clone()]);
        for (tile, kernel) in tiles {
            let mut products = [[0.0; PANEL]; TILE_ROWS[0]];
            let products = &mut products[..tile.rows];
            kernel.eval(kind, bytes, matrix.span_blocks(), tile, products);
            for (row, products) in products.chunks_exact_mut(parts).enumerate() {
                let (sums, others) = products.split_at_mut(1);
                for other in others {
                    sums[0].iter_mut().zip(other).for_each(|(sum, product)| *sum += *product);
                }
                #[expect(unsafe_code, reason = "threads write different columns")]
                // SAFETY: a panel is given to one thread, which writes its rows one after the other.
                unsafe {
                    let row = tile.first_row / parts + row;
                    y.write(row, self.first_column + outputs.start, &sums[0], outputs.len(), bias);
                }
            }
        }
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
        let mut signed = |len| bytes(len).into_iter().map(u8::cast_signed).collect();
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
                Mins::Sub => row.dmin[input / span].to_f64() * f64::from(row.mins[sub]),
            };
            let value = f64::from(i32::from(format.value(*code)) - format.offset);
            row.d[input / span].to_f64() * scale * value - min
        };
        row.codes.iter().enumerate().map(weight).collect()
    }

    /// Outputs, inputs, span, rows: nothing divides a panel or a tile.
    const SIZES: [[usize; 4]; 5] =
        [[1, 32, 32, 1], [17, 64, 32, 2], [16, 512, 256, 15], [50, 768, 256, 7], [33, 96, 96, 9]];

    #[test]
    fn every_instruction_set_agrees_with_scalar_bit_for_bit() {
        let mut numbers = Numbers(1);
        for &kind in FormatKind::ALL {
            for [outputs, inputs, span, n_rows] in SIZES {
                let rows: Vec<_> = (0..outputs).map(|_| random_row(kind, inputs, span, &mut numbers)).collect();
                let matrix = PackedMatrix::new(kind, [outputs, inputs], span, |row| rows[row].clone());
                let (x, bias) = (numbers.floats(n_rows * inputs), numbers.floats(outputs));
                let product = |isa, x: &[f32]| {
                    let y = multiply(isa, &[Factor { matrix: &matrix, bias: Some(&bias) }], x);
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
                (multiply(Isa::detect(), factors, &x), outputs)
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
                        let y = multiply(isa, &[Factor { matrix: &matrix, bias: None }], &vec![x; inputs]);
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
                let y = multiply(Isa::detect(), &[Factor { matrix: &matrix, bias: None }], &x);
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
