//! Keys and values on the device, where no kernels of ours run.

use burn::tensor::{Device, FloatDType, Tensor};

use super::CacheType;

/// By how many tokens the tensors grow.
const STEP: usize = 256;

/// What a block keeps of a sequence: `[capacity, kv_heads * head_dim]` each.
#[derive(Clone, Debug)]
pub(crate) struct TensorLayer {
    keys: Tensor<2>,
    values: Tensor<2>,
    len: usize,
}

impl TensorLayer {
    pub(crate) fn new(width: usize, of: CacheType, device: &Device) -> Self {
        let empty = Tensor::zeros([0, width], device);
        let empty = match of {
            CacheType::F32 => empty,
            CacheType::F16 => Tensor::<2>::cast(empty, FloatDType::F16),
        };
        Self { keys: empty.clone(), values: empty, len: 0 }
    }

    /// Gives back the memory.
    pub(crate) fn clear(&mut self) {
        let width = self.keys.dims()[1];
        let empty = Tensor::<2>::zeros([0, width], &self.keys.device()).cast(self.keys.dtype());
        *self = Self { keys: empty.clone(), values: empty, len: 0 };
    }

    /// Appends the keys and values of tokens, and returns those of all.
    ///
    /// # Shapes
    /// - `keys`, `values`: `[tokens, kv_heads * head_dim]`
    /// - returns twice `[all tokens, kv_heads * head_dim]`
    pub(crate) fn append(&mut self, keys: Tensor<2>, values: Tensor<2>) -> [Tensor<2>; 2] {
        let [tokens, width] = keys.dims();
        let (start, end) = (self.len, self.len + tokens);
        let computed = keys.dtype();
        for (kept, new) in [(&mut self.keys, keys), (&mut self.values, values)] {
            let new = new.cast(kept.dtype());
            let capacity = kept.dims()[0];
            // Taken out, so that it isn't shared, and is written in place.
            let mut whole = std::mem::replace(kept, new.clone());
            if capacity < end {
                let more = (end - capacity).next_multiple_of(STEP);
                let zeros = Tensor::<2>::zeros([more, width], &new.device()).cast(new.dtype());
                whole = if capacity == 0 { zeros } else { Tensor::cat(vec![whole, zeros], 0) };
            }
            *kept = whole.slice_assign([start..end, 0..width], new);
        }
        self.len = end;
        [&self.keys, &self.values].map(|kept| kept.clone().slice([0..end, 0..width]).cast(computed))
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    pub(crate) fn bytes(&self) -> usize {
        let of = |kept: &Tensor<2>| kept.dims().iter().product::<usize>() * kept.dtype().size();
        of(&self.keys) + of(&self.values)
    }

    /// What [`TensorLayer::bytes`] is with so many tokens, but for what an earlier growth left over.
    pub(crate) fn bytes_for(&self, tokens: usize) -> usize {
        2 * tokens.next_multiple_of(STEP) * self.keys.dims()[1] * self.keys.dtype().size()
    }
}
