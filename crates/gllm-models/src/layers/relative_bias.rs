//! A learned bias on attention scores for each bucket of distances.
//!
//! Source: `relative_position_bucket` of T5 (<https://arxiv.org/abs/1910.10683>), as MPNet has it.

use gllm_core::Result;

use crate::Weights;
use crate::ops::ScoreBias;

/// Half of them for keys on either side. Fixed in MPNet's code, whatever `relative_attention_num_buckets` says.
const BUCKETS: usize = 32;

/// Distances from here on share a bucket.
const MAX_DISTANCE: usize = 128;

/// `[BUCKETS, n_heads]`, on the host.
#[derive(Debug)]
pub(crate) struct RelativeBias {
    table: Vec<f32>,
    n_heads: usize,
}

impl RelativeBias {
    /// Reads `weight`.
    pub(crate) fn load(weights: &Weights<'_>, n_heads: usize) -> Result<Self> {
        let rows = weights.table("weight", BUCKETS, n_heads)?;
        let mut table = vec![0.0; BUCKETS * n_heads];
        for (bucket, row) in table.chunks_exact_mut(n_heads).enumerate() {
            rows.add_row(bucket, row);
        }
        Ok(Self { table, n_heads })
    }

    /// The bias for sequences of at most `max_len` tokens.
    pub(crate) fn forward(&self, max_len: usize) -> ScoreBias {
        ScoreBias::new(self.n_heads, max_len, |head, offset| self.table[bucket(offset) * self.n_heads + head])
    }
}

/// Of the buckets for a side, half are for one distance each, the others for ranges that grow geometrically.
fn bucket(offset: isize) -> usize {
    let half = BUCKETS / 2;
    let exact = half / 2;
    let side = if offset > 0 { half } else { 0 };
    let distance = offset.unsigned_abs();
    if distance < exact {
        return side + distance;
    }
    // In f32, as the reference computes it: a logarithm near a border must fall on the same side.
    let range = (MAX_DISTANCE as f64 / exact as f64).ln() as f32;
    let share = (distance as f32 / exact as f32).ln() / range;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to a few dozen")]
    let step = (share * (half - exact) as f32) as usize;
    side + (exact + step).min(half - 1)
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn near_keys_have_a_bucket_each_and_far_ones_share() {
        assert_eq!([0, 1, 7].map(|distance| bucket(-distance)), [0, 1, 7]);
        assert_eq!([1, 7].map(bucket), [17, 23]);
        // 8 · 16^(step / 8): the borders are at 8, 11.3, 16, …, 90.5.
        assert_eq!([8, 11, 12, 15, 90, 91, 500].map(|distance| bucket(-distance)), [8, 8, 9, 9, 14, 15, 15]);
    }
}
