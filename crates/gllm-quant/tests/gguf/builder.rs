//! GGUF files made by hand, byte by byte, and what opening them says.

use std::fs;
use std::path::Path;

use gllm_core::{Error, LoadProblem, Result};
use gllm_quant::WeightFiles;

pub(crate) const U32: u32 = 4;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;
pub(crate) const F32: u32 = 0;

pub(crate) fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A key and its value of type `of`, which `content` has the bytes of.
pub(crate) fn entry(key: &str, of: u32, content: &[u8]) -> Vec<u8> {
    [&string(key), &of.to_le_bytes()[..], content].concat()
}

/// An array of `count` values of type `of`.
pub(crate) fn array(key: &str, of: u32, count: u64, content: &[u8]) -> Vec<u8> {
    entry(key, ARRAY, &[&of.to_le_bytes()[..], &count.to_le_bytes(), content].concat())
}

/// The description of a tensor, its innermost dimension first.
pub(crate) fn info(name: &str, dims: &[u64], of: u32, offset: u64) -> Vec<u8> {
    let count = u32::try_from(dims.len()).expect("few");
    let dims: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
    [&string(name), &count.to_le_bytes()[..], &dims, &of.to_le_bytes(), &offset.to_le_bytes()].concat()
}

/// A file that announces what it holds.
pub(crate) fn file(entries: &[Vec<u8>], infos: &[Vec<u8>], data: usize) -> Vec<u8> {
    file_with(3, infos.len() as u64, entries.len() as u64, entries, infos, data)
}

/// A file with `data` bytes behind its header, at the next multiple of 32.
pub(crate) fn file_with(
    version: u32,
    n_tensors: u64,
    n_keys: u64,
    entries: &[Vec<u8>],
    infos: &[Vec<u8>],
    data: usize,
) -> Vec<u8> {
    let mut bytes = [b"GGUF", &version.to_le_bytes()[..], &n_tensors.to_le_bytes(), &n_keys.to_le_bytes()].concat();
    bytes.extend(entries.concat());
    bytes.extend(infos.concat());
    if !infos.is_empty() {
        bytes.resize(bytes.len().next_multiple_of(32), 0);
    }
    bytes.resize(bytes.len() + data, 7);
    bytes
}

/// Opens the file at `path`, and reads every tensor in it.
pub(crate) fn open_at(path: &Path) -> Result<WeightFiles> {
    let files = WeightFiles::open_file(path)?;
    for name in files.names() {
        let (tensor, path) = files.get(name).expect("it was listed");
        assert!(tensor.bytes.len() as u64 <= fs::metadata(path).expect("a file").len(), "{name}");
    }
    Ok(files)
}

/// Opens a file of these bytes, and reads every tensor in it.
pub(crate) fn open(bytes: &[u8]) -> Result<WeightFiles> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("writable");
    open_at(file.path())
}

pub(crate) fn problem(opened: Result<WeightFiles>) -> LoadProblem {
    match opened.expect_err("must be refused") {
        Error::LoadError(error) => error.problem,
        other => panic!("{other}"),
    }
}

#[track_caller]
pub(crate) fn is_refused(bytes: &[u8], with: &str) {
    let problem = problem(open(bytes)).to_string();
    assert!(problem.contains(with), "`{with}` was expected in: {problem}");
}
