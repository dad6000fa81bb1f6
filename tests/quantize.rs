//! Models written to GGUF, against what llama.cpp's own converter writes of them.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use gllm::{Error, ExportProgress, FileType, LoadProblem, export_gguf};
use gllm_models::{EmbedOptions, EmbeddingEngine};
use gllm_quant::gguf::{Array, GgufFile, Value};
use gllm_tests::{embed, family_texts, golden, min_cosine};
use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

/// `tests/golden/export/<case>.json`.
#[derive(Deserialize)]
struct Case {
    folder: String,
    /// `general.file_type` by type.
    file_types: BTreeMap<String, u32>,
    /// Type and value by key.
    metadata: BTreeMap<String, (String, Json)>,
    /// By name, then by type of the file.
    tensors: BTreeMap<String, BTreeMap<String, Tensor>>,
}

/// Type, shape and hash.
#[derive(Debug, Deserialize, PartialEq)]
struct Tensor(String, Vec<usize>, String);

/// What gllm writes on purpose otherwise than the converter.
const DIFFERENCES: [(&str, &[&str]); 5] = [
    // The converter leaves the first layer of BERT's classifier out, without which there is no score.
    ("bert-reranker", &["cls.weight", "cls.bias", "general.size_label"]),
    // The models here have one label, though they are no classifiers.
    ("distilbert-mean", &["bert.classifier.output_labels"]),
    ("roberta-mean", &["bert.classifier.output_labels"]),
    // The converter takes the value of another field, `clean_up_tokenization_spaces`. What XLM-RoBERTa's own
    // `sentencepiece.bpe.model` says is true.
    ("xlm-roberta-cls", &["bert.classifier.output_labels", "tokenizer.ggml.remove_extra_whitespaces"]),
    ("xlm-roberta-reranker", &["tokenizer.ggml.remove_extra_whitespaces"]),
];

const CASES: [&str; 11] = [
    "bert-legacy-files",
    "bert-mean",
    "bert-reranker",
    "distilbert-mean",
    "llama",
    "nomic-bert",
    "qwen2",
    "qwen3",
    "roberta-mean",
    "xlm-roberta-cls",
    "xlm-roberta-reranker",
];

fn case(name: &str) -> Case {
    let path = golden().join("export").join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut case: Case = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    case.metadata.values_mut().for_each(|(_, value)| single(value));
    case
}

fn write(folder: &Path, out: &Path, of: FileType) -> GgufFile {
    export_gguf(folder, out, of, &mut ()).unwrap_or_else(|e| panic!("{of}: {e}"));
    GgufFile::open(out).unwrap_or_else(|e| panic!("{of}: {e}"))
}

/// Type and value, as the golden data have them.
fn json(value: &Value) -> (String, Json) {
    let json = match value {
        Value::U32(value) => Json::from(*value),
        Value::I32(value) => Json::from(*value),
        Value::F32(value) => Json::from(*value),
        Value::Bool(value) => Json::from(*value),
        Value::String(value) => Json::from(value.as_str()),
        Value::Array(Array::U8(values)) => Json::from(values.as_slice()),
        Value::Array(Array::I32(values)) => Json::from(values.as_slice()),
        Value::Array(Array::F32(values)) => Json::from(values.as_slice()),
        Value::Array(Array::String(values)) => Json::from(values.as_slice()),
        other => panic!("{other} isn't written"),
    };
    (value.type_name().to_owned(), json)
}

/// Of single precision, as all numbers with a fraction in these files are: JSON's have more digits than are read exactly.
fn single(json: &mut Json) {
    match json {
        Json::Array(values) => values.iter_mut().for_each(single),
        Json::Number(number) if number.is_f64() => *json = Json::from(number.as_f64().expect("a number") as f32),
        _ => {}
    }
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string");
        hex
    })
}

#[test]
fn files_are_those_of_the_converter() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in CASES {
        let Case { folder: model, file_types, metadata, tensors } = case(name);
        let differences = DIFFERENCES.iter().find(|(case, _)| *case == name).map_or(&[][..], |(_, keys)| keys);
        let mut differing = BTreeSet::new();
        for of in [FileType::F32, FileType::F16, FileType::BF16, FileType::Q8_0] {
            let file = write(&golden().join(&model), &folder.path().join("out.gguf"), of);
            let mut found: BTreeMap<_, _> = file.metadata().iter().map(|(key, value)| (key, json(value))).collect();
            let (_, number) = found.remove("general.file_type").expect("a type");
            assert_eq!(number, file_types[&of.to_string()], "{name}");
            for key in found.keys().copied().chain(metadata.keys().map(String::as_str)) {
                if found.get(key) != metadata.get(key) {
                    assert!(
                        differences.contains(&key),
                        "{name}: {key}: {:?}, expected {:?}",
                        found.get(key),
                        metadata.get(key)
                    );
                    differing.insert(key.to_owned());
                }
            }
            for tensor in file.names().chain(tensors.keys().map(String::as_str)) {
                let found = file.get(tensor).map(|raw| Tensor(raw.dtype.to_string(), raw.shape, hash(&raw.bytes)));
                let expected = tensors.get(tensor).map(|of_types| &of_types[&of.to_string()]);
                if found.as_ref() != expected {
                    assert!(differences.contains(&tensor), "{name}, {of}: {tensor}: {found:?}, expected {expected:?}");
                    differing.insert(tensor.to_owned());
                }
            }
        }
        assert_eq!(differing.len(), differences.len(), "{name}: {differing:?}");
    }
}

#[test]
fn a_file_of_floats_becomes_what_the_folder_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    for model in ["export/llama", "families/nomic_bert/embedding"] {
        let model = golden().join(model);
        write(&model, &path("f32.gguf"), FileType::F32);
        for of in [FileType::F16, FileType::Q8_0, FileType::Q4_K_M] {
            let (direct, again) = (write(&model, &path("a.gguf"), of), write(&path("f32.gguf"), &path("b.gguf"), of));
            assert_eq!(direct.names().collect::<BTreeSet<_>>(), again.names().collect());
            let keys = |file: &GgufFile| -> BTreeMap<_, _> {
                file.metadata().iter().map(|(key, value)| (key.to_owned(), json(value))).collect()
            };
            assert_eq!(keys(&direct), keys(&again));
            for name in direct.names() {
                let [a, b] = [&direct, &again].map(|file| file.get(name).expect("the same names"));
                assert_eq!((a.dtype, a.shape, a.bytes), (b.dtype, b.shape, b.bytes), "{of}: {name}");
            }
        }
    }
}

#[test]
fn a_file_embeds_as_its_folder_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let device = Device::flex();
    let texts = family_texts();
    // Without literal special tokens, of which GGUF doesn't say whether a text may hold them.
    let texts: Vec<_> = texts.into_iter().filter(|text| !text.contains(['<', '['])).collect();
    let texts: Vec<_> = texts.iter().filter(|text| text.len() < 60).collect();
    assert!(texts.len() > 4);
    for model in [
        "bert/mean",
        "families/xlm_roberta/cls-published-tokenizer",
        "families/roberta/mean",
        "families/distilbert/mean",
        "families/nomic_bert/embedding",
    ] {
        let (model, out) = (golden().join(model), folder.path().join("out.gguf"));
        write(&model, &out, FileType::F32);
        let embedded = |path: &Path| {
            let engine = EmbeddingEngine::load(path, &device).unwrap_or_else(|e| panic!("{e}"));
            embed(&engine, &texts, &EmbedOptions::default())
        };
        let cosine = min_cosine(&embedded(&model), &embedded(&out));
        assert!(cosine > 0.999_999, "{}: {cosine}", model.display());
    }
}

#[test]
fn what_is_quantised_already_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [quantised, out] = ["q8.gguf", "q4.gguf"].map(|name| folder.path().join(name));
    write(&golden().join("export/llama"), &quantised, FileType::Q8_0);
    let error = export_gguf(&quantised, &out, FileType::Q4_0, &mut ()).expect_err("must be refused");
    assert!(matches!(&error, Error::LoadError(e) if matches!(e.problem, LoadProblem::DType { .. })), "{error}");
    assert!(!out.exists());
}

#[test]
fn what_llama_cpp_would_compute_otherwise_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (model, named) in [
        ("bert/max-relu", "Relu"),
        ("bert/sqrt-len", "MeanSqrtLen"),
        ("bert/cls-mean", "several"),
        ("bert/dense", "Dense"),
        ("families/bert/splade", "SpladePooling"),
        ("families/mpnet/mean", "mpnet"),
        ("families/modernbert/mean", "modernbert"),
    ] {
        let out = folder.path().join("out.gguf");
        let error = export_gguf(&golden().join(model), &out, FileType::F16, &mut ()).expect_err(model);
        let Error::LoadError(e) = &error else { panic!("{model}: {error}") };
        assert!(matches!(e.problem, LoadProblem::Unsupported { .. }), "{model}: {error}");
        assert!(error.to_string().contains(named), "{model}: {error}");
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0, "{model}");
    }
}

/// Stops at the third piece.
#[derive(Default)]
struct Impatient(Cell<usize>);

impl ExportProgress for Impatient {
    fn cancelled(&self) -> bool {
        self.0.set(self.0.get() + 1);
        self.0.get() > 2
    }
}

#[test]
fn a_cancelled_file_leaves_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out.gguf");
    fs::write(&out, "before").expect("writable");
    let error = export_gguf(&golden().join("bert/mean"), &out, FileType::F16, &mut Impatient::default());
    assert!(matches!(&error, Err(Error::Io(e)) if e.kind() == std::io::ErrorKind::Interrupted), "{error:?}");
    assert_eq!(fs::read_to_string(&out).expect("still there"), "before");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}
