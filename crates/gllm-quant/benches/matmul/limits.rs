//! What the machine can do at most, measured: read memory, and multiply what is in registers.

use std::hint::black_box;
use std::sync::OnceLock;
use std::thread;

use gllm_quant::HugeVec;
use serde_json::{Value, json};

use crate::mean;
use crate::worker::{Result, timed};

/// Bytes that no cache holds, for each thread.
const READ: usize = 256 << 20;

/// The best of so many tries.
const TRIES: usize = 5;

/// All limits of so many threads, at their best.
pub(crate) fn all(threads: usize) -> Result<Value> {
    let limit = |of| limit(of, threads, &best);
    Ok(json!({
        "threads": threads,
        "read": limit("read")?,
        "f32": limit("f32")?,
        "bf16": limit("bf16")?,
        "int8": limit("int8")?,
    }))
}

/// One of them in a turn, beside products that are measured as long.
pub(crate) fn one(of: &str, threads: usize) -> Result<Option<f64>> {
    limit(of, threads, &|work| mean(work))
}

/// Seconds that something takes.
type Measure<'a> = &'a dyn Fn(&dyn Fn()) -> f64;

/// GB/s that so many threads `read` together, or Gop/s (a product and a sum are two) of a kind of numbers; `None` for a
/// kind that this processor has no instruction for.
fn limit(of: &str, threads: usize, measure: Measure<'_>) -> Result<Option<f64>> {
    let work = match of {
        "read" => return Ok(Some(read(threads, measure))),
        "f32" => peaks::f32(),
        "bf16" => peaks::bf16(),
        "int8" => peaks::int8(),
        other => return Err(format!("there is no limit `{other}`").into()),
    };
    Ok(work.map(|work| multiply(threads, work, measure)))
}

/// The memory that is read, in large pages as weights are.
fn memory(len: usize) -> &'static [u64] {
    static MEMORY: OnceLock<HugeVec<u64>> = OnceLock::new();
    MEMORY.get_or_init(|| {
        let mut memory = HugeVec::zeros(len);
        memory.fill(1);
        memory
    })
}

/// GB/s that so many threads read together.
fn read(threads: usize, measure: Measure<'_>) -> f64 {
    let memory = memory(threads * READ / size_of::<u64>());
    let read = |part: &[u64]| {
        // Sums side by side, or the additions are slower than the memory.
        let sums = part.as_chunks::<32>().0.iter().fold([0_u64; 32], |mut sums, values| {
            sums.iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
            sums
        });
        black_box(sums);
    };
    let seconds = measure(&|| {
        thread::scope(|scope| {
            for part in memory.chunks(READ / 8) {
                scope.spawn(move || read(part));
            }
        });
    });
    1e-9 * (threads * READ) as f64 / seconds
}

/// A loop over registers.
#[derive(Clone, Copy)]
struct Loop {
    run: fn(steps: usize),
    /// Of a step.
    operations: usize,
}

/// Gop/s that so many threads reach together.
fn multiply(threads: usize, work: Loop, measure: Measure<'_>) -> f64 {
    const STEPS: usize = 1 << 24;
    let seconds = measure(&|| {
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (work.run)(STEPS));
            }
        });
    });
    1e-9 * (threads * STEPS * work.operations) as f64 / seconds
}

fn best(work: &dyn Fn()) -> f64 {
    (0..TRIES).map(|_| timed(work).0).fold(f64::INFINITY, f64::min)
}

/// The widest instruction that multiplies and adds, for each kind of numbers.
#[cfg(target_arch = "x86_64")]
mod peaks {
    use std::arch::x86_64::{
        _mm256_add_epi32, _mm256_dpbusd_avx_epi32, _mm256_fmadd_ps, _mm256_madd_epi16, _mm256_maddubs_epi16,
        _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps,
        _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_set1_epi8, _mm512_set1_ps,
    };
    use std::hint::black_box;

    use super::Loop;

    /// Chains of sums, enough of them to hide how long one takes.
    const CHAINS: usize = 12;

    /// The loop over `$next`, where the processor has `$feature`: `$products` of them in each chain.
    macro_rules! chains {
        ($($feature:tt),+; $products:literal; $zero:expr, $x:expr, |$sum:ident, $by:ident| $next:expr) => {{
            #[target_feature($(enable = $feature),+)]
            fn body(steps: usize) {
                let (mut sums, $by) = ([$zero; CHAINS], black_box($x));
                for _ in 0..steps {
                    for slot in &mut sums {
                        let $sum = *slot;
                        *slot = $next;
                    }
                }
                black_box(sums);
            }
            fn run(steps: usize) {
                #[expect(unsafe_code, reason = "the caller of a target_feature function vouches for the feature")]
                // SAFETY: `run` is handed out where the processor has the features.
                unsafe {
                    body(steps);
                }
            }
            let has_all = $(is_x86_feature_detected!($feature))&&+;
            has_all.then_some(Loop { run, operations: 2 * CHAINS * $products })
        }};
    }

    pub(super) fn f32() -> Option<Loop> {
        chains!("avx512f"; 16; _mm512_set1_ps(0.0), _mm512_set1_ps(0.5), |sum, x| _mm512_fmadd_ps(sum, x, x)).or_else(
            || chains!("avx2", "fma"; 8; _mm256_set1_ps(0.0), _mm256_set1_ps(0.5), |sum, x| _mm256_fmadd_ps(sum, x, x)),
        )
    }

    pub(super) fn bf16() -> Option<Loop> {
        chains!("avx512f", "avx512bf16"; 32; _mm512_set1_ps(0.0), {
            let half = _mm512_set1_ps(0.5);
            _mm512_cvtne2ps_pbh(half, half)
        }, |sum, x| _mm512_dpbf16_ps(sum, x, x))
    }

    pub(super) fn int8() -> Option<Loop> {
        chains!("avx512f", "avx512vnni"; 64; _mm512_set1_epi8(0), _mm512_set1_epi8(1), |sum, x| _mm512_dpbusd_epi32(sum, x, x))
            .or_else(|| chains!("avx2", "avxvnni"; 32; _mm256_set1_epi8(0), _mm256_set1_epi8(1), |sum, x| _mm256_dpbusd_avx_epi32(sum, x, x)))
            // With the sum as a factor, or the product would be computed once and for all.
            .or_else(|| chains!("avx2"; 32; _mm256_set1_epi8(0), _mm256_set1_epi8(1), |sum, x| {
                let pairs = _mm256_madd_epi16(_mm256_maddubs_epi16(x, sum), _mm256_set1_epi16(1));
                _mm256_add_epi32(sum, pairs)
            }))
    }
}

/// Not known how to measure here.
#[cfg(not(target_arch = "x86_64"))]
mod peaks {
    use super::Loop;

    pub(super) fn f32() -> Option<Loop> {
        None
    }

    pub(super) fn bf16() -> Option<Loop> {
        None
    }

    pub(super) fn int8() -> Option<Loop> {
        None
    }
}
