//! Memory for weights, in large pages where the system has some.
//!
//! A decoder reads all of its weights for each token. In pages of 4 KiB the processor looks up a hundred thousand
//! addresses on the way, in pages of 2 MiB a few hundred: on Linux that is worth a tenth to a quarter of the speed. Large
//! pages are aligned, so matrices lie one after the other in blocks of them; a block is given back when the last matrix
//! in it is gone.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{MmapOptions, MmapRaw};

/// Bytes of a block.
const BLOCK: usize = 64 << 20;

/// What matrices start at a multiple of: a line of the cache.
const ALIGNMENT: usize = 64;

/// The block that is being filled.
static FILLING: Mutex<Option<Block>> = Mutex::new(None);

#[derive(Debug)]
struct Block {
    memory: Arc<MmapRaw>,
    used: usize,
}

/// Bytes of its own.
#[derive(Debug)]
pub(crate) enum HugeBytes {
    /// In a block.
    Part { memory: Arc<MmapRaw>, start: usize, len: usize },
    /// Where the system maps no memory.
    Heap(Vec<u8>),
}

impl HugeBytes {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        Self::part(len).unwrap_or_else(|_| Self::Heap(vec![0; len]))
    }

    fn part(len: usize) -> std::io::Result<Self> {
        let mut filling = FILLING.lock().unwrap_or_else(PoisonError::into_inner);
        let size = len.next_multiple_of(ALIGNMENT);
        let block = match filling.take() {
            Some(block) if block.memory.len() - block.used >= size => filling.insert(block),
            _ => filling.insert(Block { memory: Arc::new(map(size.max(BLOCK))?), used: 0 }),
        };
        let start = block.used;
        block.used += size;
        Ok(Self::Part { memory: Arc::clone(&block.memory), start, len })
    }
}

impl Clone for HugeBytes {
    fn clone(&self) -> Self {
        let mut copy = Self::zeros(self.len());
        copy.copy_from_slice(self);
        copy
    }
}

fn map(len: usize) -> std::io::Result<MmapRaw> {
    let map = MmapOptions::new().len(len).map_anon()?;
    // Advice: without large pages, small ones do.
    #[cfg(target_os = "linux")]
    map.advise(memmap2::Advice::HugePage).ok();
    Ok(map.into())
}

impl Deref for HugeBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            #[expect(unsafe_code, reason = "a part of a mapping")]
            // SAFETY: the part lies within the mapping, which lives as long as this, is zeros where nothing was written,
            // and is no other's: a block gives each place away once.
            Self::Part { memory, start, len } => unsafe {
                std::slice::from_raw_parts(memory.as_ptr().add(*start), *len)
            },
            Self::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for HugeBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            #[expect(unsafe_code, reason = "a part of a mapping")]
            // SAFETY: as above, and this is borrowed mutably.
            Self::Part { memory, start, len } => unsafe {
                std::slice::from_raw_parts_mut(memory.as_mut_ptr().add(*start), *len)
            },
            Self::Heap(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_places_of_its_own() {
        let sizes = [1, 64, 1000, 3 << 20, BLOCK + 5, 7, 0];
        let mut all: Vec<_> = sizes.iter().map(|&size| HugeBytes::zeros(size)).collect();
        for (index, bytes) in all.iter_mut().enumerate() {
            assert!(bytes.iter().all(|byte| *byte == 0));
            assert!(bytes.as_ptr().addr().is_multiple_of(ALIGNMENT));
            bytes.fill(index as u8 + 1);
        }
        for (index, (bytes, size)) in all.iter().zip(sizes).enumerate() {
            assert!(bytes.len() == size && bytes.iter().all(|byte| *byte == index as u8 + 1), "{index}");
        }
    }
}
