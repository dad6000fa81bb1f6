//! Threads that stay awake while a computation has many small parallel steps.
//!
//! A thread of rayon's that finds nothing to do lets go of its core, and sleeps a few microseconds later; to wake it takes
//! longer than a product with a short text's rows. While a computation is under way, the others look for work without
//! pause, up to [`PATIENCE`]. Nothing waits for them: one that is busy elsewhere, or tired, is only missed.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rayon::Yield;

/// How long a thread looks for work in vain: longer than the serial part of a block on a short text.
const PATIENCE: Duration = Duration::from_micros(100);

thread_local! {
    static COMPUTES: Cell<bool> = const { Cell::new(false) };
}

/// Runs a computation while the other threads of the caller's pool stay awake. One within another changes nothing.
pub(crate) fn awake<T>(work: impl FnOnce() -> T) -> T {
    if COMPUTES.replace(true) {
        return work();
    }
    let _computation = Computation::begin();
    work()
}

/// The outermost computation of a thread; its end is the other threads' too.
struct Computation {
    is_over: Arc<AtomicBool>,
}

impl Computation {
    fn begin() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        if let Some(own) = rayon::current_thread_index()
            && rayon::current_num_threads() > 1
        {
            let is_over = Arc::clone(&is_over);
            rayon::spawn_broadcast(move |thread| {
                if thread.index() != own {
                    help(&is_over);
                }
            });
        }
        Self { is_over }
    }
}

impl Drop for Computation {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        COMPUTES.set(false);
    }
}

fn help(is_over: &AtomicBool) {
    let mut last = Instant::now();
    while !is_over.load(Ordering::Relaxed) && last.elapsed() < PATIENCE {
        match rayon::yield_now() {
            Some(Yield::Executed) => last = Instant::now(),
            _ => std::hint::spin_loop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rayon::ThreadPoolBuilder;
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn computations_side_by_side_and_one_in_the_other_all_end() {
        let pool = ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        let compute = |seed: u64| {
            pool.install(|| {
                let inner = |i| awake(|| (0..i).into_par_iter().sum::<u64>());
                awake(|| (0..seed).into_par_iter().map(inner).sum::<u64>())
            })
        };
        std::thread::scope(|scope| {
            let compute = &compute;
            let found: Vec<_> = (0..4).map(|seed| scope.spawn(move || compute(20 + seed))).collect();
            for (seed, found) in (20..).zip(found) {
                let expected = (0..seed).map(|i: u64| i * i.saturating_sub(1) / 2).sum::<u64>();
                assert_eq!(found.join().expect("an end"), expected);
            }
        });
    }

    #[test]
    fn outside_of_a_pool_nothing_happens() {
        assert_eq!(awake(|| awake(|| 1) + 1), 2);
        assert!(!COMPUTES.get());
    }
}
