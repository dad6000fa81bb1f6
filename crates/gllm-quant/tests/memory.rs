//! What opening a file takes in memory, whatever the file says: a process of its own, because memory is counted for the
//! whole of one.

use std::fs;
use std::path::Path;

use gllm_core::Result;
use gllm_quant::WeightFiles;
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const FILES: [&str; 4] = ["little.gguf", "big.gguf", "blocks.gguf", "aligned.gguf"];

/// Opens a file of these bytes, lists its tensors, and checks what that took at most at any time.
fn open(bytes: &[u8]) -> Result<WeightFiles> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("writable");
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let opened = WeightFiles::open_file(file.path());
    let names = opened.as_ref().map_or(0, |files| files.names().count());
    let taken = MEMORY.peak_usage() - before;
    // The path and a message are neither of the file nor of its header.
    let limit = bytes.len() + bytes.len() / 2 + (16 << 20) + 4096;
    assert!(taken <= limit, "{taken} bytes for a file of {} with {names} tensors", bytes.len());
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

/// Tensors with the longest names.
fn long_names(count: u32) -> Vec<u8> {
    let mut bytes = header(count.into(), 0);
    for number in 0..count {
        let name = format!("{number:065535}");
        bytes.extend([&65_535_u64.to_le_bytes()[..], name.as_bytes(), &1_u32.to_le_bytes()].concat());
        bytes.extend(
            [&1_u64.to_le_bytes()[..], &24_u32.to_le_bytes(), &(32 * u64::from(number)).to_le_bytes()].concat(),
        );
    }
    bytes.resize(bytes.len() + 32 * (count as usize + 1), 0);
    bytes
}

fn gguf() {
    mutations();
    for count in [100_000, 1_000_000, 1_398_000, 2_000_000] {
        let opened = open(&empty_strings(count));
        assert_eq!(opened.is_ok(), count <= 1_398_000, "{count}");
    }
    open(&large_key()).expect_err("a key so long");
    open(&large_alignment()).expect_err("no number");
    for count in [50_000, 1_000_000] {
        assert_eq!(open(&many_keys(count)).is_ok(), count == 50_000, "{count}");
        assert_eq!(open(&many_tensors(count)).is_ok(), count == 50_000, "{count}");
    }
    open(&long_names(1000)).expect("all of its names");
}

/// A safetensors file of this header and so many bytes of data.
fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn safetensors_files() {
    let tensor = |name: &str| format!(r#""{name}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#);
    let tensors = |count: u32| (0..count).map(|number| tensor(&number.to_string())).collect::<Vec<_>>().join(",");
    for (count, is_worth) in [(10_000, true), (500_000, false)] {
        assert_eq!(open(&safetensors(&format!("{{{}}}", tensors(count)), 0)).is_ok(), is_worth, "{count}");
    }
    let ones = vec!["1"; 3_000_000].join(",");
    open(&safetensors(&format!(r#"{{"a":{{"dtype":"U8","shape":[{ones}],"data_offsets":[0,1]}}}}"#), 1))
        .expect_err("three million dimensions");
    // Escapes, so that the parser makes a copy; at the end, so that it is copied once more.
    let text = format!("{}\\n", "x".repeat(30_000_000));
    for header in [
        format!(r#"{{"__metadata__":{{"a":"{text}"}}}}"#),
        format!(r#"{{"{text}":1}}"#),
        format!(r#"{{"a":{{"dtype":"{text}","shape":[],"data_offsets":[0,0]}}}}"#),
        format!(r#"{{"a":{{"{text}":[]}}}}"#),
    ] {
        open(&safetensors(&header, 0)).expect_err("so long a text");
    }
    let texts: Vec<_> = (0..500_000).map(|number| format!(r#""{number}":"""#)).collect();
    open(&safetensors(&format!(r#"{{"__metadata__":{{{}}}}}"#, texts.join(",")), 0)).expect_err("so many texts");
}

/// A checkpoint of before PyTorch 1.6, of this state dict and one storage of six floats.
fn pytorch(state_dict: &[u8]) -> Vec<u8> {
    let pickle = |opcodes: &[u8]| [b"\x80\x02", opcodes, b"."].concat();
    let magic = pickle(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");
    let machine = pickle(b"}X\x0d\0\0\0little_endian\x88s");
    let keys = pickle(b"]X\x01\0\0\x000a");
    let storage = [&6_i64.to_le_bytes()[..], &[0; 24]].concat();
    [magic, pickle(b"M\xe9\x03"), machine, pickle(state_dict), keys, storage].concat()
}

fn pytorch_files() {
    for opcode in [b"\x85".as_slice(), b"q\0h\0a", b"}q\0h\0h\0s", b"(NNNNt"] {
        let repeated = [b")".as_slice(), &opcode.repeat(2_000_000 / opcode.len())].concat();
        open(&pytorch(&repeated)).expect_err("so many objects");
    }
    // One tensor, memorised, by many names.
    let tensor = b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ\
        K\0(K\x06t(K\x01t\x89}tRq\0";
    let dict = |count: u32| {
        let names = (0..count).flat_map(|number| [b"X\x08\0\0\0", format!("{number:08}").as_bytes(), b"h\0s"].concat());
        [b"}X\x01\0\0\0t".as_slice(), tensor, b"s", &names.collect::<Vec<_>>()].concat()
    };
    for (count, is_worth) in [(10_000, true), (500_000, false)] {
        let opened = open(&pytorch(&dict(count)));
        assert_eq!(opened.is_ok(), is_worth, "{count}: {:?}", opened.err());
    }
}

#[test]
fn opening_takes_little_more_than_the_file() {
    gguf();
    safetensors_files();
    pytorch_files();
}
