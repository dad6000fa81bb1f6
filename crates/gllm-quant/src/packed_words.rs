//! Codes that are packed into 32-bit words, and matrices turned so that a row is an output.
//!
//! A word has 8 codes of 4 bits or 4 of 8, and the last word of a row may be part empty. What differs between formats is
//! which way a word runs, and the order within it.

use rayon::prelude::*;

/// Side of the squares that [`transpose`] turns: one of words fits a first cache.
const TILE: usize = 64;

/// The codes of `words`, of 4 or 8 bits, whose rows of `columns` codes start at a word each; the first code of a word
/// is in its lowest bits.
pub(crate) fn unpack_rows(words: &[u32], columns: usize, bits: u32) -> Vec<u8> {
    match bits {
        4 => unpack_rows_from(words, columns, [0, 4, 8, 12, 16, 20, 24, 28]),
        _ => unpack_rows_from(words, columns, [0, 8, 16, 24]),
    }
}

/// As [`unpack_rows`], with the bits that the codes of a word start at.
pub(crate) fn unpack_rows_from<const CODES: usize>(words: &[u32], columns: usize, starts: [u32; CODES]) -> Vec<u8> {
    let row_words = columns.div_ceil(CODES);
    let mask = u32::MAX >> (32 - 32 / CODES);
    let mut codes = vec![0; words.len() / row_words * columns];
    codes.par_chunks_exact_mut(columns).zip(words.par_chunks_exact(row_words)).for_each(|(codes, words)| {
        let of_word = |word: u32| starts.map(|start| ((word >> start) & mask) as u8);
        let (whole, rest) = codes.as_chunks_mut::<CODES>();
        whole.iter_mut().zip(words).for_each(|(codes, word)| *codes = of_word(*word));
        if let Some(last) = words.get(whole.len()) {
            rest.copy_from_slice(&of_word(*last)[..rest.len()]);
        }
    });
    codes
}

/// `[columns, rows]`, of `[rows, columns]`, which isn't empty.
pub(crate) fn transpose<T: Copy + Default + Send + Sync>(values: &[T], columns: usize) -> Vec<T> {
    let rows = values.len() / columns;
    let mut turned = vec![T::default(); values.len()];
    turned.par_chunks_mut(rows * TILE).enumerate().for_each(|(band, turned)| {
        let (first, width) = (band * TILE, turned.len() / rows);
        // Rows are often a power of two apart, and a cache has few places for such: read each once.
        let mut tile = [[T::default(); TILE]; TILE];
        for start in (0..rows).step_by(TILE) {
            let tile = &mut tile[..TILE.min(rows - start)];
            for (tile, values) in tile.iter_mut().zip(values.chunks_exact(columns).skip(start)) {
                tile[..width].copy_from_slice(&values[first..first + width]);
            }
            for (column, turned) in turned.chunks_exact_mut(rows).enumerate() {
                turned[start..].iter_mut().zip(&*tile).for_each(|(value, tile)| *value = tile[column]);
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
            unpack_rows(&[0x7654_3210, 0xa, 0xfedc_ba98, 0xb], 9, 4),
            [0, 1, 2, 3, 4, 5, 6, 7, 10, 8, 9, 10, 11, 12, 13, 14, 15, 11]
        );
        assert_eq!(unpack_rows(&[0xff80_0100], 4, 8), [0, 1, 128, 255]);
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
