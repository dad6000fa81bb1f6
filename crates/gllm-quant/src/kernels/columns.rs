//! A matrix that several threads write, each its own columns.

use std::marker::PhantomData;

use crate::matmul::PANEL;

/// `[rows, width]`, row-major, its columns shared out among the threads.
pub(crate) struct Columns<'a> {
    values: *mut f32,
    rows: usize,
    width: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "threads write different columns")]
// SAFETY: the values are borrowed for the lifetime of this, and nothing but `Columns::write` touches them, whose
// callers never write the same place from two threads.
unsafe impl Sync for Columns<'_> {}

impl<'a> Columns<'a> {
    /// Over `values`, whose length is a multiple of `width`.
    pub(crate) fn new(values: &'a mut [f32], width: usize) -> Self {
        assert!(values.len().is_multiple_of(width), "{} values in rows of {width}", values.len());
        Self { rows: values.len() / width, values: values.as_mut_ptr(), width, lifetime: PhantomData }
    }

    /// Writes the first `len` of each row's products, from column `first` of row `first_row` on.
    ///
    /// # Safety
    /// No other thread writes these columns.
    #[expect(unsafe_code, reason = "the matrix is shared by threads")]
    pub(crate) unsafe fn write(&self, first_row: usize, first: usize, products: &[[f32; PANEL]], len: usize) {
        assert!(len <= PANEL && first + len <= self.width, "output {first}");
        assert!(first_row + products.len() <= self.rows, "row {first_row}");
        for (row, products) in products.iter().enumerate() {
            // SAFETY: the row and the columns are within the matrix, by the assertions, and are this thread's alone, by
            // the contract of this function.
            let out =
                unsafe { std::slice::from_raw_parts_mut(self.values.add((first_row + row) * self.width + first), len) };
            // A copy of a known length is one instruction.
            match out.first_chunk_mut::<PANEL>() {
                Some(out) => *out = *products,
                None => out.copy_from_slice(&products[..len]),
            }
        }
    }
}
