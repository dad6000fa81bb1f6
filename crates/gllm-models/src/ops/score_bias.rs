//! What is added to attention's scores for each head, by how far the key is from the query.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, TensorData};

#[cfg(feature = "cpu")]
use super::cpu::share::PANEL;

/// What a row has beyond its offsets, so that whole panels of keys can be read from each of them.
#[cfg(feature = "cpu")]
const SPARE: usize = PANEL;
#[cfg(not(feature = "cpu"))]
const SPARE: usize = 0;

/// A bias for each head and each offset of the key from the query.
#[derive(Debug)]
pub(crate) struct ScoreBias {
    /// `[n_heads, 2 · max_len - 1 + SPARE]`: the offset `1 - max_len` first, zeros last.
    values: Vec<f32>,
    n_heads: usize,
    /// Tokens of the longest sequence.
    max_len: usize,
}

impl ScoreBias {
    /// For sequences of at most `max_len` tokens: `of(head, offset)`, where a key is `offset` places behind the query.
    pub(crate) fn new(n_heads: usize, max_len: usize, of: impl Fn(usize, isize) -> f32) -> Self {
        let furthest = max_len.saturating_sub(1) as isize;
        let mut values = Vec::with_capacity(n_heads * (2 * max_len + SPARE));
        for head in 0..n_heads {
            values.extend((-furthest..=furthest).map(|offset| of(head, offset)));
            values.extend([0.0; SPARE]);
        }
        Self { values, n_heads, max_len }
    }

    /// Linear in the distance. Source: <https://arxiv.org/abs/2108.12409>, symmetric.
    pub(crate) fn alibi(n_heads: usize, max_len: usize) -> Self {
        let slopes = alibi_slopes(n_heads);
        Self::new(n_heads, max_len, |head, offset| -(offset.unsigned_abs() as f32) * slopes[head])
    }

    fn width(&self) -> usize {
        self.values.len() / self.n_heads
    }

    /// What a head adds to the scores of the queries from `first` on.
    #[cfg(feature = "cpu")]
    pub(crate) fn of_head(&self, head: usize, first: usize) -> HeadBias<'_> {
        HeadBias::new(&self.values[head * self.width()..(head + 1) * self.width()], self.max_len - 1 - first)
    }

    /// The same on a device, `[n_heads, offsets]`.
    pub(crate) fn upload(&self, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(self.values.clone(), [self.n_heads, self.width()]), device)
    }

    /// Where the bias of each query and key of a sequence is in a row: `[len · len]`.
    pub(crate) fn places(&self, len: usize, device: &Device) -> Tensor<1, Int> {
        let place = |query: usize, key: usize| (self.max_len - 1 + key - query) as i32;
        let places: Vec<i32> = (0..len).flat_map(|query| (0..len).map(move |key| place(query, key))).collect();
        Tensor::from_data(TensorData::new(places, [len * len]), device)
    }
}

/// What a head adds to the scores of some queries, one behind the other.
#[cfg(feature = "cpu")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadBias<'a> {
    by_offset: &'a [f32],
    /// Where in it the first query has its key 0; each later query has it one place before.
    start: usize,
}

#[cfg(feature = "cpu")]
impl<'a> HeadBias<'a> {
    pub(crate) fn new(by_offset: &'a [f32], start: usize) -> Self {
        Self { by_offset, start }
    }

    /// What is added for the `query`th of them, from this key on; nothing for one that only fills up a tile.
    pub(crate) fn of(self, query: usize, key: usize) -> &'a [f32] {
        self.by_offset.get(self.start.saturating_sub(query) + key..).unwrap_or_default()
    }
}

/// What `heads` add to the scores of a sequence, of [`ScoreBias::upload`] and [`ScoreBias::places`]: `[1, heads, len, len]`.
pub(crate) fn gather(uploaded: &Tensor<2>, places: &Tensor<1, Int>, heads: Range<usize>, len: usize) -> Tensor<4> {
    let [_, width] = uploaded.dims();
    let n_heads = heads.len();
    uploaded.clone().slice([heads, 0..width]).select(1, places.clone()).reshape([1, n_heads, len, len])
}

/// A geometric sequence for a power of two; for other numbers, that of the next smaller one, and then every other
/// term of the next larger one's.
fn alibi_slopes(n_heads: usize) -> Vec<f32> {
    let geometric = |n: usize| (1..=n).map(move |i| (-8.0 * i as f64 / n as f64).exp2() as f32);
    let power = if n_heads.is_power_of_two() { n_heads } else { n_heads.next_power_of_two() / 2 };
    geometric(power).chain(geometric(2 * power).step_by(2)).take(n_heads).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_of_heads_that_are_no_power_of_two() {
        assert_eq!(alibi_slopes(4), [0.25, 0.0625, 0.015_625, 0.003_906_25]);
        // Those of 2 heads, then the first of 4 heads' odd terms.
        assert_eq!(alibi_slopes(3), [0.0625, 0.003_906_25, 0.25]);
    }
}
