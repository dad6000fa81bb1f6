//! Checkpoints made by hand, byte by byte, and what opening them says.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use gllm_core::{Error, LoadProblem, Result};
use gllm_quant::WeightFiles;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short text");
    [b"X", &length.to_le_bytes()[..], text.as_bytes()].concat()
}

pub(crate) fn integer(value: i64) -> Vec<u8> {
    [b"\x8a\x08", &value.to_le_bytes()[..]].concat()
}

pub(crate) fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub(crate) fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", items.concat().as_slice(), b"t"].concat()
}

pub(crate) fn integers(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|value| integer(*value)).collect::<Vec<_>>())
}

/// The call of a global.
pub(crate) fn call(module: &str, name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    [global(module, name), tuple(arguments), b"R".to_vec()].concat()
}

/// A storage of floats.
pub(crate) fn storage(key: &str, elements: i64) -> Vec<u8> {
    persistent(&[text("storage"), global("torch", "FloatStorage"), text(key), text("cpu"), integer(elements)])
}

pub(crate) fn persistent(id: &[Vec<u8>]) -> Vec<u8> {
    [tuple(id), b"Q".to_vec()].concat()
}

pub(crate) fn tensor(storage: Vec<u8>, offset: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    tensor_with(&[storage, integer(offset), integers(shape), integers(strides), b"\x89".to_vec(), b"}".to_vec()])
}

pub(crate) fn tensor_with(arguments: &[Vec<u8>]) -> Vec<u8> {
    call("torch._utils", "_rebuild_tensor_v2", arguments)
}

/// A pickle of what these opcodes leave on the stack.
pub(crate) fn pickle(opcodes: &[u8]) -> Vec<u8> {
    [b"\x80\x02", opcodes, b"."].concat()
}

pub(crate) fn state_dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = entries.iter().flat_map(|(name, value)| [text(name), value.clone()].concat()).collect();
    pickle(&[b"}(", items.as_slice(), b"u"].concat())
}

/// One tensor `t` of six floats.
pub(crate) fn six_floats() -> Vec<u8> {
    state_dict(&[("t", tensor(storage("0", 6), 0, &[2, 3], &[3, 1]))])
}

pub(crate) fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored)
}

pub(crate) fn archive_with(options: SimpleFileOptions, entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        writer.start_file(*name, options).expect("a new entry");
        writer.write_all(content).expect("memory");
    }
    writer.finish().expect("memory").into_inner()
}

pub(crate) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    archive_with(options(), entries)
}

/// What `torch.save` writes around a pickle, with a storage `0` of 24 bytes.
pub(crate) fn checkpoint(pickle: &[u8]) -> Vec<u8> {
    let zeros = [0; 24];
    archive(&[("a/data.pkl", pickle), ("a/byteorder", b"little"), ("a/data/0", &zeros), ("a/version", b"3\n")])
}

/// Opens the file at `path`, and reads every tensor in it.
fn open_at(path: &Path) -> Result<WeightFiles> {
    let files = WeightFiles::open_file(path)?;
    let length = fs::metadata(path).expect("a file").len();
    for name in files.names() {
        let (tensor, _) = files.get(name).expect("it was listed");
        assert!(tensor.bytes.len() as u64 <= length, "{name}");
        drop(tensor.dtype.to_f32(&tensor.bytes));
    }
    Ok(files)
}

/// Opens a file of these bytes, and reads every tensor in it.
pub(crate) fn open(bytes: &[u8]) -> Result<WeightFiles> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("writable");
    open_at(file.path())
}

fn reason(opened: Result<WeightFiles>) -> String {
    match opened.expect_err("must be refused") {
        Error::LoadError(error) => match error.problem {
            LoadProblem::Corrupt { .. } | LoadProblem::Unsupported { .. } => error.problem.to_string(),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}

/// Why a file of these bytes is refused.
pub(crate) fn refusal(bytes: &[u8]) -> String {
    reason(open(bytes))
}

#[track_caller]
pub(crate) fn is_refused(bytes: &[u8], with: &str) {
    let refusal = refusal(bytes);
    assert!(refusal.contains(with), "`{with}` was expected in: {refusal}");
}

/// Checks that these bytes are a valid file and that none of their beginnings is.
pub(crate) fn only_the_whole_is_valid(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("writable");
    open_at(file.path()).expect("valid");
    for length in (0..bytes.len() as u64).rev() {
        file.as_file().set_len(length).expect("writable");
        reason(open_at(file.path()));
    }
}
