//! How the threads share a linear layer, whatever numbers it multiplies, and what becomes of its sums.
//!
//! Outputs come in panels. Where there are many rows, each thread takes some of them through all panels; where there are
//! few, each takes all of them through some panels.

#![expect(clippy::inline_always, reason = "compiled anew for each instruction set")]

use std::cell::Cell;
use std::ops::Range;

use bytemuck::{Pod, Zeroable};
use gllm_quant::HugeVec;
use rayon::prelude::*;

use super::erf::gelu;
use super::exp::{gelu_tanh, silu, tanh};
use super::simd::{LANES, Simd};

/// Outputs of a panel.
pub(crate) const PANEL: usize = 2 * LANES;

/// Something of each output of a panel, in whole lines of the cache: a register that is read from two takes twice as long.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Lines<T>(pub(super) [T; PANEL]);

/// [`Lines`] as plain memory.
macro_rules! plain {
    ($($number:ty),+) => {$(
        #[expect(unsafe_code, reason = "a type of plain memory")]
        // SAFETY: zeros are numbers.
        unsafe impl Zeroable for Lines<$number> {}
        #[expect(unsafe_code, reason = "a type of plain memory")]
        // SAFETY: numbers of four bytes, which fill whole lines: any bits are some, and there is nothing between them.
        unsafe impl Pod for Lines<$number> {}
    )+};
}

plain!(f32, u32);

/// Sums of the outputs of a panel.
pub(super) type Sums = Lines<f32>;

/// Rows that are multiplied with a panel at once, at most.
pub(super) const TILE_ROWS: usize = 12;

/// Calls a function with the number of rows of a tile, at most [`TILE_ROWS`], as its last constant.
macro_rules! for_tile {
    ($rows:expr, $function:ident::<$isa:ident>($($argument:expr),*)) => {
        match $rows {
            12 => $function::<$isa, 12>($($argument),*),
            11 => $function::<$isa, 11>($($argument),*),
            10 => $function::<$isa, 10>($($argument),*),
            9 => $function::<$isa, 9>($($argument),*),
            8 => $function::<$isa, 8>($($argument),*),
            7 => $function::<$isa, 7>($($argument),*),
            6 => $function::<$isa, 6>($($argument),*),
            5 => $function::<$isa, 5>($($argument),*),
            4 => $function::<$isa, 4>($($argument),*),
            3 => $function::<$isa, 3>($($argument),*),
            2 => $function::<$isa, 2>($($argument),*),
            _ => $function::<$isa, 1>($($argument),*),
        }
    };
}

pub(super) use for_tile;

/// Rows that a task takes through all panels: their activations stay in the cache.
const TASK_ROWS: usize = 8 * TILE_ROWS;

/// The same where other threads have rows of their own: weights are read less often.
const LONE_TASK_ROWS: usize = 128;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Runs a computation while other threads run others like it: none waits for a share of this one.
pub(crate) fn alone<T>(work: impl FnOnce() -> T) -> T {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _before = Before(ALONE.replace(true));
    work()
}

/// What becomes of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    Gelu,
    GeluTanh,
    Silu,
    Tanh,
    Relu,
}

/// The weights of a layer, panel by panel.
#[derive(Clone, Debug)]
pub(super) struct Panels<T: Pod> {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// As many for each panel.
    weights: HugeVec<T>,
    /// `[panels]`; zeros where there is none.
    pub(super) bias: Vec<Sums>,
}

impl<T: Pod> Panels<T> {
    pub(super) fn new([inputs, outputs]: [usize; 2], weights: HugeVec<T>, bias: Option<&[f32]>) -> Self {
        let bias = bias.unwrap_or_default();
        let value = |output: usize| bias.get(output).copied().unwrap_or(0.0);
        let panel = |panel: usize| Lines(std::array::from_fn(|lane| value(panel * PANEL + lane)));
        Self { inputs, outputs, weights, bias: (0..outputs.div_ceil(PANEL)).map(panel).collect() }
    }

    /// The weights of a panel, which are `len`.
    #[inline(always)]
    pub(super) fn of(&self, panel: usize, len: usize) -> &[T] {
        &self.weights[panel * len..][..len]
    }
}

/// What a task computes: some rows, through some panels.
pub(super) struct Part<'a> {
    /// Of the activations.
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
    /// `[rows, width]`: the outputs of the panels.
    pub(super) y: &'a mut [f32],
    pub(super) width: usize,
}

impl<'a> Part<'a> {
    /// All of `y`, `[rows, outputs]`.
    pub(super) fn whole(y: &'a mut [f32], outputs: usize) -> Self {
        Self { rows: 0..y.len() / outputs, panels: 0..outputs.div_ceil(PANEL), y, width: outputs }
    }
}

/// Whether each thread gets rows enough to keep it busy, or has work of its own.
pub(super) fn has_rows_for_all(n_rows: usize) -> bool {
    ALONE.get() || n_rows >= rayon::current_num_threads() * TASK_ROWS / 2
}

/// `[rows, outputs]`, which `compute` makes in parts, in the memory of `y`.
pub(super) fn share(
    n_rows: usize,
    [inputs, outputs]: [usize; 2],
    y: Vec<f32>,
    compute: impl Fn(Part<'_>) + Sync,
) -> Vec<f32> {
    let n_panels = outputs.div_ceil(PANEL);
    if has_rows_for_all(n_rows) || n_rows * inputs * outputs < 1 << 18 {
        return share_rows(n_rows, outputs, y, |rows, y| {
            compute(Part { rows, panels: 0..n_panels, y, width: outputs });
        });
    }
    // Few rows: the threads share the outputs.
    let mut y = y;
    y.resize(n_rows * outputs, 0.0);
    let share = n_panels.div_ceil(rayon::current_num_threads());
    let starts: Vec<usize> = (0..n_panels).step_by(share).collect();
    let parts = starts.par_iter().with_max_len(1).map(|&first| {
        let panels = first..n_panels.min(first + share);
        let width = (panels.len() * PANEL).min(outputs - first * PANEL);
        let mut part = vec![0.0; n_rows * width];
        compute(Part { rows: 0..n_rows, panels, y: &mut part, width });
        (first * PANEL, width, part)
    });
    for (first, width, part) in parts.collect::<Vec<_>>() {
        for (row, part) in y.chunks_exact_mut(outputs).zip(part.chunks_exact(width)) {
            row[first..first + width].copy_from_slice(part);
        }
    }
    y
}

/// `[rows, outputs]`, which `compute` makes some rows at a time, in the memory of `y`.
pub(super) fn share_rows(
    n_rows: usize,
    outputs: usize,
    mut y: Vec<f32>,
    compute: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    y.resize(n_rows * outputs, 0.0);
    let tasks = if ALONE.get() {
        n_rows.div_ceil(LONE_TASK_ROWS)
    } else {
        n_rows.div_ceil(TASK_ROWS).next_multiple_of(rayon::current_num_threads())
    };
    let rows = n_rows.div_ceil(tasks.max(1)).max(TILE_ROWS);
    y.par_chunks_mut(rows * outputs).enumerate().with_max_len(1).for_each(|(index, y)| {
        compute(index * rows..index * rows + y.len() / outputs, y);
        // To whoever waits for this core, an executor's thread for one: it would wait for several milliseconds.
        std::thread::yield_now();
    });
    y
}

/// Rows in as few tiles as there can be of at most `most`, and as even ones: a tile of one row takes as long as one of two.
#[inline(always)]
pub(super) fn tiles(n_rows: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let n_tiles = n_rows.div_ceil(most);
    (0..n_tiles).map(move |tile| tile * n_rows / n_tiles..(tile + 1) * n_rows / n_tiles)
}

/// Has weights read into the cache that come a little later.
#[inline(always)]
pub(super) fn prefetch<T>(weights: &Lines<T>) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

        let ahead = std::ptr::from_ref(weights).wrapping_add(8).cast::<i8>();
        #[expect(unsafe_code, reason = "an instruction that every processor has")]
        // SAFETY: it reads nothing: an address that isn't there is ignored.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(ahead);
            _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(64));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = weights;
}

/// Puts `then(sums + bias)` into the columns from `column` on.
///
/// # Shapes
/// - `sums`: `[rows]`
/// - `y`: `[rows, width]`
#[inline(always)]
pub(super) fn finish<S: Simd>(
    simd: S,
    sums: &[Sums],
    bias: &Sums,
    then: Then,
    y: &mut [f32],
    width: usize,
    column: usize,
) {
    let bias = bias.0.as_chunks::<LANES>().0;
    let bias = [simd.load(&bias[0]), simd.load(&bias[1])];
    for (sums, row) in sums.iter().zip(y.chunks_exact_mut(width)) {
        let halves = sums.0.as_chunks::<LANES>().0;
        let sums = [simd.add(simd.load(&halves[0]), bias[0]), simd.add(simd.load(&halves[1]), bias[1])];
        let done = [apply(simd, sums[0], then), apply(simd, sums[1], then)];
        // Copies of a known length are two instructions.
        if let ([first, second, ..], _) = row[column..].as_chunks_mut::<LANES>() {
            *first = simd.to_array(done[0]);
            *second = simd.to_array(done[1]);
        } else {
            let both = [simd.to_array(done[0]), simd.to_array(done[1])];
            let len = PANEL.min(width - column);
            row[column..].copy_from_slice(&both.as_flattened()[..len]);
        }
    }
}

/// `then` of each lane.
#[inline(always)]
pub(super) fn apply<S: Simd>(simd: S, x: S::V, then: Then) -> S::V {
    match then {
        Then::Nothing => x,
        Then::Gelu => gelu(simd, x),
        Then::GeluTanh => gelu_tanh(simd, x),
        Then::Silu => silu(simd, x),
        Then::Tanh => tanh(simd, x),
        // In this order what isn't a number stays so.
        Then::Relu => simd.max(simd.splat(0.0), x),
    }
}
