//! Which GGUF files a folder, or a path, opens.

use std::fs;
use std::path::Path;

use gllm_core::{Error, LoadError, LoadProblem};
use gllm_quant::{WeightFile, WeightFiles};

use crate::builder::{entry, file, info, problem};
use crate::golden::folder;

const SHARDS: [&str; 3] = ["sharded-00001-of-00003.gguf", "sharded-00002-of-00003.gguf", "sharded-00003-of-00003.gguf"];

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A folder with copies of golden files.
fn copies(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = empty();
    for (golden, name) in files {
        fs::copy(folder().join(golden), dir.path().join(name)).expect("writable");
    }
    dir
}

fn shards() -> tempfile::TempDir {
    copies(&SHARDS.map(|name| (name, name)))
}

fn error(path: &Path) -> LoadError {
    match WeightFiles::open(path).expect_err("must be refused") {
        Error::LoadError(error) => error,
        other => panic!("{other}"),
    }
}

/// A shard as `gguf-split` writes it.
fn shard(no: u16, count: u16, tensors: i32, names: &[&str]) -> Vec<u8> {
    let entries = [
        entry("split.no", 2, &no.to_le_bytes()),
        entry("split.count", 2, &count.to_le_bytes()),
        entry("split.tensors.count", 5, &tensors.to_le_bytes()),
    ];
    let infos: Vec<_> = names.iter().zip(0..).map(|(name, place)| info(name, &[8], 0, 32 * place)).collect();
    file(&entries, &infos, 32 * names.len())
}

#[test]
fn a_folder_with_one_file_opens_it() {
    let dir = copies(&[("aligned.gguf", "any name.gguf")]);
    let files = WeightFiles::open(dir.path()).expect("valid");
    assert_eq!(files.names().collect::<Vec<_>>(), ["last", "more", "one"]);
    assert_eq!(files.folder(), dir.path());
    assert!(files.get("one").expect("there").1.ends_with("any name.gguf"));
    assert_eq!(files.metadata().expect("GGUF").usize("general.alignment").expect("a number"), Some(64));
}

#[test]
fn the_path_of_a_file_opens_it() {
    let dir = copies(&[("aligned.gguf", "a.gguf"), ("little.gguf", "b.gguf")]);
    let files = WeightFiles::open(&dir.path().join("b.gguf")).expect("valid");
    assert!(files.contains("f32") && files.folder() == dir.path());
    assert!(matches!(WeightFiles::open(&dir.path().join("c.gguf")), Err(Error::LoadError(_))));
}

#[test]
fn one_file_opens_by_what_it_contains() {
    let dir = copies(&[("aligned.gguf", "weights.bin")]);
    let files = WeightFiles::open_file(&dir.path().join("weights.bin")).expect("valid");
    assert!(files.contains("more"));
}

#[test]
fn a_set_opens_from_its_folder_and_from_each_shard() {
    let dir = shards();
    for path in [dir.path().to_owned()].into_iter().chain(SHARDS.map(|name| dir.path().join(name))) {
        let files = WeightFiles::open(&path).expect("valid");
        assert_eq!(files.names().count(), 5);
        assert_eq!(files.folder(), dir.path());
        let (tensor, at) = files.get("layer.4").expect("there");
        assert!(at.ends_with(SHARDS[2]));
        assert_eq!(tensor.dtype.to_f32(&tensor.bytes), Some(vec![4.0, 2.5, 7.0, -0.5]));
        let name = files.metadata().expect("GGUF").require_string("general.name").expect("in the first shard");
        assert_eq!(name, "a model in three files");
    }
    assert_eq!(WeightFiles::open_file(&dir.path().join(SHARDS[1])).expect("valid").names().count(), 5);
}

#[test]
fn missing_shards_are_named() {
    for (missing, name) in SHARDS.iter().enumerate() {
        let dir = shards();
        fs::remove_file(dir.path().join(name)).expect("removable");
        for path in [dir.path().to_owned(), dir.path().join(SHARDS[(missing + 1) % 3])] {
            let LoadError { path, problem } = error(&path);
            assert_eq!(
                (path.as_path(), &problem),
                (dir.path(), &LoadProblem::MissingFile { expected: (*name).into() })
            );
        }
    }
    let dir = empty();
    fs::write(dir.path().join("m-00001-of-00100.gguf"), shard(0, 100, 1, &["a"])).expect("writable");
    let expected = error(dir.path()).problem.to_string();
    assert!(expected.contains("m-00002-of-00100.gguf and") && expected.contains("and 91 more"), "{expected}");
}

#[test]
fn foreign_shards_are_named() {
    let cases = [
        (shard(1, 2, 2, &["b"]), "split.count"),
        (shard(2, 3, 2, &["b"]), "split.no"),
        (shard(1, 3, 9, &["b"]), "split.tensors.count"),
        (file(&[], &[info("b", &[8], 0, 0)], 32), "split.no"),
    ];
    for (foreign, key) in cases {
        let dir = empty();
        fs::write(dir.path().join("m-00001-of-00003.gguf"), shard(0, 3, 3, &["a"])).expect("writable");
        fs::write(dir.path().join("m-00002-of-00003.gguf"), foreign).expect("writable");
        fs::write(dir.path().join("m-00003-of-00003.gguf"), shard(2, 3, 3, &["c"])).expect("writable");
        let error = error(dir.path());
        assert!(error.path.ends_with("m-00002-of-00003.gguf"), "{error}");
        assert!(matches!(&error.problem, LoadProblem::Field { field, .. } if field == key), "{error}");
    }
}

#[test]
fn a_set_has_as_many_tensors_as_it_says() {
    let dir = empty();
    fs::write(dir.path().join("m-00001-of-00002.gguf"), shard(0, 2, 4, &["a"])).expect("writable");
    fs::write(dir.path().join("m-00002-of-00002.gguf"), shard(1, 2, 4, &["b", "c"])).expect("writable");
    let problem = error(dir.path()).problem.to_string();
    assert!(problem.contains("3 tensors together, `split.tensors.count` says 4"), "{problem}");
}

#[test]
fn a_tensor_is_in_one_shard() {
    let dir = empty();
    fs::write(dir.path().join("m-00001-of-00002.gguf"), shard(0, 2, 2, &["a"])).expect("writable");
    fs::write(dir.path().join("m-00002-of-00002.gguf"), shard(1, 2, 2, &["a"])).expect("writable");
    let error = error(dir.path()).to_string();
    assert!(error.contains("tensor `a` is also in") && error.contains("m-00001-of-00002.gguf"), "{error}");
}

#[test]
fn a_shard_is_called_what_it_is() {
    for name in ["m.gguf", "m-00001-of-00004.gguf", "m-1-of-3.gguf", "m-00004-of-00003.gguf", "m-00000-of-00003.gguf"] {
        let dir = empty();
        fs::write(dir.path().join(name), shard(0, 3, 3, &["a"])).expect("writable");
        let error = error(dir.path()).to_string();
        assert!(error.contains(name) && error.contains("-00001-of-00003.gguf"), "{error}");
    }
    // Whatever its name is, a file that says nothing of shards is all there is.
    let dir = copies(&[("aligned.gguf", "m-00001-of-00004.gguf")]);
    WeightFiles::open(dir.path()).expect("valid");
}

#[test]
fn a_folder_with_several_models_lists_them() {
    let dir = copies(&[("aligned.gguf", "b.gguf"), ("little.gguf", "a.gguf")]);
    let error = error(dir.path()).to_string();
    assert!(error.contains("a.gguf, b.gguf"), "{error}");

    let dir = shards();
    fs::copy(folder().join("aligned.gguf"), dir.path().join("other.gguf")).expect("writable");
    let error = self::error(dir.path()).to_string();
    assert!(error.contains("other.gguf, sharded-00001-of-00003.gguf"), "{error}");
    assert_eq!(WeightFiles::open(&dir.path().join(SHARDS[0])).expect("valid").names().count(), 5);
}

#[test]
fn other_formats_come_first() {
    let dir = copies(&[("aligned.gguf", "a.gguf"), ("aligned.gguf", "model.safetensors")]);
    assert!(error(dir.path()).path.ends_with("model.safetensors"));
    let dir = copies(&[("aligned.gguf", "a.gguf"), ("aligned.gguf", "pytorch_model.bin")]);
    assert!(error(dir.path()).path.ends_with("pytorch_model.bin"));
}

#[test]
fn a_folder_without_weights_names_what_was_looked_for() {
    let dir = empty();
    let LoadProblem::MissingFile { expected } = problem(WeightFiles::open(dir.path())) else { panic!("another") };
    assert!(expected.ends_with("or a .gguf file"), "{expected}");
}

#[test]
fn files_are_described_without_their_elements() {
    let files = WeightFiles::open(&folder().join(SHARDS[1])).expect("valid");
    let paths: Vec<_> = files.files().iter().map(WeightFile::path).collect();
    assert_eq!(paths, SHARDS.map(|name| folder().join(name)));
    let WeightFile::Gguf(first) = &files.files()[0] else { panic!("another format") };
    assert_eq!(first.version(), 3);
    for file in files.files() {
        for name in file.names() {
            let (info, tensor) = (file.describe(name).expect("there"), file.get(name).expect("there"));
            assert_eq!((info.shape, info.dtype, info.bytes), (tensor.shape, tensor.dtype, tensor.bytes.len()));
        }
    }
}
