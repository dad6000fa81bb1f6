//! Passes over a whole vocabulary that a compiler turns into vector code: the first maximum, the k-th largest.

use gllm_core::InferenceError;

/// Values that are looked at together.
const BLOCK: usize = 512;

/// Block maxima are taken in this many lanes.
const LANES: usize = 16;

/// The largest of some logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Maximum {
    /// Place of the first that is this large.
    pub(super) id: u32,
    pub(super) value: f32,
}

/// The largest of `logits`, and the first place of it.
///
/// # Errors
/// [`InferenceError::Device`] if one of them is NaN or positive infinity, [`InferenceError::Constraint`] if all are
/// negative infinity.
pub(super) fn first_maximum(logits: &[f32]) -> Result<Maximum, InferenceError> {
    let (mut best, mut at, mut has_nan) = (f32::NEG_INFINITY, 0, false);
    for (place, block) in logits.chunks(BLOCK).enumerate() {
        let (largest, nan) = maximum(block);
        has_nan |= nan;
        if largest > best {
            (best, at) = (largest, place * BLOCK);
        }
    }
    if has_nan || best == f32::INFINITY {
        let id = logits.iter().position(|logit| logit.is_nan() || *logit == f32::INFINITY).unwrap_or_default();
        return Err(InferenceError::Device { reason: format!("the logit of token {id} is {}", logits[id]) });
    }
    if best == f32::NEG_INFINITY {
        return Err(InferenceError::Constraint { reason: "every token is ruled out".into() });
    }
    let within = logits[at..].iter().position(|logit| *logit >= best).unwrap_or_default();
    Ok(Maximum { id: (at + within) as u32, value: best })
}

/// The largest value, and whether there is a NaN.
fn maximum(block: &[f32]) -> (f32, bool) {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let mut nan = [false; LANES];
    let groups = block.chunks_exact(LANES);
    let rest = groups.remainder();
    for group in groups {
        for lane in 0..LANES {
            // `f32::max` minds NaN, which costs twice the time.
            largest[lane] = if group[lane] > largest[lane] { group[lane] } else { largest[lane] };
            nan[lane] |= group[lane].is_nan();
        }
    }
    for (lane, value) in rest.iter().enumerate() {
        largest[lane] = if *value > largest[lane] { *value } else { largest[lane] };
        nan[lane] |= value.is_nan();
    }
    (largest.into_iter().fold(f32::NEG_INFINITY, f32::max), nan.contains(&true))
}

/// The `k`-th largest of `values`, equal ones counted each; negative infinity if fewer are above that. No value is
/// NaN, and `k` is at least 1.
///
/// `kept` is room to work in, for about twice `k`.
pub(super) fn kth_largest(values: &[f32], k: usize, kept: &mut Vec<f32>) -> f32 {
    kept.clear();
    if k > values.len() {
        return f32::NEG_INFINITY;
    }
    let room = k.saturating_mul(2).max(2 * LANES);
    let mut floor = f32::NEG_INFINITY;
    // What isn't above the k-th largest so far can't change it.
    for block in values.chunks(4 * LANES) {
        if maximum(block).0 <= floor {
            continue;
        }
        kept.extend(block.iter().filter(|value| **value > floor));
        if kept.len() >= room {
            floor = *kept.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1;
            kept.truncate(k);
        }
    }
    if kept.len() < k {
        return f32::NEG_INFINITY;
    }
    *kept.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_of_equal_maxima() {
        let mut logits = vec![0.0; 3 * BLOCK + 7];
        for at in [1300, 1301, 900, 901, 3 * BLOCK + 6] {
            logits[at] = 4.0;
        }
        assert_eq!(first_maximum(&logits), Ok(Maximum { id: 900, value: 4.0 }));
        assert_eq!(first_maximum(&[-0.0, 0.0]).map(|maximum| maximum.id), Ok(0));
        assert_eq!(first_maximum(&[f32::NEG_INFINITY, f32::MIN]).map(|maximum| maximum.id), Ok(1));
    }

    #[test]
    fn no_numbers_are_refused_wherever_they_are() {
        for length in [1, 15, 16, 17, BLOCK, BLOCK + 1, 3 * BLOCK] {
            for at in [0, length / 2, length - 1] {
                for bad in [f32::NAN, -f32::NAN, f32::INFINITY] {
                    let mut logits = vec![1.0; length];
                    logits[at] = bad;
                    let error = first_maximum(&logits).expect_err("refused");
                    assert!(
                        matches!(&error, InferenceError::Device { reason } if reason.contains(&format!("token {at} ")))
                    );
                }
            }
        }
        for none in [vec![], vec![f32::NEG_INFINITY; 40]] {
            assert!(matches!(first_maximum(&none), Err(InferenceError::Constraint { .. })));
        }
    }

    proptest! {
        #[test]
        fn as_sorting_says(
            values in prop::collection::vec(prop_oneof![(-9i8..9).prop_map(f32::from), Just(f32::NEG_INFINITY)], 1..900),
            k in 1usize..1000,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            let expected = sorted.get(k - 1).copied().unwrap_or(f32::NEG_INFINITY);
            prop_assert_eq!(kth_largest(&values, k, &mut Vec::new()).total_cmp(&expected), Ordering::Equal);
            if sorted[0] > f32::NEG_INFINITY {
                let id = values.iter().position(|value| *value >= sorted[0]).expect("it is there") as u32;
                prop_assert_eq!(first_maximum(&values), Ok(Maximum { id, value: sorted[0] }));
            }
        }
    }
}
