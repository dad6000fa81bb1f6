//! Values by name, in the order of a file. Invariant: no name is there twice.

use std::cmp::Ordering;

/// Bytes of the longest name of a tensor or key, so that none fills a message.
pub(crate) const MAX_NAME_BYTES: usize = 65_535;

/// Bytes that an entry takes beside its name and its value: its place, and its parts of lists of names, by file and of
/// all files.
pub(crate) const ENTRY_BYTES: usize = size_of::<usize>() + size_of::<&str>() + size_of::<(&str, usize)>();

/// The entries of a file, and an index over their names.
#[derive(Debug)]
pub(crate) struct Named<T> {
    entries: Vec<(String, T)>,
    /// Places in `entries`, in the order of their names.
    by_name: Vec<usize>,
}

impl<T> Named<T> {
    /// Takes the entries of a file, or gives the name that two of them have.
    pub(crate) fn new(entries: Vec<(String, T)>) -> Result<Self, String> {
        let mut by_name: Vec<_> = (0..entries.len()).collect();
        let name = |place: usize| entries[place].0.as_str();
        by_name.sort_unstable_by_key(|place| name(*place));
        match by_name.windows(2).find(|pair| name(pair[0]) == name(pair[1])) {
            Some(pair) => Err(name(pair[0]).to_owned()),
            None => Ok(Self { entries, by_name }),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        let order = |place: &usize| -> Ordering { self.entries[*place].0.as_str().cmp(name) };
        let place = self.by_name.binary_search_by(order).ok()?;
        Some(&self.entries[self.by_name[place]].1)
    }

    /// The entries, in file order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The values, in file order.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = (&str, &mut T)> {
        self.entries.iter_mut().map(|(name, value)| (name.as_str(), value))
    }
}
