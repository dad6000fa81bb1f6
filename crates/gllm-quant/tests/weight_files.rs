//! Weight files from valid to hostile: each malformed file gets an error that names it.

use std::fs;
use std::path::Path;

use gllm_core::{Error, LoadProblem};
use gllm_quant::{DType, WeightFile, WeightFiles};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

fn write(path: &Path, tensors: &[(&str, &[usize], &[f32])]) {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|t| t.2.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|(t, bytes)| (t.0, TensorView::new(Dtype::F32, t.1.to_vec(), bytes).expect("a valid tensor")));
    fs::write(path, safetensors::serialize(views, None).expect("serializable")).expect("writable");
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The problem that opening `folder` ends in, and the name of the file at fault.
fn problem(folder: &Path) -> (LoadProblem, String) {
    match WeightFiles::open(folder).expect_err("must be refused") {
        Error::LoadError(e) => (e.problem, e.path.file_name().expect("a name").to_string_lossy().into_owned()),
        other => panic!("{other}"),
    }
}

fn corrupt_reason(folder: &Path) -> String {
    match problem(folder).0 {
        LoadProblem::Corrupt { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_single_file_gives_its_tensors() {
    let dir = folder();
    write(&dir.path().join("model.safetensors"), &[("b", &[2], &[1.0, 2.0]), ("a", &[1, 1], &[-3.0])]);
    let files = WeightFiles::open(dir.path()).expect("valid");
    assert_eq!(files.names().collect::<Vec<_>>(), ["a", "b"]);
    let (tensor, _) = files.get("a").expect("there");
    assert_eq!((tensor.shape, tensor.dtype), (vec![1, 1], DType::F32));
    assert_eq!(DType::F32.to_f32(&tensor.bytes), Some(vec![-3.0]));
    assert!(files.get("c").is_none());
}

#[test]
fn texts_beside_the_tensors_are_kept() {
    let dir = folder();
    raw_in(
        dir.path(),
        r#"{"__metadata__":{"format":"pt","b":"c"},"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#,
        4,
    );
    let files = WeightFiles::open(dir.path()).expect("valid");
    let [WeightFile::Safetensors(file)] = files.files() else { panic!("another format") };
    assert_eq!(file.metadata().into_iter().collect::<Vec<_>>(), [("b", "c"), ("format", "pt")]);
    assert!(files.metadata().is_none(), "it isn't GGUF");
    let info = files.files()[0].describe("a").expect("there");
    assert_eq!((info.shape, info.dtype, info.bytes), (vec![2], DType::F16, 4));
}

#[test]
fn shards_are_read_through_their_index() {
    let dir = folder();
    write(&dir.path().join("model-00001-of-00002.safetensors"), &[("a", &[1], &[1.0])]);
    write(&dir.path().join("model-00002-of-00002.safetensors"), &[("b", &[1], &[2.0])]);
    let index = r#"{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors"}}"#;
    fs::write(dir.path().join("model.safetensors.index.json"), index).expect("writable");
    let files = WeightFiles::open(dir.path()).expect("valid");
    let (tensor, path) = files.get("b").expect("there");
    assert_eq!(DType::F32.to_f32(&tensor.bytes), Some(vec![2.0]));
    assert!(path.ends_with("model-00002-of-00002.safetensors"));
}

#[test]
fn a_folder_without_weights_is_refused() {
    let (problem, _) = problem(folder().path());
    assert!(matches!(&problem, LoadProblem::MissingFile { expected } if expected.contains("model.safetensors")));
}

#[test]
fn a_missing_shard_is_named() {
    let dir = folder();
    let index = r#"{"weight_map": {"a": "model-00001-of-00002.safetensors"}}"#;
    fs::write(dir.path().join("model.safetensors.index.json"), index).expect("writable");
    let error = WeightFiles::open(dir.path()).expect_err("no such shard").to_string();
    assert!(error.contains("model-00001-of-00002.safetensors"), "{error}");
}

#[test]
fn an_index_must_stay_in_its_folder() {
    for shard in ["../model.safetensors", "/etc/passwd", "a\\\\b", "..", ".", "", "C:model.safetensors", "a/"] {
        let dir = folder();
        let index = format!(r#"{{"weight_map": {{"a": "{shard}"}}}}"#);
        fs::write(dir.path().join("model.safetensors.index.json"), index).expect("writable");
        assert!(corrupt_reason(dir.path()).contains("not the name of a file"), "{shard}");
    }
}

#[test]
fn an_index_that_names_an_absent_tensor_is_refused() {
    let dir = folder();
    write(&dir.path().join("s.safetensors"), &[("a", &[1], &[1.0])]);
    fs::write(dir.path().join("model.safetensors.index.json"), r#"{"weight_map": {"b": "s.safetensors"}}"#)
        .expect("writable");
    assert_eq!(corrupt_reason(dir.path()), "tensor `b` is not in `s.safetensors`");
}

#[test]
fn an_index_that_is_not_json_is_refused() {
    let dir = folder();
    fs::write(dir.path().join("model.safetensors.index.json"), "{").expect("writable");
    assert!(corrupt_reason(dir.path()).contains("line 1"));
}

#[test]
fn every_truncation_is_an_error() {
    let dir = folder();
    let path = dir.path().join("model.safetensors");
    write(&path, &[("a", &[4], &[1.0, 2.0, 3.0, 4.0])]);
    let whole = fs::read(&path).expect("readable");
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("writable");
        assert!(matches!(problem(dir.path()), (LoadProblem::Corrupt { .. }, name) if name == "model.safetensors"));
    }
}

#[test]
fn bytes_behind_the_last_tensor_are_an_error() {
    let dir = folder();
    let path = dir.path().join("model.safetensors");
    write(&path, &[("a", &[1], &[1.0])]);
    let mut bytes = fs::read(&path).expect("readable");
    bytes.push(0);
    fs::write(&path, bytes).expect("writable");
    corrupt_reason(dir.path());
}

/// A file of `header` and `data` bytes of zeros.
fn raw(header: &str, data: usize) -> tempfile::TempDir {
    let dir = folder();
    raw_in(dir.path(), header, data);
    dir
}

fn raw_in(folder: &Path, header: &str, data: usize) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    fs::write(folder.join("model.safetensors"), bytes).expect("writable");
}

#[test]
fn overlapping_tensors_are_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    corrupt_reason(raw(header, 12).path());
}

#[test]
fn gaps_are_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
    corrupt_reason(raw(header, 12).path());
}

#[test]
fn a_shape_that_is_not_its_length_is_refused() {
    corrupt_reason(raw(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8).path());
}

#[test]
fn dimensions_whose_product_overflows_are_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}"#;
    corrupt_reason(raw(header, 0).path());
}

#[test]
fn lengths_whose_sum_overflows_are_refused() {
    // Each length is right; from the last on, a program that adds without a check is back at the file's start.
    let length = (1_u64 << 61) - 1;
    let tensor = |number: u64| {
        let (start, end) = (number * length, (number + 1) * length);
        format!(r#""{number}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{start},{end}]}}"#)
    };
    let header = (0..8).map(tensor).collect::<Vec<_>>().join(",");
    corrupt_reason(raw(&format!("{{{header}}}"), 0).path());
}

#[test]
fn names_that_are_there_twice_are_refused() {
    let header = r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"I32","shape":[1],"data_offsets":[4,8]}}"#;
    assert_eq!(corrupt_reason(raw(header, 8).path()), "tensor `a` is there twice");
    let header = r#"{"__metadata__":{},"__metadata__":{}}"#;
    assert!(corrupt_reason(raw(header, 0).path()).contains("__metadata__"));
}

#[test]
fn a_tensor_has_at_most_eight_dimensions() {
    let shape = |len| vec!["1"; len].join(",");
    let header = |len| format!(r#"{{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[0,1]}}}}"#, shape(len));
    assert_eq!(WeightFiles::open(raw(&header(8), 1).path()).expect("eight").names().count(), 1);
    assert!(corrupt_reason(raw(&header(9), 1).path()).contains("at most 8 dimensions"));
}

#[test]
fn types_smaller_than_a_byte_fill_whole_ones() {
    let header = |len: usize| format!(r#"{{"a":{{"dtype":"F4","shape":[{len}],"data_offsets":[0,2]}}}}"#);
    WeightFiles::open(raw(&header(4), 2).path()).expect("two bytes");
    corrupt_reason(raw(&header(3), 2).path());
}

#[test]
fn offsets_that_run_backwards_or_past_the_end_are_refused() {
    corrupt_reason(raw(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4).path());
    corrupt_reason(raw(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4).path());
}

#[test]
fn unknown_types_are_refused() {
    corrupt_reason(raw(r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#, 4).path());
}

#[test]
fn a_header_longer_than_the_file_is_refused_without_reserving_it() {
    for claimed in [u64::MAX, 1 << 40, 101_000_000] {
        let dir = folder();
        fs::write(dir.path().join("model.safetensors"), claimed.to_le_bytes()).expect("writable");
        corrupt_reason(dir.path());
    }
}

#[test]
fn headers_that_are_not_json_objects_are_refused() {
    for header in
        ["", "[]", "{\"a\":1}", "\u{0}\u{0}", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}"]
    {
        corrupt_reason(raw(header, 4).path());
    }
}
