//! The file of a repository that is a model by itself: `model-q4_k_m.gguf`, or the first of its shards.
//!
//! Invariant: the name ends in `.gguf`, is of letters, digits and a few marks, and stays inside the folder that it is put
//! in; of a set of shards it is the first, so that one model has one name. Source of the shards' names: llama.cpp's
//! `gguf-split`.

use std::fmt;

use crate::listing::is_safe;
use crate::select::shard_numbers;

const ENDING: &str = ".gguf";

/// The longest name of a file that common file systems take, less what is put around it on the way, in bytes.
const MAX_PART: usize = 200;

/// A path within a repository, with slashes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GgufName(String);

impl GgufName {
    /// `None` if that can't be the name of a model, as of a shard that isn't the first.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
        let is_valid = |part: &str| part.len() <= MAX_PART && part.bytes().all(good) && !part.starts_with('.');
        let valid = is_safe(name) && name.split('/').all(is_valid) && name.ends_with(ENDING);
        let name = Self(name.to_owned());
        (valid && name.shards().is_none_or(|(_, number, _)| number == 1)).then_some(name)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of all files of the model, in order.
    pub(crate) fn files(&self) -> impl Iterator<Item = String> {
        let (stem, count) = match self.shards() {
            Some((stem, _, count)) => (stem, Some(count)),
            None => (self.0.as_str(), None),
        };
        (1..=count.unwrap_or(1)).map(move |number| match count {
            Some(count) => format!("{stem}-{number:05}-of-{count:05}{ENDING}"),
            None => stem.to_owned(),
        })
    }

    /// `x-00002-of-00003.gguf` is `("x", 2, 3)`.
    fn shards(&self) -> Option<(&str, usize, usize)> {
        const NUMBERS: usize = "-00001-of-00002".len();
        let name = self.0.strip_suffix(ENDING)?;
        let (stem, numbers) = name.split_at_checked(name.len().checked_sub(NUMBERS)?)?;
        let (number, count) = shard_numbers(numbers.strip_prefix('-')?)?;
        (number >= 1 && number <= count).then_some((stem, number, count))
    }
}

impl fmt::Display for GgufName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> Vec<String> {
        GgufName::parse(name).expect(name).files().collect()
    }

    #[test]
    fn a_set_goes_by_its_first_shard() {
        assert_eq!(files("Q8/x-00001-of-00002.gguf"), ["Q8/x-00001-of-00002.gguf", "Q8/x-00002-of-00002.gguf"]);
        for plain in ["x.gguf", "-of-.gguf", "x-1-of-2.gguf", "x-00000-of-00000.gguf", "x-00003-of-00002.gguf"] {
            assert_eq!(files(plain), [plain]);
        }
        assert_eq!(GgufName::parse("x-00002-of-00002.gguf"), None);
    }

    #[test]
    fn names_that_cannot_be_a_model_are_none() {
        for name in ["", ".gguf", "x", "x.bin", "../x.gguf", "/x.gguf", "a//x.gguf", "a b.gguf", "a@b.gguf", "C:x.gguf"]
        {
            assert_eq!(GgufName::parse(name), None, "{name}");
        }
    }
}
