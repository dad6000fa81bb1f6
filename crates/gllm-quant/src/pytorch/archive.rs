//! The zip archive that `torch.save` writes: one pickle, and one stored entry for each storage.
//!
//! What isn't one of the entries that PyTorch writes is refused by name, which also refuses archives of other
//! programs and archives within the archive. Source: `caffe2/serialize/inline_container.cc` of PyTorch 2.

use std::collections::BTreeMap;
use std::ops::Range;

use super::objects::Storage;
use super::zip::{self, Entry};
use super::{Outcome, charge, corrupt, of_declared_size, unsupported};
use crate::memory::{GROWING, Memory};

/// Names below the archive's folder that say nothing of the tensors start with it.
const INTERNAL: char = '.';
/// The newest version of the container that PyTorch 2 reads.
const MAX_VERSION: u64 = 10;

/// Where the parts of an archive are, all within the file.
#[derive(Debug)]
pub(super) struct Archive {
    pickle: Range<usize>,
    storages: BTreeMap<String, Range<usize>>,
}

impl Archive {
    /// Finds the parts of the archive that is all of `bytes`.
    pub(super) fn parse(bytes: &[u8], memory: &mut Memory) -> Outcome<Self> {
        let mut folder = None;
        let mut pickle = None;
        let mut has_version = false;
        let mut storages = BTreeMap::new();
        for Entry { name, data } in zip::entries(bytes, memory)? {
            let (its_folder, part) = name.split_once('/').unwrap_or(("", name));
            if *folder.get_or_insert(its_folder) != its_folder {
                return Err(corrupt(format!("entry `{name}` of the archive is in another folder than the first one")));
            }
            let content = &bytes[data.clone()];
            match part {
                "data.pkl" => pickle = Some(data),
                "version" => {
                    check_version(content)?;
                    has_version = true;
                }
                "byteorder" => check_byte_order(content)?,
                _ => match part.strip_prefix("data/") {
                    Some(key) => {
                        charge(memory, 1, key.len() + GROWING * size_of::<(String, Range<usize>)>())?;
                        storages.insert(key.to_owned(), data);
                    }
                    None if part.starts_with(INTERNAL) => {}
                    None => {
                        let supported = "`data.pkl`, `data/…`, `version` and `byteorder`";
                        return Err(unsupported("entry of the archive", name, supported));
                    }
                },
            }
        }
        if !has_version {
            return Err(corrupt("the archive has no `version`"));
        }
        let pickle = pickle.ok_or_else(|| corrupt("the archive has no `data.pkl`"))?;
        Ok(Self { pickle, storages })
    }

    /// Where the pickle is.
    pub(super) fn pickle(&self) -> Range<usize> {
        self.pickle.clone()
    }

    /// Where `storage` is, which is as long as it says.
    pub(super) fn storage(&self, storage: &Storage<'_>) -> Outcome<Range<usize>> {
        let range = self.storages.get(storage.key).cloned();
        of_declared_size(storage, range.ok_or_else(|| corrupt(format!("no entry `data/{}`", storage.key)))?)
    }
}

fn check_version(content: &[u8]) -> Outcome<()> {
    let text = String::from_utf8_lossy(&content[..content.len().min(20)]);
    let version = text.trim_end().parse::<u64>().ok();
    if version.is_none_or(|version| !(1..=MAX_VERSION).contains(&version)) {
        return Err(unsupported("container version", text.trim_end(), &format!("1 to {MAX_VERSION}")));
    }
    Ok(())
}

fn check_byte_order(content: &[u8]) -> Outcome<()> {
    if content == b"little" {
        return Ok(());
    }
    let found = String::from_utf8_lossy(&content[..content.len().min(20)]);
    Err(unsupported("byte order", found, "little"))
}
