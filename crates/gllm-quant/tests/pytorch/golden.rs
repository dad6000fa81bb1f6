//! What `torch.save` wrote: every tensor of a state dict, and a refusal by name of everything else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use gllm_core::{Error, LoadProblem};
use gllm_quant::{DType, WeightFiles};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    files: Vec<String>,
    tensors: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    dtype: String,
    bytes: String,
    values: Option<Vec<f32>>,
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from("../../tests/golden/pytorch")
}

fn cases() -> BTreeMap<String, Case> {
    let text = fs::read_to_string(folder().join("expected.json")).expect("readable");
    serde_json::from_str(&text).expect("valid")
}

fn from_hex(digits: &str) -> Vec<u8> {
    let byte = |pair: &str| u8::from_str_radix(pair, 16).expect("hex digits");
    (0..digits.len()).step_by(2).map(|start| byte(&digits[start..start + 2])).collect()
}

fn open(name: &str) -> WeightFiles {
    WeightFiles::open_file(&folder().join(name)).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn every_tensor_is_as_torch_has_it() {
    let cases = cases();
    assert_eq!(cases.len(), 4);
    for file in cases.values().flat_map(|case| case.files.iter().map(move |file| (file, &case.tensors))) {
        let (file, tensors) = file;
        let files = open(file);
        assert!(files.names().eq(tensors.keys()), "{file}");
        for (name, expected) in tensors {
            let (found, path) = files.get(name).expect("it was listed");
            assert!(files.contains(name) && path.ends_with(file));
            assert_eq!((&found.shape, found.dtype.to_string()), (&expected.shape, expected.dtype.clone()), "{name}");
            assert_eq!(*found.bytes, from_hex(&expected.bytes), "{file}: {name}");
            assert_eq!(found.dtype.to_f32(&found.bytes), expected.values, "{file}: {name}");
            let info = files.files()[0].describe(name).expect("it was listed");
            assert_eq!((info.shape, info.dtype, info.bytes), (found.shape, found.dtype, found.bytes.len()), "{name}");
        }
    }
}

#[test]
fn tensors_are_slices_of_the_mapping_unless_they_are_out_of_order() {
    for file in ["views.bin", "views_legacy.bin"] {
        let files = open(file);
        let at = |name: &str| files.get(name).expect("there").0.bytes.as_ptr();
        for name in ["embeddings", "first_rows", "last_rows", "parameter", "scalar"] {
            assert_eq!(at(name), at(name), "{file}: {name}");
        }
        assert_eq!(at("embeddings"), at("tied"), "{file}");
        // Rows 3 and 4 of the storage that rows 0 and 1 are of.
        assert_eq!(at("last_rows").addr() - at("first_rows").addr(), 3 * 4 * 4, "{file}");

        for name in ["transposed", "column", "block", "permuted", "channels_last", "transposed_parameter"] {
            let (one, other) = (files.get(name).expect("there").0, files.get(name).expect("there").0);
            assert_ne!(one.bytes.as_ptr(), other.bytes.as_ptr(), "{file}: {name}");
        }
    }
}

#[test]
fn a_tensor_outlives_the_files() {
    let files = open("module.bin");
    let (bias, _) = files.get("1.bias").expect("there");
    drop(files);
    assert_eq!((bias.dtype, bias.shape, bias.bytes.len()), (DType::F16, vec![2], 4));
}

#[test]
fn what_is_not_a_state_dict_is_refused_by_name() {
    let expected = [
        ("complex", "pickle global `torch.ComplexFloatStorage (opcode GLOBAL at byte "),
        ("eval", "pickle global `__builtin__.eval (opcode GLOBAL at byte "),
        ("integer", "entry `epoch, which is an integer,`"),
        ("integer_key", "state dict with a key that is `an integer`"),
        ("meta", "`torch._utils._rebuild_meta_tensor_no_storage (opcode GLOBAL at byte "),
        ("module", "pickle global `__main__.Module (opcode GLOBAL at byte "),
        ("nested", "entry `state_dict, which is a dict,`"),
        ("number", "pickle opcode `BINFLOAT (0x47) at byte "),
        ("protocol_4", "pickle protocol `4`"),
        ("repeated", "tensor `weight` repeats elements: 67108864 bytes over a storage of 4"),
        ("sparse", "pickle global `torch._utils._rebuild_sparse_tensor (opcode GLOBAL at byte "),
        ("system", "pickle global `posix.system (opcode GLOBAL at byte "),
        ("tensor", "checkpoint of `a tensor`"),
    ];
    let mut files = 0;
    for entry in fs::read_dir(folder().join("refused")).expect("a folder") {
        let path = entry.expect("readable").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let name = stem.trim_end_matches("_legacy");
        let (_, reason) = expected.iter().find(|(case, _)| *case == name).unwrap_or_else(|| panic!("{stem}"));
        let Err(Error::LoadError(error)) = WeightFiles::open_file(&path) else { panic!("{stem} must be refused") };
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.path, path);
        files += 1;
    }
    assert_eq!(files, 2 * expected.len() - 2, "both forms of all but `module` and `protocol_4`");
    assert!(!Path::new("gllm-was-here").exists(), "a pickle was executed");
}

/// A folder with copies of golden files.
fn copies(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (golden, name) in files {
        fs::copy(folder().join(golden), dir.path().join(name)).expect("writable");
    }
    dir
}

fn problem(folder: &Path) -> LoadProblem {
    match WeightFiles::open(folder).expect_err("must be refused") {
        Error::LoadError(error) => error.problem,
        other => panic!("{other}"),
    }
}

fn corrupt_reason(folder: &Path) -> String {
    match problem(folder) {
        LoadProblem::Corrupt { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

const INDEX: &str = "pytorch_model.bin.index.json";

fn write_index(folder: &Path, weight_map: &[(&str, &str)]) {
    let map: BTreeMap<_, _> = weight_map.iter().copied().collect();
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
    fs::write(folder.join(INDEX), index.to_string()).expect("writable");
}

#[test]
fn a_folder_opens_with_its_checkpoint() {
    for golden in ["module.bin", "module_legacy.bin"] {
        let dir = copies(&[(golden, "pytorch_model.bin")]);
        let files = WeightFiles::open(dir.path()).expect("valid");
        assert_eq!(files.folder(), dir.path());
        assert!(files.get("0.weight").expect("there").1.ends_with("pytorch_model.bin"));
    }
}

#[test]
fn a_folder_opens_with_its_shards() {
    let dir = copies(&[("module.bin", "a.bin"), ("many_legacy.bin", "b.bin")]);
    write_index(dir.path(), &[("0.weight", "a.bin"), ("layer.7", "b.bin")]);
    let files = WeightFiles::open(dir.path()).expect("valid");
    assert!(files.get("0.weight").expect("there").1.ends_with("a.bin"));
    let (tensor, path) = files.get("layer.7").expect("there");
    assert_eq!(tensor.dtype.to_f32(&tensor.bytes), Some(vec![-10.5]));
    assert!(path.ends_with("b.bin"));
}

#[test]
fn an_index_must_say_what_is_so() {
    for shard in ["../a.bin", "/etc/passwd", "b\\a.bin", ".."] {
        let dir = copies(&[("module.bin", "a.bin")]);
        write_index(dir.path(), &[("0.weight", shard)]);
        assert!(corrupt_reason(dir.path()).contains("not the name of a file"), "{shard}");
    }
    let dir = copies(&[("module.bin", "a.bin"), ("many.bin", "b.bin")]);
    write_index(dir.path(), &[("0.weight", "b.bin"), ("layer.7", "a.bin")]);
    assert_eq!(corrupt_reason(dir.path()), "tensor `0.weight` is not in `b.bin`");

    let dir = copies(&[("module.bin", "a.bin"), ("module.bin", "b.bin")]);
    write_index(dir.path(), &[("0.weight", "a.bin"), ("1.weight", "b.bin")]);
    assert!(corrupt_reason(dir.path()).contains("is also in"));
}

#[test]
fn safetensors_come_first_and_what_was_looked_for_is_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let LoadProblem::MissingFile { expected } = problem(dir.path()) else { panic!("another problem") };
    let names = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", INDEX, "a .gguf file"];
    assert_eq!(expected, names.join(" or "));

    let dir = copies(&[("module.bin", "pytorch_model.bin"), ("module.bin", "model.safetensors")]);
    let Error::LoadError(error) = WeightFiles::open(dir.path()).expect_err("no safetensors") else { panic!("no load") };
    assert!(error.path.ends_with("model.safetensors"), "{error}");
}

#[test]
fn one_file_opens_by_what_it_contains() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = dir.path().join("weights");
    // A header of 640 bytes: the length's first two bytes are those of a pickle.
    let header = format!("{:<640}", r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#);
    let bytes = [&640_u64.to_le_bytes()[..], header.as_bytes(), &1.5_f32.to_le_bytes()].concat();
    assert!(bytes.starts_with(b"\x80\x02"));
    fs::write(&path, bytes).expect("writable");
    let files = WeightFiles::open_file(&path).expect("safetensors");
    let (tensor, _) = files.get("a").expect("there");
    assert_eq!(tensor.dtype.to_f32(&tensor.bytes), Some(vec![1.5]));
    assert_eq!(files.folder(), dir.path());

    for bytes in [&b""[..], b"P", b"not weights at all", b"ustar"] {
        fs::write(&path, bytes).expect("writable");
        let error = WeightFiles::open_file(&path).expect_err("not weights");
        assert!(matches!(error, Error::LoadError(_)), "{error}");
    }
    assert!(matches!(WeightFiles::open_file(&dir.path().join("none")), Err(Error::Io(_))));
}
