//! The threads that compute on the CPU: one pool for all models of the process.
//!
//! As many as the process has cores, which a container may have limited, or as `GLLM_NUM_THREADS` says. The pool is
//! gllm's own, so that a program that uses rayon too neither waits for models nor has its threads counted here. All that
//! is done side by side is done here: packing weights, tokenizing, forward passes, sampling. A computation runs on a
//! thread of the pool as a whole: each of its many small parallel steps is then handed on without waking that thread
//! first.

use std::sync::OnceLock;
use std::thread::available_parallelism;

use burn::tensor::Device;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::device::is_cpu;

/// The variable that sets the number of threads.
const VARIABLE: &str = "GLLM_NUM_THREADS";

/// More can't be of use on any machine.
const MOST: usize = 1024;

/// Runs a computation on `device`: on the pool, whose threads its parallel parts share, if that is the CPU.
pub(crate) fn run<T: Send>(device: &Device, work: impl FnOnce() -> T + Send) -> T {
    if !is_cpu(device) {
        return work();
    }
    #[cfg(feature = "cpu")]
    let work = || crate::ops::awake(|| crate::ops::reused(work));
    on_pool(work)
}

/// Runs `work` on a thread of the pool, where rayon's parallel iterators share all of its threads; from a thread of the
/// pool, at once.
pub fn on_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let pool = POOL.get_or_init(|| {
        let asked = std::env::var(VARIABLE).ok();
        let cores = available_parallelism().map_or(1, usize::from);
        let threads = number(asked.as_deref(), cores);
        let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("gllm-compute-{index}"));
        pool.build().inspect_err(|error| tracing::warn!(%error, "no threads of our own; rayon's are taken")).ok()
    });
    match pool {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

fn number(asked: Option<&str>, cores: usize) -> usize {
    let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return cores };
    match asked.parse() {
        Ok(threads) if (1..=MOST).contains(&threads) => threads,
        _ => {
            tracing::warn!("{VARIABLE} must be a number from 1 to {MOST}, found `{asked}`: {cores} threads are taken");
            cores
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_counts_where_it_makes_sense() {
        assert_eq!(number(Some("3"), 2), 3);
        for asked in [None, Some(""), Some("0"), Some("-1"), Some("many"), Some("99999")] {
            assert_eq!(number(asked, 2), 2, "{asked:?}");
        }
    }

    #[test]
    fn parallel_work_stays_on_the_pool() {
        use rayon::prelude::*;

        let names = on_pool(|| {
            let of = |_| std::thread::current().name().map(str::to_owned);
            (0..100).into_par_iter().map(of).collect::<Vec<_>>()
        });
        assert!(names.into_iter().all(|name| name.is_some_and(|name| name.starts_with("gllm-compute-"))));
    }
}
