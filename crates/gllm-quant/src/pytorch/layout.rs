//! Where a tensor's elements are in the file: within its storage, whatever its strides.
//!
//! A layout is only made of a tensor whose every element lies within its storage, and a storage lies
//! within the file; what reads through a layout needn't check again.

use std::borrow::Cow;
use std::ops::Range;

use safetensors::Dtype;

use super::globals::element_size;
use super::objects::Tensor;
use super::{Outcome, corrupt};

/// A tensor's place in the file.
#[derive(Debug)]
pub(super) struct Layout {
    dtype: Dtype,
    shape: Vec<usize>,
    /// The bytes from the first element to the end of the last one.
    extent: Range<usize>,
    /// In bytes, one for each dimension; `None` if the elements lie in order, without gaps.
    strides: Option<Vec<usize>>,
}

impl Layout {
    /// The place of `tensor`, called `name`, in the `storage` of bytes that it views.
    pub(super) fn new(name: &str, tensor: &Tensor, storage: Range<usize>) -> Outcome<Self> {
        let size = element_size(tensor.dtype);
        let outside = || {
            let (shape, strides, offset) = (&tensor.shape, &tensor.strides, tensor.offset);
            corrupt(format!(
                "tensor `{name}` of shape {shape:?}, strides {strides:?} and offset {offset} ends outside of its \
                 storage of {} elements",
                storage.len() / size
            ))
        };
        let dimensions = || tensor.shape.iter().zip(&tensor.strides);

        // Also where one dimension is 0, the others must be such that nobody's product overflows.
        let product = tensor.shape.iter().try_fold(size, |product, dim| product.checked_mul((*dim).max(1)));
        let product = product.filter(|product| isize::try_from(*product).is_ok());
        let product = product.ok_or_else(|| corrupt(format!("tensor `{name}` has shape {:?}", tensor.shape)))?;
        let is_empty = tensor.shape.contains(&0);

        // In elements, from the first to behind the last.
        let span = dimensions()
            .try_fold(1_usize, |span, (dim, stride)| span.checked_add(dim.saturating_sub(1).checked_mul(*stride)?));
        let span = if is_empty { 0 } else { span.ok_or_else(outside)? };
        let end = tensor.offset.checked_add(span).and_then(|end| end.checked_mul(size));
        let end = end.filter(|end| *end <= storage.len()).ok_or_else(outside)?;
        // `end` fits in the storage, and the storage in the file: what is smaller can't overflow.
        let extent = storage.start + tensor.offset * size..storage.start + end;

        let mut packed = 1;
        let is_contiguous = is_empty
            || dimensions().rev().all(|(dim, stride)| {
                let in_order = *dim == 1 || *stride == packed;
                packed *= dim;
                in_order
            });
        if !is_contiguous && product > storage.len() {
            return Err(corrupt(format!(
                "tensor `{name}` repeats elements: {product} bytes over a storage of {}",
                storage.len()
            )));
        }
        // A stride of a dimension of 1 is never taken, and may be any number.
        let in_bytes = |(dim, stride): (&usize, &usize)| if *dim > 1 { stride * size } else { 0 };
        let strides = (!is_contiguous).then(|| dimensions().map(in_bytes).collect());
        Ok(Self { dtype: tensor.dtype, shape: tensor.shape.clone(), extent, strides })
    }

    pub(super) fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Outermost dimension first.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes of the tensor.
    pub(super) fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * element_size(self.dtype)
    }

    /// Bytes of the tensor if they have to be copied, or 0.
    pub(super) fn copied_bytes(&self) -> usize {
        self.strides.as_ref().map_or(0, |_| self.bytes())
    }

    /// The elements, row-major: where they are in `file`, or copied into order.
    pub(super) fn gather<'a>(&self, file: &'a [u8]) -> Cow<'a, [u8]> {
        let elements = &file[self.extent.clone()];
        let Some(strides) = &self.strides else { return Cow::Borrowed(elements) };
        let size = element_size(self.dtype);
        let mut copy = Vec::with_capacity(self.copied_bytes());
        let mut index = vec![0; self.shape.len()];
        let mut start = 0;
        loop {
            copy.extend_from_slice(&elements[start..start + size]);
            // Count up, the last dimension first.
            let mut dimension = self.shape.len();
            loop {
                let Some(next) = dimension.checked_sub(1) else { return Cow::Owned(copy) };
                dimension = next;
                index[dimension] += 1;
                if index[dimension] < self.shape[dimension] {
                    start += strides[dimension];
                    break;
                }
                start -= strides[dimension] * (self.shape[dimension] - 1);
                index[dimension] = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(offset: usize, shape: &[usize], strides: &[usize], storage: Range<usize>) -> Outcome<Layout> {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        Layout::new("t", &Tensor { storage: 0, dtype: Dtype::I16, offset, shape, strides }, storage)
    }

    #[test]
    fn elements_come_in_order() {
        let file: Vec<u8> = (0..16).collect();
        let gather = |offset, shape: &[usize], strides: &[usize]| {
            let layout = layout(offset, shape, strides, 2..14).expect("within the storage");
            layout.gather(&file).as_chunks::<2>().0.iter().map(|[low, _]| (low - 2) / 2).collect::<Vec<_>>()
        };
        assert_eq!(gather(0, &[2, 3], &[3, 1]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(gather(0, &[3, 2], &[1, 3]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(gather(1, &[2, 2], &[3, 1]), [1, 2, 4, 5]);
        assert_eq!(gather(0, &[3, 1, 2], &[2, 77, 1]), [0, 1, 2, 3, 4, 5]);
        assert_eq!(gather(0, &[2, 1, 2], &[1, usize::MAX, 2]), [0, 2, 1, 3]);
        assert_eq!(gather(2, &[3], &[0]), [2, 2, 2]);
        assert_eq!(gather(5, &[], &[]), [5]);
        assert!(gather(6, &[0, 3], &[9, 9]).is_empty());
    }

    #[test]
    fn only_what_is_out_of_order_is_copied() {
        let copied = |shape, strides| layout(0, shape, strides, 0..12).expect("within the storage").copied_bytes();
        assert_eq!(copied(&[2, 3], &[3, 1]), 0);
        assert_eq!(copied(&[1, 6], &[1, 1]), 0);
        assert_eq!(copied(&[0, 6], &[1, 7]), 0);
        assert_eq!(copied(&[3, 2], &[1, 3]), 12);
    }

    #[test]
    fn nothing_reaches_outside_of_its_storage() {
        let huge = usize::MAX / 2;
        for (offset, shape, strides) in [
            (1, &[2_usize, 3][..], &[3_usize, 1][..]),
            (0, &[2, 3], &[4, 1]),
            (0, &[7], &[1]),
            (7, &[0], &[1]),
            (6, &[], &[]),
            (usize::MAX, &[1], &[1]),
            (0, &[3], &[huge]),
            (0, &[huge, 4], &[0, 0]),
            (0, &[huge, 4, 0], &[0, 0, 0]),
            (0, &[7], &[0]),
        ] {
            layout(offset, shape, strides, 0..12).expect_err(&format!("{offset} {shape:?} {strides:?}"));
        }
    }
}
