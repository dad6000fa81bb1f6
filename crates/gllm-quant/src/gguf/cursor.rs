//! A place in a GGUF header, from which numbers, strings and counts are read.
//!
//! Invariant: nothing is reserved before it is known that the rest of the file could hold it, nor beyond the memory
//! that a file of this size is worth.

use std::fmt::Arguments;

use super::{Outcome, corrupt};
use crate::memory::{self, Memory};
use crate::named::{self, MAX_NAME_BYTES, Named};

/// Reads a header from its start to its end.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    is_big_endian: bool,
    memory: Memory,
}

impl<'a> Cursor<'a> {
    /// Reads the file of `bytes` from `at`, which lies within.
    pub(super) fn new(bytes: &'a [u8], at: usize, is_big_endian: bool) -> Self {
        Self { bytes, at, is_big_endian, memory: Memory::of_file(bytes.len()) }
    }

    pub(super) fn is_big_endian(&self) -> bool {
        self.is_big_endian
    }

    /// Where the next byte is in the file.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Bytes of the whole file.
    pub(super) fn file_len(&self) -> usize {
        self.bytes.len()
    }

    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `length` bytes, which are, or are part of, `what`.
    pub(super) fn take(&mut self, length: usize, what: Arguments<'_>) -> Outcome<&'a [u8]> {
        let taken = self.bytes[self.at..].get(..length).ok_or_else(|| {
            let (at, missing) = (self.at, length - self.remaining());
            corrupt(format!("it ends within {what} at byte {at}: {missing} bytes are missing, if not more"))
        })?;
        self.at += length;
        Ok(taken)
    }

    /// The bytes of the next number, its lowest first.
    pub(super) fn number<const N: usize>(&mut self, what: Arguments<'_>) -> Outcome<[u8; N]> {
        let mut number = [0; N];
        number.copy_from_slice(self.take(N, what)?);
        Ok(self.ordered(number))
    }

    /// `number` as it lies in the file, its lowest byte first.
    pub(super) fn ordered<const N: usize>(&self, mut number: [u8; N]) -> [u8; N] {
        if self.is_big_endian {
            number.reverse();
        }
        number
    }

    pub(super) fn u32(&mut self, what: Arguments<'_>) -> Outcome<u32> {
        self.number(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: Arguments<'_>) -> Outcome<u64> {
        self.number(what).map(u64::from_le_bytes)
    }

    /// How many of `what` follow; each takes `min_bytes` or more of the file.
    pub(super) fn count(&mut self, what: Arguments<'_>, min_bytes: usize) -> Outcome<usize> {
        let count = self.u64(format_args!("the number of {what}"))?;
        let fits = |count: &usize| count.checked_mul(min_bytes).is_some_and(|bytes| bytes <= self.remaining());
        usize::try_from(count).ok().filter(fits).ok_or_else(|| {
            let (missing, at) = (u128::from(count) * min_bytes as u128 - self.remaining() as u128, self.at);
            corrupt(format!("it announces {count} {what} at byte {at}: {missing} bytes are missing, if not more"))
        })
    }

    /// The next string, which is `what`.
    pub(super) fn string(&mut self, what: Arguments<'_>) -> Outcome<String> {
        let length = self.count(format_args!("bytes of {what}"), 1)?;
        let at = self.at;
        let text = std::str::from_utf8(self.take(length, what)?)
            .map_err(|e| corrupt(format!("{what} at byte {at} isn't valid UTF-8: {e}")))?;
        self.charge(length, 1)?;
        Ok(text.to_owned())
    }

    /// Room for `count` values.
    pub(super) fn reserve<T>(&mut self, count: usize) -> Outcome<Vec<T>> {
        self.charge(count, size_of::<T>())?;
        Ok(Vec::with_capacity(count))
    }

    fn charge(&mut self, count: usize, bytes: usize) -> Outcome<()> {
        self.memory.take(count, bytes).ok_or_else(|| corrupt(memory::EXCEEDED))
    }

    /// Reads `count` entries, each the name of a `what` and then a value, that `read` reads by its name.
    pub(super) fn named<T>(
        &mut self,
        count: usize,
        what: &str,
        mut read: impl FnMut(&mut Self, &str) -> Outcome<T>,
    ) -> Outcome<Named<T>> {
        let mut entries = self.reserve(count)?;
        self.charge(count, named::ENTRY_BYTES)?;
        for place in 0..count {
            let name = self.string(format_args!("{what} {place}"))?;
            if name.len() > MAX_NAME_BYTES {
                return Err(corrupt(format!("{what} {place} is longer than {MAX_NAME_BYTES} bytes")));
            }
            let value = read(self, &name)?;
            entries.push((name, value));
        }
        Named::new(entries).map_err(|name| corrupt(format!("{what} `{name}` is there twice")))
    }
}
