//! Keys and values on the host, in pages, laid out for the kernels.
//!
//! A page has the keys of each head as `[head_dim, PAGE]`, so that a kernel computes the scores of neighbouring tokens
//! side by side, and the values as `[PAGE, width]`, `width` being `head_dim` rounded up to whole vectors. What no token
//! has written is 0.

use std::borrow::Cow;
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::CacheType;

/// Tokens of a page.
pub(crate) const PAGE: usize = 64;

/// Floats of a vector.
const LANES: usize = 16;

/// The keys and values of some tokens, for all heads of a block.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    keys: Numbers,
    values: Numbers,
}

/// What a block keeps of a sequence.
#[derive(Clone, Debug)]
pub(crate) struct PagedLayer {
    heads: usize,
    head_dim: usize,
    of: CacheType,
    pages: Vec<Arc<Page>>,
}

#[derive(Clone, Debug)]
enum Numbers {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

impl Numbers {
    fn zeros(of: CacheType, len: usize) -> Self {
        match of {
            CacheType::F32 => Self::F32(vec![0.0; len]),
            CacheType::F16 => Self::F16(vec![f16::ZERO; len]),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::F32(numbers) => size_of_val(numbers.as_slice()),
            Self::F16(numbers) => size_of_val(numbers.as_slice()),
        }
    }

    fn floats(&self, first: usize, len: usize) -> Cow<'_, [f32]> {
        match self {
            Self::F32(numbers) => Cow::Borrowed(&numbers[first..first + len]),
            Self::F16(numbers) => {
                let mut floats = vec![0.0; len];
                numbers[first..first + len].convert_to_f32_slice(&mut floats);
                Cow::Owned(floats)
            }
        }
    }

    /// Writes `x` from `first` on, `step` apart.
    fn write(&mut self, first: usize, step: usize, x: &[f32]) {
        match self {
            Self::F32(numbers) => numbers[first..].iter_mut().step_by(step).zip(x).for_each(|(to, x)| *to = *x),
            Self::F16(numbers) => {
                numbers[first..].iter_mut().step_by(step).zip(x).for_each(|(to, x)| *to = f16::from_f32(*x));
            }
        }
    }
}

/// `head_dim`, rounded up to whole vectors.
pub(crate) fn padded(head_dim: usize) -> usize {
    head_dim.next_multiple_of(LANES)
}

impl Page {
    /// `[head_dim, PAGE]`.
    pub(crate) fn keys(&self, head: usize, head_dim: usize) -> Cow<'_, [f32]> {
        self.keys.floats(head * head_dim * PAGE, head_dim * PAGE)
    }

    /// `[PAGE, padded(head_dim)]`.
    pub(crate) fn values(&self, head: usize, head_dim: usize) -> Cow<'_, [f32]> {
        let width = padded(head_dim);
        self.values.floats(head * width * PAGE, width * PAGE)
    }
}

impl PagedLayer {
    pub(crate) fn new(heads: usize, head_dim: usize, of: CacheType) -> Self {
        Self { heads, head_dim, of, pages: Vec::new() }
    }

    /// The pages, the first tokens' first.
    pub(crate) fn pages(&self) -> &[Arc<Page>] {
        &self.pages
    }

    /// Writes what a head has of the token at `place`: `[head_dim]` each.
    ///
    /// # Panics
    /// If a token before it is missing a page.
    pub(crate) fn write(&mut self, place: usize, head: usize, key: &[f32], value: &[f32]) {
        let (head_dim, width) = (self.head_dim, padded(self.head_dim));
        if place / PAGE == self.pages.len() {
            let zeros = |width| Numbers::zeros(self.of, self.heads * width * PAGE);
            self.pages.push(Arc::new(Page { keys: zeros(head_dim), values: zeros(width) }));
        }
        // Copied first, if another sequence has the page too.
        let page = Arc::make_mut(&mut self.pages[place / PAGE]);
        let place = place % PAGE;
        page.keys.write(head * head_dim * PAGE + place, PAGE, key);
        page.values.write((head * PAGE + place) * width, 1, value);
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.pages.truncate(len.div_ceil(PAGE));
    }

    pub(crate) fn bytes(&self) -> usize {
        self.pages.iter().map(|page| page.keys.bytes() + page.values.bytes()).sum()
    }

    /// What [`PagedLayer::bytes`] is with so many tokens.
    pub(crate) fn bytes_for(&self, tokens: usize) -> usize {
        let size = match self.of {
            CacheType::F32 => size_of::<f32>(),
            CacheType::F16 => size_of::<f16>(),
        };
        tokens.next_multiple_of(PAGE) * self.heads * (self.head_dim + padded(self.head_dim)) * size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_pages_until_one_writes() {
        for of in [CacheType::F32, CacheType::F16] {
            let mut layer = PagedLayer::new(2, 3, of);
            for place in 0..PAGE + 5 {
                for head in 0..2 {
                    layer.write(place, head, &[place as f32, 1.0, head as f32], &[2.0, place as f32, 3.0]);
                }
            }
            assert_eq!(layer.bytes(), layer.bytes_for(PAGE + 5));
            let mut other = layer.clone();
            other.truncate(PAGE + 2);
            other.write(PAGE + 2, 1, &[-1.0; 3], &[-2.0; 3]);
            assert!(Arc::ptr_eq(&layer.pages[0], &other.pages[0]), "a full page is shared");
            let key = |layer: &PagedLayer, head| layer.pages[1].keys(head, 3)[2];
            assert_eq!((key(&layer, 1), key(&other, 1)), (66.0, -1.0));
            assert_eq!(layer.pages[1].values(1, 3)[2 * 16..][..4], [2.0, 66.0, 3.0, 0.0]);
            assert_eq!(other.pages[1].values(1, 3)[2 * 16..][..4], [-2.0, -2.0, -2.0, 0.0]);
            assert_eq!(other.pages[1].keys(0, 3)[PAGE..][..2], [1.0, 1.0]);
        }
    }
}
