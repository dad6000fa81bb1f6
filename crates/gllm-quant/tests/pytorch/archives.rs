//! Archives that aren't what `torch.save` writes.

use crate::builder::{
    archive, archive_with, checkpoint, is_refused, open, options, refusal, six_floats, state_dict, storage, tensor,
};

/// Where the local header of the entry is, and where its entry of the directory.
fn headers(bytes: &[u8], name: &str) -> (usize, usize) {
    let places: Vec<_> = bytes.windows(name.len()).enumerate().filter(|(_, it)| *it == name.as_bytes()).collect();
    assert_eq!(places.len(), 2, "{name}");
    (places[0].0 - 30, places[1].0 - 46)
}

/// `bytes` with `value` in both headers of the entry: at `local` and at `central` behind their starts.
fn patched(bytes: &[u8], name: &str, local: usize, central: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let (local_header, central_header) = headers(&bytes, name);
    bytes[local_header + local..][..value.len()].copy_from_slice(value);
    bytes[central_header + central..][..value.len()].copy_from_slice(value);
    bytes
}

/// `bytes` with other compressed and uncompressed sizes of the entry.
fn resized(bytes: &[u8], name: &str, size: u32) -> Vec<u8> {
    patched(bytes, name, 18, 20, &[size.to_le_bytes(), size.to_le_bytes()].concat())
}

#[test]
fn the_builder_makes_valid_checkpoints() {
    let files = open(&checkpoint(&six_floats())).expect("valid");
    assert_eq!(files.get("t").expect("there").0.shape, [2, 3]);
}

#[test]
fn sizes_of_64_bits_are_read() {
    let pickle = six_floats();
    let entries = [("a/data.pkl", pickle.as_slice()), ("a/data/0", &[0; 24]), ("a/version", b"3\n")];
    open(&archive_with(options().large_file(true), &entries)).expect("valid");
}

#[test]
fn compressed_and_encrypted_entries_are_refused_by_name() {
    let bytes = checkpoint(&six_floats());
    is_refused(&patched(&bytes, "a/data/0", 8, 10, &[8, 0]), "entry of the archive `a/data/0 (deflated)`");
    is_refused(&patched(&bytes, "a/data.pkl", 8, 10, &[8, 0]), "entry of the archive `a/data.pkl (deflated)`");
    is_refused(&patched(&bytes, "a/data/0", 6, 8, &[1, 0]), "entry of the archive `a/data/0 (encrypted)`");
    // A method that nobody has heard of.
    is_refused(&patched(&bytes, "a/data/0", 8, 10, &[0xcd, 0xab]), "`a/data/0 (compressed by method 43981)`");
}

#[test]
fn names_that_come_twice_are_refused() {
    let pickle = six_floats();
    let entries = [("a/data.pkl", pickle.as_slice()), ("a/data/0", &[0; 24]), ("a/data/1", b""), ("a/version", b"3")];
    let bytes = archive(&entries);
    is_refused(&patched(&bytes, "a/data/1", 30, 46, b"a/data/0"), "entry `a/data/0` of the archive is there twice");
}

#[test]
fn entries_that_overlap_are_refused() {
    let pickle = six_floats();
    let entries = [("a/data.pkl", pickle.as_slice()), ("a/data/0", &[0; 24]), ("a/data/1", b""), ("a/version", b"3")];
    let bytes = archive(&entries);
    is_refused(&resized(&bytes, "a/data/0", 30), "entries `a/data/0` and `a/data/1` of the archive overlap");
    // Two names for one place.
    let mut shared = bytes.clone();
    let (target, _) = headers(&bytes, "a/data/0");
    let (_, entry) = headers(&bytes, "a/data/1");
    shared[entry + 42..entry + 46].copy_from_slice(&u32::try_from(target).expect("small").to_le_bytes());
    is_refused(&shared, "entry `a/data/1` of the archive isn't where its directory says");
}

#[test]
fn local_headers_must_agree_with_the_directory() {
    let bytes = checkpoint(&six_floats());
    let (local, central) = headers(&bytes, "a/data/0");
    for (place, value) in [(local + 30, b'b'), (local + 8, 8), (central + 10, 8), (central + 20, 23), (local + 18, 23)]
    {
        let mut bytes = bytes.clone();
        bytes[place] = value;
        refusal(&bytes);
    }
}

#[test]
fn sizes_beyond_the_file_are_refused() {
    let bytes = checkpoint(&six_floats());
    for size in [u32::MAX, u32::MAX - 1, 1 << 31, 10_000] {
        let reason = if size == u32::MAX { "in its zip directory is invalid" } else { "ends outside of the file" };
        is_refused(&resized(&bytes, "a/data/0", size), reason);
        is_refused(&resized(&bytes, "a/data.pkl", size), reason);
    }
}

#[test]
fn a_storage_is_as_long_as_its_elements() {
    let pickle = six_floats();
    for length in [0, 23, 25, 48] {
        let content = vec![0; length];
        let entries = [("a/data.pkl", pickle.as_slice()), ("a/data/0", &content), ("a/version", b"3")];
        let reason = format!(
            "storage `0` is declared as 6 elements of 4 bytes, and the file holds {length} bytes of it; download it again"
        );
        is_refused(&archive(&entries), &reason);
    }
    is_refused(&archive(&[("a/data.pkl", &pickle), ("a/data/1", &[0; 24]), ("a/version", b"3")]), "no entry `data/0`");
}

#[test]
fn the_end_record_is_where_the_file_ends() {
    let bytes = checkpoint(&six_floats());
    let end = bytes.len() - 22;
    // Its counts, the directory's length and place, and a comment.
    for place in [8, 10, 12, 16, 20] {
        for value in [&[0xfe, 0xff][..], &[0xff, 0xff], &[0, 0]] {
            let mut bytes = bytes.clone();
            if bytes[end + place..][..2] != *value {
                bytes[end + place..][..2].copy_from_slice(value);
                refusal(&bytes);
            }
        }
    }
}

#[test]
fn every_byte_of_the_end_records_counts() {
    // PyTorch writes those of 64 bits always.
    let bytes = std::fs::read(crate::golden::folder().join("module.bin")).expect("readable");
    let start = bytes.len() - 98;
    for place in start..bytes.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            // Who wrote the archive, and who can read it, is said in bytes 12 to 16 and changes nothing.
            if bytes[place] != value && !(12..16).contains(&(place - start)) {
                bytes[place] = value;
                refusal(&bytes);
            }
        }
    }
}

#[test]
fn an_archive_within_an_archive_is_not_looked_into() {
    let inner = checkpoint(&six_floats());
    is_refused(&archive(&[("a/data.pkl", &inner), ("a/version", b"3")]), "a pickle opens with the opcode PROTO");
    is_refused(&archive(&[("a/inner.zip", &inner), ("a/version", b"3")]), "entry of the archive `a/inner.zip`");
    is_refused(&archive(&[("a/.inner", &inner), ("a/version", b"3")]), "no `data.pkl`");
}

#[test]
fn other_archives_are_refused() {
    let pickle = six_floats();
    let zeros = [0; 24];
    let data = ("a/data/0", &zeros[..]);
    let file = ("a/data.pkl", pickle.as_slice());
    let version = ("a/version", &b"3\n"[..]);
    is_refused(&archive(&[file, data]), "no `version`");
    is_refused(&archive(&[data, version]), "no `data.pkl`");
    is_refused(&archive(&[file, data, ("a/version", b"11")]), "container version `11`");
    is_refused(&archive(&[file, data, ("a/version", b"0")]), "container version `0`");
    is_refused(&archive(&[file, data, ("a/version", b"three")]), "container version `three`");
    is_refused(&archive(&[file, data, version, ("a/byteorder", b"big")]), "byte order `big`");
    is_refused(&archive(&[file, data, version, ("a/byteorder", b"")]), "byte order ``");
    is_refused(&archive(&[file, data, version, ("b/data/1", b"")]), "in another folder");
    is_refused(&archive(&[file, data, version, ("data.pkl", b"")]), "in another folder");
    is_refused(&archive(&[file, data, version, ("a/b/data.pkl", b"")]), "entry of the archive `a/b/data.pkl`");
    // What TorchScript writes.
    let code = ("a/code/__torch__.py", &b"class Module:"[..]);
    is_refused(&archive(&[file, data, version, code]), "entry of the archive `a/code/__torch__.py`");
    is_refused(&archive(&[file, data, version, ("a/constants.pkl", b"")]), "entry of the archive `a/constants.pkl`");
    refusal(&archive(&[]));
}

#[test]
fn a_key_names_an_entry_and_no_path() {
    for key in ["../data.pkl", "..", "", "/etc/passwd", "../../a/data/0", "./0"] {
        let pickle = state_dict(&[("t", tensor(storage(key, 6), 0, &[6], &[1]))]);
        is_refused(&checkpoint(&pickle), &format!("no entry `data/{key}`"));
    }
}
