//! Files that the `gguf` package wrote, cut and flipped: an error or tensors, never a panic.

use std::fs;
use std::sync::LazyLock;

use gllm_core::{Error, LoadProblem};
use proptest::prelude::*;

use crate::builder::{open, open_at};
use crate::golden::{self, folder};

const FILES: [&str; 5] = ["little.gguf", "big.gguf", "blocks.gguf", "aligned.gguf", "no_tensors.gguf"];

static GOLDEN: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| FILES.iter().map(|name| fs::read(folder().join(name)).expect("readable")).collect());

/// Where the content of the file ends; what follows pads it.
fn end(name: &str) -> u64 {
    let file = golden::open(name);
    let whole = fs::metadata(file.path()).expect("a file").len();
    let Some(last) = file.names().last().and_then(|name| file.get(name)) else {
        // Its last string doesn't end in a zero.
        let bytes = fs::read(file.path()).expect("readable");
        return bytes.iter().rposition(|byte| *byte != 0).expect("not all are zeros") as u64 + 1;
    };
    let padded = last.bytes.len().next_multiple_of(file.alignment());
    whole - (padded - last.bytes.len()) as u64
}

#[test]
fn every_truncation_is_refused() {
    for (name, whole) in FILES.iter().zip(GOLDEN.iter()) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), whole).expect("writable");
        let end = end(name);
        for length in end..=whole.len() as u64 {
            let bytes = &whole[..usize::try_from(length).expect("small")];
            open(bytes).unwrap_or_else(|e| panic!("{name}, {length} bytes: {e}"));
        }
        for length in (0..end).rev() {
            file.as_file().set_len(length).expect("writable");
            let Err(Error::LoadError(error)) = open_at(file.path()) else { panic!("{name}, {length} bytes") };
            let reason = error.problem.to_string();
            assert!(matches!(error.problem, LoadProblem::Corrupt { .. }), "{reason}");
            // Shorter than its magic it is of no format, and its version is known whole or not at all.
            assert!(length < 8 || reason.contains("missing"), "{name}, {length} bytes: {reason}");
        }
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
