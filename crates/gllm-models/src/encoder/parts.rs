//! Which sequences of a batch a thread takes through the whole encoder by itself.
//!
//! What lies between two layers then stays in the thread's own cache, and threads wait for each other at the end alone.
//! Where there is too little for all of them, the batch is one part, whose layers they share. Results are the same.

use std::ops::Range;

/// Tokens of a part: fewer would read weights more often, more would leave the cache.
const TOKENS: usize = 256;

/// The sequences of each part, all of them in order; `None` if there is one.
pub(super) fn parts(lengths: &[usize], threads: usize) -> Option<Vec<Range<usize>>> {
    let total: usize = lengths.iter().sum();
    if total < threads * TOKENS || lengths.len() < threads.max(2) {
        return None;
    }
    let mut parts = Vec::new();
    let (mut first, mut tokens) = (0, 0);
    for (place, &len) in lengths.iter().enumerate() {
        if tokens > 0 && tokens + len > TOKENS {
            parts.push(first..place);
            (first, tokens) = (place, 0);
        }
        tokens += len;
    }
    parts.push(first..lengths.len());
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sequence_is_in_one_part() {
        assert_eq!(parts(&[100, 150, 10, 300, 5], 2), Some(vec![0..2, 2..3, 3..4, 4..5]));
        assert_eq!(parts(&[10, 20], 2), None);
        assert_eq!(parts(&[1000], 2), None);
    }
}
