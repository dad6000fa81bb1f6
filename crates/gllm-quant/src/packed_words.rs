//! Codes that are packed into 32-bit words, and matrices turned so that a row is an output.
//!
//! A word has 8 codes of 4 bits or 4 of 8, and the last word of a row may be part empty. What differs between formats is
//! which way a word runs, and the order within it.

use rayon::prelude::*;

/// Side of the squares that [`transpose`] turns: one of bytes and one of words, there and back, fit a first cache.
const TILE: usize = 64;

/// Where the codes of a word start, the first code first: from the lowest bits up.
pub(crate) fn ascending(bits: u32) -> Vec<u32> {
    (0..32 / bits).map(|code| code * bits).collect()
}

/// The codes of `words`, whose rows of `columns` codes start at a word each; code `n` of a word starts at bit
/// `shifts[n]`.
pub(crate) fn unpack_rows(words: &[u32], columns: usize, shifts: &[u32]) -> Vec<u8> {
    let row_words = columns.div_ceil(shifts.len());
    let mask = u32::MAX >> (32 - 32 / shifts.len());
    let mut codes = vec![0; words.len() / row_words * columns];
    codes.par_chunks_exact_mut(columns).zip(words.par_chunks_exact(row_words)).for_each(|(codes, words)| {
        for (codes, word) in codes.chunks_mut(shifts.len()).zip(words) {
            for (code, shift) in codes.iter_mut().zip(shifts) {
                *code = ((word >> shift) & mask) as u8;
            }
        }
    });
    codes
}

/// `[columns, rows]`, of `[rows, columns]`, which isn't empty.
pub(crate) fn transpose<T: Copy + Default + Send + Sync>(values: &[T], columns: usize) -> Vec<T> {
    let rows = values.len() / columns;
    let mut turned = vec![T::default(); values.len()];
    turned.par_chunks_mut(rows * TILE).enumerate().for_each(|(band, turned)| {
        let first = band * TILE;
        for start in (0..rows).step_by(TILE) {
            for (column, turned) in turned.chunks_exact_mut(rows).enumerate() {
                let end = rows.min(start + TILE);
                for (row, value) in turned[start..end].iter_mut().enumerate() {
                    *value = values[(start + row) * columns + first + column];
                }
            }
        }
    });
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_bits_come_first_and_a_row_starts_at_a_word() {
        assert_eq!(
            unpack_rows(&[0x7654_3210, 0xa, 0xfedc_ba98, 0xb], 9, &ascending(4)),
            [0, 1, 2, 3, 4, 5, 6, 7, 10, 8, 9, 10, 11, 12, 13, 14, 15, 11]
        );
        assert_eq!(unpack_rows(&[0xff80_0100], 4, &ascending(8)), [0, 1, 128, 255]);
    }

    #[test]
    fn every_element_is_turned() {
        for (rows, columns) in [(1, 1), (1, 100), (100, 1), (64, 64), (65, 63), (130, 200)] {
            let values: Vec<u32> = (0..rows * columns).collect();
            let turned = transpose(&values, columns as usize);
            for row in 0..rows {
                for column in 0..columns {
                    assert_eq!(turned[(column * rows + row) as usize], values[(row * columns + column) as usize]);
                }
            }
        }
    }
}
