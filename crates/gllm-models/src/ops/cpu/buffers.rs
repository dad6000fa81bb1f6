//! Memory of activations that are done with, for those that come.
//!
//! Each block of a network makes activations of the same sizes again. The system would take their pages back and clear
//! them every time, which costs more than reading them.

use std::cell::RefCell;

/// Most buffers that are kept: more than a block has at once.
const MOST: usize = 8;

/// Elements of the largest buffer that outlives its computation: those of short texts, and of a thread's part of many.
const LASTING: usize = 1 << 18;

/// How many times larger memory may be than what is asked for: used as less, it would have to be cleared before it is used
/// as more again.
const MOST_LARGER: usize = 2;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { depth: 0, buffers: Vec::new() }) };
}

/// What a thread keeps.
struct Spare {
    /// Computations under way, one in the other.
    depth: usize,
    buffers: Vec<Vec<f32>>,
}

/// Runs a computation whose activations take each other's memory; only a little is kept for the thread's next one.
pub(crate) fn reused<T>(work: impl FnOnce() -> T) -> T {
    struct Depth;
    impl Drop for Depth {
        fn drop(&mut self) {
            SPARE.with_borrow_mut(|spare| {
                spare.depth -= 1;
                if spare.depth == 0 {
                    spare.buffers.retain(|buffer| buffer.capacity() <= LASTING);
                }
            });
        }
    }
    SPARE.with_borrow_mut(|spare| spare.depth += 1);
    let _depth = Depth;
    work()
}

/// Memory for `len` elements if there is some, with any elements in it.
pub(super) fn take(len: usize) -> Vec<f32> {
    SPARE.with_borrow_mut(|spare| {
        let fits = |buffer: &Vec<f32>| (len..=MOST_LARGER * len).contains(&buffer.capacity());
        let fitting = spare.buffers.iter().enumerate().filter(|(_, buffer)| fits(buffer));
        let best = fitting.min_by_key(|(_, buffer)| buffer.capacity()).map(|(index, _)| index);
        best.map(|index| spare.buffers.swap_remove(index)).unwrap_or_default()
    })
}

/// Keeps memory for a later [`take`].
pub(super) fn give(buffer: Vec<f32>) {
    SPARE.with_borrow_mut(|spare| {
        if spare.depth > 0 && spare.buffers.len() < MOST {
            spare.buffers.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_that_fits_is_taken_and_nothing_large_outlives_the_computation() {
        let of = |len: usize| vec![1.0; len];
        reused(|| {
            for len in [30, 10, 20] {
                give(of(len));
            }
            assert_eq!(take(11).capacity(), 20);
            assert_eq!(take(31).capacity(), 0);
            reused(|| assert_eq!(take(5).capacity(), 10));
            assert_eq!(take(14).capacity(), 0);
            assert_eq!(take(15).capacity(), 30);
            give(of(LASTING));
            give(of(LASTING + 1));
        });
        assert_eq!(take(LASTING + 1).capacity(), 0);
        assert_eq!(take(LASTING).capacity(), LASTING);
        // Outside of any computation.
        give(of(5));
        assert_eq!(take(5).capacity(), 0);
    }
}
