//! Memory for weights, in large pages where the system has some.
//!
//! A decoder reads all of its weights for each token. In pages of 4 KiB the processor looks up a hundred thousand
//! addresses on the way, in pages of 2 MiB a few hundred: on Linux that is worth a tenth to a quarter of the speed. Large
//! pages are aligned, so matrices lie one after the other in blocks of them; a block is given back when the last matrix
//! in it is gone.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytemuck::{Pod, Zeroable};
use memmap2::{MmapOptions, MmapRaw};

/// Bytes of a block.
const BLOCK: usize = 64 << 20;

/// A line of the cache, which what is read starts with.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// The block that is being filled.
static FILLING: Mutex<Option<Block>> = Mutex::new(None);

/// It doesn't keep its memory: matrices do.
#[derive(Debug)]
struct Block {
    memory: Weak<MmapRaw>,
    used: usize,
}

/// Numbers for kernels to read, as many as were asked for: in large pages where the system has some, and from a line of
/// the cache on.
///
/// It is for what is made once and kept, such as the weights of a layer: memory goes back to the system when all is gone
/// that was made at about the same time.
///
/// ```
/// let mut weights = gllm_quant::HugeVec::<f32>::zeros(3);
/// weights[1] = 0.5;
/// assert_eq!(*weights, [0.0, 0.5, 0.0]);
/// ```
pub struct HugeVec<T> {
    first: NonNull<T>,
    len: usize,
    /// Owns what `first` points to.
    _memory: Arc<dyn Send + Sync>,
}

#[expect(unsafe_code, reason = "a pointer to what this owns")]
// SAFETY: it is to memory that nothing else points to, as that of a `Vec`.
unsafe impl<T: Send> Send for HugeVec<T> {}
#[expect(unsafe_code, reason = "a pointer to what this owns")]
// SAFETY: as above.
unsafe impl<T: Sync> Sync for HugeVec<T> {}

impl<T: Pod> HugeVec<T> {
    /// `len` zeros.
    ///
    /// # Panics
    /// If that is more than there are addresses, as a [`Vec`] does.
    #[must_use]
    pub fn zeros(len: usize) -> Self {
        // As of a slice: less than half of all addresses.
        let bytes = len.checked_mul(size_of::<T>()).filter(|bytes| isize::try_from(*bytes).is_ok());
        let bytes = bytes.expect("no more bytes than there are addresses");
        let (first, memory) = part(bytes).unwrap_or_else(|_| on_heap(bytes));
        Self::over(first, len, memory)
    }

    /// Over zeros from `first` on, a line of the cache, in `memory`.
    fn over(first: *mut u8, len: usize, memory: Arc<dyn Send + Sync>) -> Self {
        const { assert!(align_of::<T>() <= align_of::<Line>()) };
        let first = NonNull::new(first.cast()).expect("memory is somewhere");
        Self { first, len, _memory: memory }
    }
}

impl<T> fmt::Debug for HugeVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HugeVec of {}", self.len)
    }
}

impl<T: Pod> Clone for HugeVec<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

/// A place of so many bytes in a block.
fn part(bytes: usize) -> std::io::Result<(*mut u8, Arc<dyn Send + Sync>)> {
    let mut filling = FILLING.lock().unwrap_or_else(PoisonError::into_inner);
    let size = bytes.max(1).next_multiple_of(size_of::<Line>());
    let open = filling.take().and_then(|block| Some((block.memory.upgrade()?, block.used)));
    let (memory, used) = match open.filter(|(memory, used)| memory.len() - used >= size) {
        Some(open) => open,
        None => (Arc::new(map(size.max(BLOCK))?), 0),
    };
    *filling = Some(Block { memory: Arc::downgrade(&memory), used: used + size });
    Ok((memory.as_mut_ptr().wrapping_add(used), memory))
}

/// The same where the system maps no memory.
fn on_heap(bytes: usize) -> (*mut u8, Arc<dyn Send + Sync>) {
    let mut lines = vec![Line::zeroed(); bytes.div_ceil(size_of::<Line>())];
    (lines.as_mut_ptr().cast(), Arc::new(lines))
}

fn map(len: usize) -> std::io::Result<MmapRaw> {
    let map = MmapOptions::new().len(len).map_anon()?;
    // Advice: without large pages, small ones do.
    #[cfg(target_os = "linux")]
    map.advise(memmap2::Advice::HugePage).ok();
    Ok(map.into())
}

impl<T> Deref for HugeVec<T> {
    type Target = [T];

    #[expect(unsafe_code, reason = "a pointer to what this owns")]
    fn deref(&self) -> &[T] {
        // SAFETY: so many are there, in memory that lives as long as this; they are zeros where nothing was written, which
        // are numbers of a plain type; and they are no other's, since a block gives each place away once.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for HugeVec<T> {
    #[expect(unsafe_code, reason = "a pointer to what this owns")]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and this is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_places_of_its_own() {
        let sizes = [1, 64, 1000, 3 << 20, BLOCK + 5, 7, 0];
        let mut all: Vec<_> = sizes.iter().map(|&size| HugeVec::<u8>::zeros(size)).collect();
        for (index, bytes) in all.iter_mut().enumerate() {
            assert!(bytes.iter().all(|byte| *byte == 0));
            assert!(bytes.as_ptr().addr().is_multiple_of(align_of::<Line>()));
            bytes.fill(index as u8 + 1);
        }
        for (index, (bytes, size)) in all.iter().zip(sizes).enumerate() {
            assert!(bytes.len() == size && bytes.iter().all(|byte| *byte == index as u8 + 1), "{index}");
        }
    }

    #[test]
    #[should_panic(expected = "no more bytes than there are addresses")]
    fn there_are_not_that_many() {
        let _ = HugeVec::<u8>::zeros(usize::MAX);
    }

    #[test]
    fn a_block_goes_with_the_last_that_is_in_it() {
        // Nothing else fits into that block.
        let (_, memory) = part(BLOCK + 1).expect("memory");
        let block = Arc::downgrade(&memory);
        drop(memory);
        assert!(block.upgrade().is_none());
    }

    #[test]
    fn numbers_are_copied() {
        let mut numbers = HugeVec::<u32>::zeros(1000);
        numbers.iter_mut().zip(0..).for_each(|(number, i)| *number = i);
        let copy = numbers.clone();
        numbers.fill(7);
        assert!(copy.iter().copied().eq(0..1000));
    }

    #[test]
    fn the_heap_does_where_nothing_is_mapped() {
        let (first, memory) = on_heap(4 * 20);
        let mut numbers = HugeVec::<f32>::over(first, 20, memory);
        numbers.fill(0.5);
        assert_eq!(*numbers, [0.5; 20]);
    }
}
