//! A matrix that several threads write, each its own columns.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::matmul::PANEL;

/// `[rows, width]`, row-major, its columns shared out among the threads; nothing is there before it is written.
pub(crate) struct Columns<'a> {
    values: *mut MaybeUninit<f32>,
    rows: usize,
    width: usize,
    lifetime: PhantomData<&'a mut [MaybeUninit<f32>]>,
}

#[expect(unsafe_code, reason = "threads write different columns")]
// SAFETY: the values are borrowed for the lifetime of this, and nothing but `Columns::write` touches them, whose
// callers never write the same place from two threads.
unsafe impl Sync for Columns<'_> {}

impl<'a> Columns<'a> {
    /// Over `values`, whose length is a multiple of `width`.
    pub(crate) fn new(values: &'a mut [MaybeUninit<f32>], width: usize) -> Self {
        assert!(values.len().is_multiple_of(width), "{} values in rows of {width}", values.len());
        Self { rows: values.len() / width, values: values.as_mut_ptr(), width, lifetime: PhantomData }
    }

    /// Writes the first `len` of `products`, plus `bias` of each, from column `first` of `row` on.
    ///
    /// # Safety
    /// No other thread writes these columns of this row.
    #[expect(unsafe_code, reason = "the matrix is shared by threads")]
    pub(crate) unsafe fn write(
        &self,
        row: usize,
        first: usize,
        products: &[f32; PANEL],
        len: usize,
        bias: Option<&[f32]>,
    ) {
        assert!(len <= PANEL && row < self.rows && first + len <= self.width, "row {row}, output {first}");
        // SAFETY: the row and the columns are within the matrix, by the assertion, and are this thread's alone, by the
        // contract of this function.
        let out = unsafe { std::slice::from_raw_parts_mut(self.values.add(row * self.width + first), len) };
        let mut sums = *products;
        if let Some(bias) = bias {
            for (sum, bias) in sums.iter_mut().zip(bias) {
                *sum += bias;
            }
        }
        // A copy of a known length is one instruction.
        match out.first_chunk_mut::<PANEL>() {
            Some(out) => *out = sums.map(MaybeUninit::new),
            None => {
                out.write_copy_of_slice(&sums[..len]);
            }
        }
    }
}
