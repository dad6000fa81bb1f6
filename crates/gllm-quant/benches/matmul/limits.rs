//! What the machine can do at most, measured: read memory, and multiply 8-bit integers that are in registers.

use std::hint::black_box;
use std::thread;
use std::time::Instant;

/// Bytes that no cache holds, for each thread.
const READ: usize = 256 << 20;

/// The best of so many tries.
const TRIES: usize = 5;

/// GB/s that so many threads read together.
pub(crate) fn read(threads: usize) -> f64 {
    let memory = vec![1_u64; threads * READ / 8];
    let read = |part: &[u64]| {
        // Sums side by side, or the additions are slower than the memory.
        let sums = part.as_chunks::<32>().0.iter().fold([0_u64; 32], |mut sums, values| {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
            sums
        });
        black_box(sums);
    };
    let seconds = best(|| {
        thread::scope(|scope| {
            for part in memory.chunks(READ / 8) {
                scope.spawn(move || read(part));
            }
        });
    });
    1e-9 * (threads * READ) as f64 / seconds
}

/// Gop/s (a product and a sum are two) that so many threads reach together; `None` without AVX-512 VNNI.
pub(crate) fn int8(threads: usize) -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
        const STEPS: usize = 1 << 24;
        let seconds = best(|| {
            thread::scope(|scope| {
                for _ in 0..threads {
                    #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
                    // SAFETY: the features were detected just above.
                    scope.spawn(|| unsafe { multiply(STEPS) });
                }
            });
        });
        return Some(2e-9 * (threads * STEPS * ACCUMULATORS * 64) as f64 / seconds);
    }
    let _ = threads;
    None
}

/// Chains of sums, enough of them to hide how long one takes.
#[cfg(target_arch = "x86_64")]
const ACCUMULATORS: usize = 12;

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn multiply(steps: usize) {
    use std::arch::x86_64::{_mm512_dpbusd_epi32, _mm512_reduce_add_epi32, _mm512_set1_epi8};

    let (mut sums, x) = ([_mm512_set1_epi8(0); ACCUMULATORS], black_box(_mm512_set1_epi8(1)));
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, x, x);
        }
    }
    black_box(sums.map(|sum| _mm512_reduce_add_epi32(sum)));
}

fn best(work: impl Fn()) -> f64 {
    let seconds = (0..TRIES).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}
