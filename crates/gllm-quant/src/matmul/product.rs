//! The product of a batch with a packed matrix, on all cores.

use rayon::prelude::*;

use super::tiles::{Tile, Tiles};
use super::{PANEL, PackedMatrix, TILE_ROWS};
use crate::kernels::{Columns, Isa, Kernel};

/// Panels that are worth a task of their own.
const TASK_BYTES: usize = 64 * 1024;

/// Rows that are multiplied with a panel before the next panel's turn: their codes stay in the cache.
const CHUNK_BYTES: usize = 512 * 1024;

/// `x · Wᵀ + b`.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - `bias`: `[outputs]`
/// - `y`: `[rows, outputs]`, overwritten
pub(crate) fn multiply(isa: Isa, matrix: &PackedMatrix, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
    if x.is_empty() {
        return;
    }
    let parts = matrix.kind().format().parts;
    let tiles = Tiles::new(isa, x, inputs, &matrix.kind().format());
    let tiles: Vec<Tile<'_>> = tiles.iter().collect();
    let chunk = (CHUNK_BYTES / inputs / TILE_ROWS[0]).max(1);
    let task = (TASK_BYTES / matrix.panel(0).len()).max(1);
    let y = Columns::new(y, outputs);
    for tiles in tiles.chunks(chunk) {
        let kernels: Vec<Kernel> = tiles.iter().map(|tile| isa.kernel(matrix.kind(), tile.rows)).collect();
        (0..matrix.panels()).into_par_iter().with_min_len(task).for_each(|panel| {
            let bytes = matrix.panel(panel);
            for (tile, kernel) in tiles.iter().zip(&kernels) {
                let mut products = [[0.0; PANEL]; TILE_ROWS[0]];
                let products = &mut products[..tile.rows];
                kernel.eval(matrix.kind(), bytes, matrix.span_blocks(), tile, products);
                for (row, products) in products.chunks_exact_mut(parts).enumerate() {
                    let (sums, others) = products.split_at_mut(1);
                    for other in others {
                        sums[0].iter_mut().zip(other).for_each(|(sum, product)| *sum += *product);
                    }
                    #[expect(unsafe_code, reason = "threads write different columns")]
                    // SAFETY: a panel is given to one thread, which writes its rows one after the other.
                    unsafe {
                        y.write(tile.first_row / parts + row, panel, &sums[0], bias);
                    }
                }
            }
        });
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
                    let mut y = vec![f32::NAN; x.len() / inputs * outputs];
                    multiply(isa, &matrix, x, Some(&bias), &mut y);
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
    fn the_largest_codes_overflow_nowhere() {
        let (inputs, mut numbers) = (2 * BLOCK, Numbers(3));
        for &kind in FormatKind::ALL {
            for code in [0, 0xff >> (8 - kind.format().bits)] {
                let row = RowCodes { codes: vec![code; inputs], ..random_row(kind, inputs, BLOCK, &mut numbers) };
                let matrix = PackedMatrix::new(kind, [PANEL, inputs], BLOCK, |_| row.clone());
                for x in [1.0, -1.0] {
                    let product = |isa| {
                        let mut y = [f32::NAN; PANEL];
                        multiply(isa, &matrix, &vec![x; inputs], None, &mut y);
                        y.map(f32::to_bits)
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
                let mut y = vec![0.0; n_rows * outputs];
                multiply(Isa::detect(), &matrix, &x, None, &mut y);
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
