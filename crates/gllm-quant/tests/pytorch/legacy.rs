//! Files as `torch.save` wrote them before PyTorch 1.6, and what they may not be.

use gllm_quant::DType;

use crate::builder::{
    global, integer, is_refused, only_the_whole_is_valid, open, persistent, pickle, state_dict, tensor, text, tuple,
};

const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

/// The parts of a file, to be changed one at a time.
struct Parts {
    magic: Vec<u8>,
    protocol: Vec<u8>,
    machine: Vec<u8>,
    state_dict: Vec<u8>,
    keys: Vec<u8>,
    storages: Vec<u8>,
}

/// A storage of two halves, then one of six floats.
fn parts() -> Parts {
    let halves = tensor(storage("HalfStorage", "k1", 2, b"N"), 0, &[2], &[1]);
    let floats = tensor(storage("FloatStorage", "k2", 6, b"N"), 1, &[2, 2], &[3, 1]);
    let halves_bytes = [0x3c00_u16, 0xc000].map(u16::to_le_bytes).concat();
    let floats_bytes = [0.0_f32, 1.0, 2.0, 3.0, 4.0, 5.0].map(f32::to_le_bytes).concat();
    Parts {
        magic: pickle(MAGIC),
        protocol: pickle(&integer(1001)),
        machine: machine(b"\x88"),
        state_dict: state_dict(&[("halves", halves), ("floats", floats)]),
        keys: keys(&["k1", "k2"]),
        storages: [&2_i64.to_le_bytes()[..], &halves_bytes, &6_i64.to_le_bytes(), &floats_bytes].concat(),
    }
}

impl Parts {
    fn file(&self) -> Vec<u8> {
        [&*self.magic, &self.protocol, &self.machine, &self.state_dict, &self.keys, &self.storages].concat()
    }
}

fn machine(little_endian: &[u8]) -> Vec<u8> {
    let sizes = [b"}(", text("short").as_slice(), b"K\x02", &text("int"), b"K\x04u"].concat();
    let items = [text("protocol_version"), integer(1001), text("little_endian"), little_endian.to_vec()].concat();
    pickle(&[b"}(", items.as_slice(), &text("type_sizes"), &sizes, b"u"].concat())
}

fn keys(keys: &[&str]) -> Vec<u8> {
    pickle(&[b"](", keys.iter().flat_map(|key| text(key)).collect::<Vec<_>>().as_slice(), b"e"].concat())
}

fn storage(class: &str, key: &str, elements: i64, view: &[u8]) -> Vec<u8> {
    let class = global("torch", class);
    persistent(&[text("storage"), class, text(key), text("cpu"), integer(elements), view.to_vec()])
}

#[track_caller]
fn refused(change: impl FnOnce(&mut Parts), with: &str) {
    let mut parts = parts();
    change(&mut parts);
    is_refused(&parts.file(), with);
}

#[test]
fn a_file_gives_its_tensors() {
    let files = open(&parts().file()).expect("valid");
    let (halves, _) = files.get("halves").expect("there");
    assert_eq!((halves.dtype, halves.dtype.to_f32(&halves.bytes)), (DType::F16, Some(vec![1.0, -2.0])));
    let (floats, _) = files.get("floats").expect("there");
    assert_eq!((floats.dtype, floats.dtype.to_f32(&floats.bytes)), (DType::F32, Some(vec![1.0, 2.0, 4.0, 5.0])));
}

#[test]
fn every_truncation_is_refused() {
    only_the_whole_is_valid(&parts().file());
}

#[test]
fn the_pickles_before_the_object_are_what_torch_writes() {
    refused(|parts| parts.magic = pickle(&integer(7)), "doesn't open with PyTorch's magic number");
    refused(|parts| parts.magic[12] ^= 1, "doesn't open with PyTorch's magic number");
    refused(|parts| parts.protocol = pickle(&integer(1000)), "the protocol version isn't 1001");
    refused(|parts| parts.machine = machine(b"\x89"), "byte order `big`");
    refused(|parts| parts.machine = machine(b"N"), "don't say `little_endian`");
    refused(|parts| parts.machine = pickle(b"N"), "the machine's properties are None");
    // A pickle of its own, as `pickle.dump` writes it.
    let system = [global("posix", "system"), b"(".to_vec(), text("true"), b"tR".to_vec()].concat();
    is_refused(&pickle(&system), "pickle global `posix.system (opcode GLOBAL at byte 2)`");
    refused(|parts| parts.machine = pickle(&system), "pickle global `posix.system");
    refused(|parts| parts.keys = pickle(&system), "pickle global `posix.system");
}

#[test]
fn keys_are_those_of_the_storages() {
    refused(|parts| parts.keys = keys(&["k1"]), "32 bytes follow the last storage");
    refused(|parts| parts.keys = keys(&["k1", "k3"]), "storage `k3` is no tensor's");
    refused(|parts| parts.keys = keys(&["k1", "k1"]), "storage `k1`");
    refused(|parts| parts.keys = keys(&["k2", "k1"]), "20 bytes follow the last storage");
    refused(|parts| parts.keys = pickle(b"}"), "the storages' keys are a dict");
    refused(|parts| parts.keys = pickle(b"](Ne"), "a storage's key is None");
    refused(|parts| (parts.keys, parts.storages) = (keys(&[]), Vec::new()), "no storage `k1`");
}

#[test]
fn lengths_are_those_of_the_storages() {
    for elements in [i64::MAX, i64::MAX / 2, -1, 1 << 40, 100] {
        let change = |parts: &mut Parts| parts.storages[..8].copy_from_slice(&elements.to_le_bytes());
        refused(change, "the file ends within storage `k1`; it may be cut");
    }
    let shorter = |parts: &mut Parts| {
        let end = parts.storages.len() - 4;
        parts.storages.truncate(end);
        parts.storages[12..20].copy_from_slice(&5_i64.to_le_bytes());
    };
    refused(shorter, "storage `k2` is declared as 6 elements of 4 bytes, and the file holds 20 bytes of it");
    refused(|parts| parts.storages.push(0), "1 bytes follow the last storage");
}

#[test]
fn one_storage_has_one_type_and_no_views() {
    let view = tuple(&[text("v"), integer(0), integer(2)]);
    let viewed = tensor(storage("FloatStorage", "k2", 6, &view), 0, &[6], &[1]);
    refused(|parts| parts.state_dict = state_dict(&[("t", viewed)]), "a storage that is a view of another one");
    let one = tensor(storage("FloatStorage", "k1", 6, b"N"), 0, &[6], &[1]);
    let other = tensor(storage("HalfStorage", "k1", 6, b"N"), 0, &[6], &[1]);
    let change = |parts: &mut Parts| {
        parts.state_dict = state_dict(&[("one", one), ("other", other)]);
        parts.keys = keys(&["k1"]);
        parts.storages = [&6_i64.to_le_bytes()[..], &[0; 24]].concat();
    };
    refused(change, "storage `k1` is declared with elements of 4 and of 2 bytes");
}
