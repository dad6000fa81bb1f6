//! Files that `torch.save` wrote, cut and flipped: an error or tensors, never a panic.

use std::fs;
use std::sync::LazyLock;

use proptest::prelude::*;

use crate::builder::{only_the_whole_is_valid, open, refusal};
use crate::golden::folder;

const FILES: [&str; 6] =
    ["types.bin", "types_legacy.bin", "views.bin", "views_legacy.bin", "module.bin", "module_legacy.bin"];

static GOLDEN: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| FILES.iter().map(|name| fs::read(folder().join(name)).expect("readable")).collect());

#[test]
fn every_truncation_is_refused() {
    for whole in GOLDEN.iter() {
        only_the_whole_is_valid(whole);
    }
}

#[test]
fn bytes_before_or_behind_are_refused() {
    for whole in GOLDEN.iter() {
        refusal(&[whole.as_slice(), b"\0"].concat());
        refusal(&[b"\0", whole.as_slice()].concat());
        refusal(&[whole.as_slice(), whole.as_slice()].concat());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(
        file in 0..FILES.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = GOLDEN[file].clone();
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        drop(open(&bytes));
    }

    #[test]
    fn inserted_and_removed_bytes_never_panic(
        file in 0..FILES.len(),
        start in any::<prop::sample::Index>(),
        removed in 0..40_usize,
        inserted in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = GOLDEN[file].clone();
        let start = start.index(bytes.len());
        let end = bytes.len().min(start + removed);
        bytes.splice(start..end, inserted);
        drop(open(&bytes));
    }
}
