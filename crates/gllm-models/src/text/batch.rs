//! Batches under a token budget.

use gllm_core::Result;

/// Groups sequences into batches: longest first, so that neighbours are of like length, each batch of at
/// most `budget` tokens. A sequence above the budget has a batch to itself.
///
/// Returns places in `lengths`, each exactly once; equal lengths keep their order.
///
/// ```
/// use gllm_models::text::plan_batches;
/// assert_eq!(plan_batches(&[2, 9, 4, 4], 8), [vec![1], vec![2, 3], vec![0]]);
/// ```
#[must_use]
pub fn plan_batches(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(lengths[place]));

    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut tokens = 0;
    for place in order {
        match batches.last_mut() {
            Some(batch) if tokens + lengths[place] <= budget => {
                batch.push(place);
                tokens += lengths[place];
            }
            _ => {
                batches.push(vec![place]);
                tokens = lengths[place];
            }
        }
    }
    batches
}

/// What `forward` gives for each sequence, in the order of `lengths`; it is given the places of a batch at a time, as
/// [`plan_batches`] plans them, and returns something for each of them.
pub(crate) fn in_batches<T>(
    lengths: &[usize],
    budget: usize,
    mut forward: impl FnMut(&[usize]) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let mut found = Vec::with_capacity(lengths.len());
    for places in plan_batches(lengths, budget) {
        let parts = forward(&places)?;
        found.extend(places.into_iter().zip(parts));
    }
    found.sort_unstable_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, part)| part).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::plan_batches;

    proptest! {
        #[test]
        fn every_sequence_once_within_the_budget(
            lengths in prop::collection::vec(1usize..600, 0..200),
            budget in 1usize..5000,
        ) {
            let batches = plan_batches(&lengths, budget);
            let mut seen: Vec<usize> = batches.concat();
            for batch in &batches {
                let tokens: usize = batch.iter().map(|&place| lengths[place]).sum();
                prop_assert!(batch.len() == 1 || tokens <= budget);
            }
            let sorted = seen.windows(2).all(|pair| lengths[pair[0]] >= lengths[pair[1]]);
            prop_assert!(sorted);
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        }
    }
}
