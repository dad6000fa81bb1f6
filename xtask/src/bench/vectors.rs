//! How vectors of two programs for the same texts agree.

use std::path::Path;

use super::report::Agreement;
use crate::Result;

/// Neighbours of a text that count.
const NEIGHBOURS: usize = 10;

/// The little-endian floats of a file.
pub(crate) fn read(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

/// Vectors of a program, one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Vectors<'a> {
    pub(crate) program: &'a str,
    pub(crate) numbers: &'a [f32],
}

/// The cosine of the vectors of two programs for `n` texts, and how many of each text's nearest neighbours are the same
/// ones at the same place.
pub(crate) fn agreement(one: Vectors<'_>, other: Vectors<'_>, n: usize) -> Result<Vec<Agreement>> {
    let len = one.numbers.len();
    if n == 0 || len != other.numbers.len() || !len.is_multiple_of(n) {
        let given = |vectors: Vectors<'_>| format!("{} numbers of {}", vectors.numbers.len(), vectors.program);
        return Err(format!("{n} texts don't give {} and {}", given(one), given(other)).into());
    }
    let (a, b) = (normalised(one.numbers, n), normalised(other.numbers, n));
    let cosines: Vec<f64> = a.iter().zip(&b).map(|(a, b)| f64::from(dot(a, b))).collect();
    let mut found = vec![
        ("cosine, mean", cosines.iter().sum::<f64>() / n as f64),
        ("cosine, worst", cosines.iter().copied().fold(f64::INFINITY, f64::min)),
    ];
    if n > NEIGHBOURS {
        found.push(("10 nearest neighbours, share of places", same_places(&a, &b)));
    }
    let named = |(measure, value): (&str, f64)| Agreement {
        program: one.program.into(),
        with: other.program.into(),
        measure: measure.into(),
        value,
    };
    Ok(found.into_iter().map(named).collect())
}

fn normalised(vectors: &[f32], n: usize) -> Vec<Vec<f32>> {
    let rows = vectors.chunks_exact(vectors.len() / n);
    rows.map(|row| {
        let length = row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        row.iter().map(|x| (f64::from(*x) / length) as f32).collect()
    })
    .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    // Sums side by side: many texts are compared with many.
    let ((a, last_a), (b, last_b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let sums = a.iter().zip(b).fold([0.0_f32; 16], |sums, (a, b)| std::array::from_fn(|i| sums[i] + a[i] * b[i]));
    sums.iter().sum::<f32>() + last_a.iter().zip(last_b).map(|(a, b)| a * b).sum::<f32>()
}

fn same_places(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let same = |text: usize| {
        let places = nearest(a, text).into_iter().zip(nearest(b, text));
        places.filter(|(a, b)| a == b).count()
    };
    (0..a.len()).map(same).sum::<usize>() as f64 / (a.len() * NEIGHBOURS) as f64
}

/// The texts that are nearest to `text`, the nearest first.
fn nearest(vectors: &[Vec<f32>], text: usize) -> Vec<usize> {
    let others = (0..vectors.len()).filter(|other| *other != text);
    let mut scored: Vec<(f32, usize)> = others.map(|other| (dot(&vectors[text], &vectors[other]), other)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(NEIGHBOURS).map(|(_, other)| other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts on a circle, each nearest to the ones beside it.
    fn circle(n: usize) -> Vec<f32> {
        (0..n).flat_map(|i| [(0.1 * i as f32).cos(), (0.1 * i as f32).sin()]).collect()
    }

    fn agree(a: &[f32], b: &[f32], n: usize) -> Result<Vec<Agreement>> {
        agreement(Vectors { program: "P", numbers: a }, Vectors { program: "Q", numbers: b }, n)
    }

    fn values(found: &[Agreement]) -> Vec<f64> {
        found.iter().map(|one| (one.value * 1e6).round() / 1e6).collect()
    }

    #[test]
    fn the_same_directions_agree_whatever_their_length() {
        let (a, n) = (circle(12), 12);
        let longer: Vec<f32> = a.iter().map(|x| 3.0 * x).collect();
        assert_eq!(values(&agree(&a, &longer, n).expect("vectors")), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_vector_that_is_off_is_seen() {
        let (a, n) = (circle(12), 12);
        let mut b = a.clone();
        // The last text is where the first one is.
        b[22..].copy_from_slice(&a[..2]);
        let found = values(&agree(&a, &b, n).expect("vectors"));
        assert!((found[1] - f64::from(1.1_f32.cos())).abs() < 1e-5, "{found:?}");
        assert!((found[0] - (11.0 + f64::from(1.1_f32.cos())) / 12.0).abs() < 1e-5, "{found:?}");
        assert!(found[2] < 0.9, "{found:?}");
    }

    #[test]
    fn other_numbers_of_vectors_are_an_error() {
        assert!(agree(&circle(3), &circle(4), 3).is_err());
        assert_eq!(agree(&circle(3), &circle(3), 3).expect("vectors").len(), 2);
    }
}
