//! What opening a GGUF file takes in memory, whatever the file says: a process of its own, because memory is counted
//! for the whole of one.

use std::fs;
use std::path::Path;

use gllm_core::Result;
use gllm_quant::gguf::GgufFile;
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const FILES: [&str; 4] = ["little.gguf", "big.gguf", "blocks.gguf", "aligned.gguf"];

/// Opens a file of these bytes, and checks what that took at most at any time.
fn open(bytes: &[u8]) -> Result<GgufFile> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("writable");
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let opened = GgufFile::open(file.path());
    let taken = MEMORY.peak_usage() - before;
    // The path and a message are neither of the file nor of its header.
    let limit = bytes.len() + bytes.len() / 2 + (16 << 20) + 4096;
    assert!(taken <= limit, "{taken} bytes for a file of {}", bytes.len());
    opened
}

fn header(tensors: u64, keys: u64) -> Vec<u8> {
    [b"GGUF", &3_u32.to_le_bytes()[..], &tensors.to_le_bytes(), &keys.to_le_bytes()].concat()
}

fn mutations() {
    let folder = Path::new("../../tests/golden/gguf");
    let golden = FILES.map(|name| fs::read(folder.join(name)).expect("readable"));
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() });
    let outcome = runner.run(&(0..FILES.len(), flips), |(file, flips)| {
        let mut bytes = golden[file].clone();
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        drop(open(&bytes));
        Ok(())
    });
    outcome.unwrap_or_else(|e| panic!("{e}"));
}

/// An array of strings that are empty: three times as large in memory.
fn empty_strings(count: u64) -> Vec<u8> {
    let mut bytes = header(0, 1);
    bytes.extend([&1_u64.to_le_bytes()[..], b"k", &9_u32.to_le_bytes(), &8_u32.to_le_bytes()].concat());
    bytes.extend(count.to_le_bytes());
    bytes.resize(bytes.len() + 8 * usize::try_from(count).expect("not that many"), 0);
    bytes
}

fn many_keys(count: u32) -> Vec<u8> {
    let mut bytes = header(0, count.into());
    for number in 0..count {
        bytes.extend([&8_u64.to_le_bytes()[..], format!("{number:08}").as_bytes()].concat());
        bytes.extend([&0_u32.to_le_bytes()[..], b"\0"].concat());
    }
    bytes
}

fn many_tensors(count: u32) -> Vec<u8> {
    let mut bytes = header(count.into(), 0);
    for number in 0..count {
        bytes.extend([&8_u64.to_le_bytes()[..], format!("{number:08}").as_bytes(), &1_u32.to_le_bytes()].concat());
        bytes.extend(
            [&1_u64.to_le_bytes()[..], &24_u32.to_le_bytes(), &(32 * u64::from(number)).to_le_bytes()].concat(),
        );
    }
    bytes.resize(bytes.len() + 32 * (count as usize + 1), 0);
    bytes
}

/// A key that is large, and larger still in a message that quotes it, since nobody knows its value's type.
fn large_key() -> Vec<u8> {
    let large = 40_000_000_usize;
    let mut bytes = header(0, 1);
    bytes.extend((large as u64).to_le_bytes());
    bytes.resize(bytes.len() + large, b'k');
    bytes.extend([99; 8]);
    bytes
}

/// A value that is large, and larger still in a message that quotes it, since it is no number.
fn large_alignment() -> Vec<u8> {
    let large = 40_000_000_usize;
    let mut bytes = header(0, 1);
    bytes.extend([&17_u64.to_le_bytes()[..], b"general.alignment", &8_u32.to_le_bytes()].concat());
    bytes.extend((large as u64).to_le_bytes());
    bytes.resize(bytes.len() + large, b'\n');
    bytes
}

#[test]
fn opening_takes_little_more_than_the_file() {
    mutations();
    for count in [100_000, 1_000_000, 1_398_000, 2_000_000] {
        let opened = open(&empty_strings(count));
        assert_eq!(opened.is_ok(), count <= 1_398_000, "{count}");
    }
    open(&large_key()).expect_err("a key so long");
    open(&large_alignment()).expect_err("no number");
    for count in [100_000, 1_000_000] {
        assert_eq!(open(&many_keys(count)).is_ok(), count == 100_000, "{count}");
        assert_eq!(open(&many_tensors(count)).is_ok(), count == 100_000, "{count}");
    }
}
