//! Values by name, in the order of the file. Invariant: no name is there twice.

use std::cmp::Ordering;

use super::cursor::Cursor;
use super::{Outcome, corrupt};

/// The entries of a file, and an index over their names.
pub(super) struct Named<T> {
    entries: Vec<(String, T)>,
    /// Places in `entries`, in the order of their names.
    by_name: Vec<usize>,
}

impl<T> Named<T> {
    /// Reads `count` entries, each a `what` and then a value, that `read` reads by its name.
    pub(super) fn read(
        cursor: &mut Cursor<'_>,
        count: usize,
        what: &str,
        mut read: impl FnMut(&mut Cursor<'_>, &str) -> Outcome<T>,
    ) -> Outcome<Self> {
        let mut entries = cursor.reserve(count)?;
        let mut by_name = cursor.reserve(count)?;
        for place in 0..count {
            let name = cursor.string(format_args!("{what} {place}"))?;
            let value = read(cursor, &name)?;
            entries.push((name, value));
            by_name.push(place);
        }
        let named = Self::sorted(entries, by_name);
        match named.duplicate() {
            Some(name) => Err(corrupt(format!("{what} `{name}` is there twice"))),
            None => Ok(named),
        }
    }

    fn sorted(entries: Vec<(String, T)>, mut by_name: Vec<usize>) -> Self {
        by_name.sort_unstable_by_key(|place| entries[*place].0.as_str());
        Self { entries, by_name }
    }

    fn duplicate(&self) -> Option<&str> {
        let name = |place: usize| self.entries[place].0.as_str();
        self.by_name.windows(2).find(|pair| name(pair[0]) == name(pair[1])).map(|pair| name(pair[0]))
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        let order = |place: &usize| -> Ordering { self.entries[*place].0.as_str().cmp(name) };
        let place = self.by_name.binary_search_by(order).ok()?;
        Some(&self.entries[self.by_name[place]].1)
    }

    /// The entries, in file order.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The values, in file order.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = (&str, &mut T)> {
        self.entries.iter_mut().map(|(name, value)| (name.as_str(), value))
    }
}
