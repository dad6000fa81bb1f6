//! The file that `torch.save` wrote before PyTorch 1.6: five pickles, then the storages.
//!
//! The pickles are a magic number, the version of the protocol, the machine's properties, the object, and
//! the keys of the storages in the order in which they follow, each a length in elements and the elements.
//! The last storage ends where the file does. Source: `_legacy_save` in `torch/serialization.py`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::objects::{Storage, Value};
use super::pickle::{self, Pickle};
use super::{Outcome, charge, corrupt, of_declared_size, unsupported};
use crate::memory::{GROWING, Memory};

/// 0x1950a86a20f9469cfc6c, little-endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL: i64 = 1001;

/// Whether `bytes` open as a pickle does.
pub(super) fn is_pickle(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x80")
}

/// The parts of a file.
#[derive(Debug)]
pub(super) struct LegacyFile<'a> {
    /// The pickled state dict.
    pub(super) state_dict: Pickle<'a>,
    storages: BTreeMap<&'a str, Range<usize>>,
}

impl LegacyFile<'_> {
    /// Where `storage` is, which is as long as it says.
    pub(super) fn storage(&self, storage: &Storage<'_>) -> Outcome<Range<usize>> {
        let range = self.storages.get(storage.key).cloned();
        of_declared_size(storage, range.ok_or_else(|| corrupt(format!("no storage `{}`", storage.key)))?)
    }
}

/// Finds the parts of the file that is all of `bytes`.
pub(super) fn parse<'a>(bytes: &'a [u8], memory: &mut Memory) -> Outcome<LegacyFile<'a>> {
    let magic = pickle::parse(bytes, 0, memory)?;
    if !matches!(magic.root, Value::LongInteger(number) if number == MAGIC) {
        return Err(corrupt("a pickle that doesn't open with PyTorch's magic number"));
    }
    let protocol = pickle::parse(bytes, magic.end, memory)?;
    if !matches!(protocol.root, Value::Integer(PROTOCOL)) {
        return Err(corrupt(format!("the protocol version isn't {PROTOCOL}")));
    }
    let machine = pickle::parse(bytes, protocol.end, memory)?;
    check_machine(&machine)?;
    let state_dict = pickle::parse(bytes, machine.end, memory)?;
    let keys = pickle::parse(bytes, state_dict.end, memory)?;
    // Their sizes, and then their places.
    let n_storages = state_dict.objects.storages().len();
    charge(memory, 2 * n_storages, GROWING * size_of::<(&str, Range<usize>)>())?;
    let storages = find_storages(bytes, keys.end, &keys, state_dict.objects.storages())?;
    Ok(LegacyFile { state_dict, storages })
}

fn check_machine(machine: &Pickle<'_>) -> Outcome<()> {
    let Value::Dict(properties) = machine.root else {
        return Err(corrupt(format!("the machine's properties are {}", machine.root.kind())));
    };
    let mut properties = machine.objects.dict(properties).iter();
    match properties.find(|(name, _)| matches!(name, Value::Text("little_endian"))) {
        Some((_, Value::Bool(true))) => Ok(()),
        Some((_, Value::Bool(false))) => Err(unsupported("byte order", "big", "little")),
        _ => Err(corrupt("the machine's properties don't say `little_endian`")),
    }
}

/// Where the storages called `keys` are, which follow each other from `start` to the end of the file.
fn find_storages<'a>(
    bytes: &[u8],
    start: usize,
    keys: &Pickle<'a>,
    declared: &[Storage<'_>],
) -> Outcome<BTreeMap<&'a str, Range<usize>>> {
    let Value::List(keys_place) = keys.root else {
        return Err(corrupt(format!("the storages' keys are {}", keys.root.kind())));
    };
    let mut sizes = BTreeMap::new();
    for storage in declared {
        let (key, size) = (storage.key, storage.element_size());
        let first = *sizes.entry(key).or_insert(size);
        if first != size {
            return Err(corrupt(format!("storage `{key}` is declared with elements of {first} and of {size} bytes")));
        }
    }
    let mut storages = BTreeMap::new();
    let mut position = start;
    for key in keys.objects.list(keys_place) {
        let Value::Text(key) = *key else { return Err(corrupt(format!("a storage's key is {}", key.kind()))) };
        let size = sizes.get(key).ok_or_else(|| corrupt(format!("storage `{key}` is no tensor's")))?;
        let cut = || corrupt(format!("the file ends within storage `{key}`; it may be cut"));
        let rest = bytes.get(position..).unwrap_or_default();
        let elements = i64::from_le_bytes(*rest.first_chunk().ok_or_else(cut)?);
        let length = usize::try_from(elements).ok().and_then(|elements| elements.checked_mul(*size));
        let end = length.and_then(|length| length.checked_add(position + size_of::<i64>()));
        let end = end.filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
        if storages.insert(key, position + size_of::<i64>()..end).is_some() {
            return Err(corrupt(format!("storage `{key}` is there twice")));
        }
        position = end;
    }
    if position != bytes.len() {
        return Err(corrupt(format!("{} bytes follow the last storage", bytes.len() - position)));
    }
    Ok(storages)
}
