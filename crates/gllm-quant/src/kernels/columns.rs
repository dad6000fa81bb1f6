//! A matrix that several threads write, each its own columns.

use std::marker::PhantomData;

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

    /// Writes `products`, plus `bias` of each, from column `first` of `row` on.
    ///
    /// # Safety
    /// No other thread writes these columns of this row.
    #[expect(unsafe_code, reason = "the matrix is shared by threads")]
    pub(crate) unsafe fn write(&self, row: usize, first: usize, products: &[f32], bias: Option<&[f32]>) {
        assert!(row < self.rows && first + products.len() <= self.width, "row {row}, output {first}");
        // SAFETY: the row and the columns are within the matrix, by the assertion, and are this thread's alone, by the
        // contract of this function.
        let out = unsafe { std::slice::from_raw_parts_mut(self.values.add(row * self.width + first), products.len()) };
        match bias {
            Some(bias) => {
                for ((out, product), bias) in out.iter_mut().zip(products).zip(bias) {
                    *out = product + bias;
                }
            }
            None => out.copy_from_slice(products),
        }
    }
}
