//! The directory of a zip archive whose entries are stored: where each entry's bytes are.
//!
//! Read by hand, because libraries look for an archive anywhere in a file and go on from records that
//! contradict each other; here the archive is the whole file, and directory, local headers and end
//! records agree. Entries never overlap. Nothing is inflated, and nothing is reserved by a count that the
//! file states. Source: APPNOTE.TXT of PKWARE, 6.3.10, sections 4.3.7 to 4.3.16 and 4.5.3.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Outcome, charge, corrupt, unsupported};
use crate::memory::{GROWING, Memory};

const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const LOCAL_HEADER_LENGTH: usize = 30;
const DIRECTORY_HEADER: &[u8] = b"PK\x01\x02";
const DIRECTORY_HEADER_LENGTH: usize = 46;
const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const END_64: &[u8] = b"PK\x06\x06";
const END_64_LENGTH: usize = 56;
const END_64_LOCATOR: &[u8] = b"PK\x06\x07";
const END_64_LOCATOR_LENGTH: usize = 20;
/// The id of the extra field with the values that don't fit.
const EXTRA_64: u64 = 1;

/// Encryption, strong encryption, and a directory that is encrypted too.
const ENCRYPTED: u64 = 1 | 1 << 6 | 1 << 13;
/// Sizes follow the data, and the local header may have zeros.
const HAS_DESCRIPTOR: u64 = 1 << 3;
/// What stands in a field whose value is in the extra field.
const IN_EXTRA: u64 = 0xffff_ffff;

/// A stored entry.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Its path within the archive; no other entry has the same.
    pub(super) name: &'a str,
    /// Its bytes, which lie in the file.
    pub(super) data: Range<usize>,
}

/// Whether `bytes` open as an archive does that holds something.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(LOCAL_HEADER)
}

/// The entries of the archive that is all of `bytes`.
pub(super) fn entries<'a>(bytes: &'a [u8], memory: &mut Memory) -> Outcome<Vec<Entry<'a>>> {
    let (directory, count) = find_directory(bytes)?;
    let mut entries = Vec::new();
    let mut names = BTreeSet::new();
    // From the local header to the end of the data.
    let mut extents = Vec::new();
    let mut position = directory.start;
    while position < directory.end {
        let header = Header::parse(&bytes[position..directory.end]).ok_or_else(|| {
            corrupt(format!("header {} of {count} in its zip directory is invalid", entries.len() + 1))
        })?;
        position += header.length;
        let extent = header.check()?.locate(&bytes[..directory.start])?;
        charge(memory, GROWING, size_of::<(&str, Entry<'_>, (usize, usize, &str))>())?;
        if !names.insert(header.name) {
            return Err(corrupt(format!("entry `{}` of the archive is there twice", header.name)));
        }
        entries.push(Entry { name: header.name, data: extent.end - header.size..extent.end });
        extents.push((extent.start, extent.end, header.name));
    }
    if Ok(count) != u64::try_from(entries.len()) {
        return Err(corrupt(format!("its zip directory has {} entries, {count} were announced", entries.len())));
    }
    extents.sort_unstable();
    for pair in extents.windows(2) {
        let [(_, end, one), (start, _, other)] = pair else { continue };
        if start < end {
            return Err(corrupt(format!("entries `{one}` and `{other}` of the archive overlap")));
        }
    }
    Ok(entries)
}

/// Where the directory is, and how many entries it announces.
fn find_directory(bytes: &[u8]) -> Outcome<(Range<usize>, u64)> {
    let cut = || corrupt("its zip archive doesn't end where the file does; the file may be cut");
    let contradiction = || corrupt("the end records of its zip archive contradict each other or the file");

    let end_at = bytes.len().checked_sub(END_LENGTH).ok_or_else(cut)?;
    let end = Fields(&bytes[end_at..]);
    if !end.0.starts_with(END) || end.get(20, 2) != Some(0) {
        return Err(cut());
    }
    let mut directory_end = end_at;
    // This disk and the directory's; entries on this disk and all entries; the directory's length and offset.
    let mut values = [(4, 2), (6, 2), (8, 2), (10, 2), (12, 4), (16, 4)].map(|(at, length)| end.get(at, length));

    let locator = end_at.checked_sub(END_64_LOCATOR_LENGTH).map(|at| (at, Fields(&bytes[at..end_at])));
    if let Some((locator_at, locator)) = locator.filter(|(_, locator)| locator.0.starts_with(END_64_LOCATOR)) {
        let end_64_at = locator_at.checked_sub(END_64_LENGTH).ok_or_else(contradiction)?;
        let end_64 = Fields(&bytes[end_64_at..locator_at]);
        let is_located = locator.get(4, 4) == Some(0)
            && locator.get(8, 8).and_then(|at| usize::try_from(at).ok()) == Some(end_64_at)
            && locator.get(16, 4) == Some(1);
        // The record's length is without its first two fields.
        if !end_64.0.starts_with(END_64) || end_64.get(4, 8) != Some(END_64_LENGTH as u64 - 12) || !is_located {
            return Err(contradiction());
        }
        let full = [(16, 4), (20, 4), (24, 8), (32, 8), (40, 8), (48, 8)].map(|(at, length)| end_64.get(at, length));
        let agree = values.iter().zip(&full).enumerate().all(|(place, (short, full))| {
            let too_large = if place < 4 { 0xffff } else { IN_EXTRA };
            short == full || *short == Some(too_large)
        });
        if !agree {
            return Err(contradiction());
        }
        (values, directory_end) = (full, end_64_at);
    }

    let [Some(0), Some(0), Some(on_disk), Some(count), Some(length), Some(offset)] = values else {
        return Err(contradiction());
    };
    let start = usize::try_from(offset).ok();
    let end = start.zip(usize::try_from(length).ok()).and_then(|(start, length)| start.checked_add(length));
    match start.zip(end) {
        Some((start, end)) if end == directory_end && on_disk == count => Ok((start..end, count)),
        _ => Err(contradiction()),
    }
}

/// Little-endian numbers at fixed places.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// The number of at most 8 bytes at `at`, if it is there.
    fn get(self, at: usize, length: usize) -> Option<u64> {
        let bytes = self.0.get(at..at.checked_add(length)?)?;
        let mut number = [0; 8];
        number.get_mut(..length)?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(number))
    }

    fn length(self, at: usize) -> Option<usize> {
        usize::try_from(self.get(at, 2)?).ok()
    }
}

/// A header of the directory.
struct Header<'a> {
    name: &'a str,
    flags: u64,
    method: u64,
    compressed: u64,
    /// Of the data.
    size: usize,
    /// Where the local header is.
    offset: usize,
    /// Of this header, all of it.
    length: usize,
}

impl<'a> Header<'a> {
    /// Reads the header that `bytes` start with.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let fields = Fields(bytes);
        if !bytes.starts_with(DIRECTORY_HEADER) || fields.get(34, 2)? != 0 {
            return None;
        }
        let name_end = DIRECTORY_HEADER_LENGTH + fields.length(28)?;
        let extra_end = name_end + fields.length(30)?;
        let length = extra_end + fields.length(32)?;
        bytes.get(..length)?;

        let mut values = [fields.get(24, 4)?, fields.get(20, 4)?, fields.get(42, 4)?];
        if values.contains(&IN_EXTRA) {
            // The extra field has, in this order, those values that are missing.
            let mut extra = Fields(find_extra_64(&bytes[name_end..extra_end])?);
            for value in values.iter_mut().filter(|value| **value == IN_EXTRA) {
                *value = extra.get(0, 8)?;
                extra = Fields(&extra.0[8..]);
            }
        }
        let [size, compressed, offset] = values;
        Some(Self {
            name: std::str::from_utf8(&bytes[DIRECTORY_HEADER_LENGTH..name_end]).ok()?,
            flags: fields.get(8, 2)?,
            method: fields.get(10, 2)?,
            compressed,
            size: usize::try_from(size).ok()?,
            offset: usize::try_from(offset).ok()?,
            length,
        })
    }

    /// The header, if it is of an entry that is neither compressed nor encrypted.
    fn check(&self) -> Outcome<&Self> {
        let refused = |how: &str| {
            let supported = "entries that are stored as they are, as torch.save writes them";
            Err(unsupported("entry of the archive", format!("{} ({how})", self.name), supported))
        };
        match self.method {
            _ if self.flags & ENCRYPTED != 0 => refused("encrypted"),
            0 if u64::try_from(self.size) == Ok(self.compressed) => Ok(self),
            0 => Err(corrupt(format!("entry `{}` of the archive is stored, but has two sizes", self.name))),
            8 => refused("deflated"),
            other => refused(&format!("compressed by method {other}")),
        }
    }

    /// From the start of the local header to the end of the data, in `bytes`: all that is before the directory.
    fn locate(&self, bytes: &[u8]) -> Outcome<Range<usize>> {
        let outside = || corrupt(format!("entry `{}` of the archive ends outside of the file", self.name));
        let local = Fields(bytes.get(self.offset..).ok_or_else(outside)?);
        let is_size = |size: u64| {
            let is_later = self.flags & HAS_DESCRIPTOR != 0 && size == 0;
            is_later || size == IN_EXTRA || size == self.compressed
        };
        let header = || {
            let name_end = LOCAL_HEADER_LENGTH.checked_add(local.length(26)?)?;
            let data_start = name_end.checked_add(local.length(28)?)?;
            let agrees = local.0.starts_with(LOCAL_HEADER)
                && local.get(6, 2)? == self.flags
                && local.get(8, 2)? == self.method
                && is_size(local.get(18, 4)?)
                && is_size(local.get(22, 4)?)
                && local.0.get(LOCAL_HEADER_LENGTH..name_end)? == self.name.as_bytes();
            agrees.then_some(data_start)
        };
        let data_start = header()
            .ok_or_else(|| corrupt(format!("entry `{}` of the archive isn't where its directory says", self.name)))?;
        let end = data_start.checked_add(self.size).and_then(|end| end.checked_add(self.offset));
        let end = end.filter(|end| *end <= bytes.len()).ok_or_else(outside)?;
        Ok(self.offset..end)
    }
}

/// The content of the extra field with numbers of 64 bits.
fn find_extra_64(mut extra: &[u8]) -> Option<&[u8]> {
    loop {
        let fields = Fields(extra);
        let (id, end) = (fields.get(0, 2)?, 4 + fields.length(2)?);
        let content = extra.get(4..end)?;
        if id == EXTRA_64 {
            return Some(content);
        }
        extra = &extra[end..];
    }
}
