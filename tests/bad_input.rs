//! Folders and requests that must be refused, each with an error that says what to do.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use gllm::{Client, ClientConfig, Device, Error, InferenceError, LoadProblem, Truncation};
use gllm_tests::golden;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

/// A copy of the golden model `mean` that a test may damage.
fn model() -> TempDir {
    let copy = tempfile::tempdir().expect("a temporary folder");
    let source = golden().join("bert/mean");
    fs::create_dir(copy.path().join("1_Pooling")).expect("writable");
    for file in ["config.json", "tokenizer.json", "modules.json", "model.safetensors", "1_Pooling/config.json"] {
        fs::copy(source.join(file), copy.path().join(file)).expect("a golden file");
    }
    copy
}

fn load(folder: &Path) -> gllm::Result<Client> {
    let config = ClientConfig { device: Device::Cpu, ..ClientConfig::default() };
    Client::with_config(folder.to_str().expect("a path of UTF-8"), config)
}

/// What loading `folder` fails with, and the name of the file at fault.
fn problem(folder: &Path) -> (LoadProblem, String) {
    match load(folder).expect_err("must be refused") {
        Error::LoadError(e) => (e.problem, e.path.file_name().expect("a name").to_string_lossy().into_owned()),
        other => panic!("{other}"),
    }
}

/// Replaces `from` by `to` in `file`.
fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(folder.join(file)).expect("readable");
    assert!(text.contains(from), "`{from}` is not in {file}");
    fs::write(folder.join(file), text.replace(from, to)).expect("writable");
}

/// Rewrites the weights with each tensor passed through `change`; `None` drops it.
fn change_weights(folder: &Path, change: impl Fn(&str, Vec<usize>) -> Option<(Dtype, Vec<usize>)>) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).expect("readable");
    let tensors = SafeTensors::deserialize(&bytes).expect("valid");
    let views: BTreeMap<String, TensorView<'_>> = tensors
        .tensors()
        .into_iter()
        .filter_map(|(name, view)| {
            let (dtype, shape) = change(&name, view.shape().to_vec())?;
            Some((name, TensorView::new(dtype, shape, view.data()).expect("the same bytes")))
        })
        .collect();
    fs::write(&path, safetensors::serialize(views, None).expect("serializable")).expect("writable");
}

#[test]
fn the_undamaged_copy_loads() {
    load(model().path()).expect("valid");
}

#[test]
fn an_unknown_alias_suggests_near_names() {
    let Err(Error::ModelNotFound(e)) = Client::new("all-minilm-l6-v3") else { panic!("must be refused") };
    assert!(e.suggestions.iter().any(|name| name == "all-MiniLM-L6-v2"), "{e}");
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let error = Client::new("/nowhere/model").expect_err("must be refused");
    assert!(matches!(&error, Error::ModelNotFound(_)) && error.to_string().contains("/nowhere/model"), "{error}");
}

#[test]
fn a_folder_without_a_configuration_is_refused() {
    let dir = model();
    fs::remove_file(dir.path().join("config.json")).expect("there");
    assert!(matches!(problem(dir.path()).0, LoadProblem::MissingFile { expected } if expected == "config.json"));
}

#[test]
fn a_folder_without_a_tokenizer_is_refused() {
    let dir = model();
    fs::remove_file(dir.path().join("tokenizer.json")).expect("there");
    assert!(matches!(problem(dir.path()).0, LoadProblem::MissingFile { expected } if expected == "tokenizer.json"));
}

#[test]
fn a_folder_without_weights_is_refused() {
    let dir = model();
    fs::remove_file(dir.path().join("model.safetensors")).expect("there");
    assert!(matches!(problem(dir.path()).0, LoadProblem::MissingFile { .. }));
}

#[test]
fn truncated_weights_are_refused() {
    let dir = model();
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).expect("readable");
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).expect("writable");
        let (problem, file) = problem(dir.path());
        assert!(matches!(problem, LoadProblem::Corrupt { .. }), "{problem}");
        assert_eq!(file, "model.safetensors");
    }
}

#[test]
fn corrupt_weights_are_refused() {
    let dir = model();
    let path = dir.path().join("model.safetensors");
    let mut bytes = fs::read(&path).expect("readable");
    bytes[8..40].fill(b'x');
    fs::write(&path, &bytes).expect("writable");
    assert!(matches!(problem(dir.path()).0, LoadProblem::Corrupt { .. }));
}

#[test]
fn a_missing_tensor_is_named() {
    let dir = model();
    let missing = "encoder.layer.1.output.dense.bias";
    change_weights(dir.path(), |name, shape| (name != missing).then_some((Dtype::F32, shape)));
    let (problem, _) = problem(dir.path());
    assert!(matches!(&problem, LoadProblem::MissingTensor { tensor, .. } if tensor == missing), "{problem}");
}

#[test]
fn a_wrong_shape_is_named_with_both_shapes() {
    let dir = model();
    let wrong = "encoder.layer.0.intermediate.dense.weight";
    change_weights(dir.path(), |name, mut shape| {
        if name == wrong {
            shape.reverse();
        }
        Some((Dtype::F32, shape))
    });
    let expected = LoadProblem::Shape { tensor: wrong.into(), expected: vec![96, 48], found: vec![48, 96] };
    assert_eq!(problem(dir.path()), (expected, "model.safetensors".into()));
}

#[test]
fn a_tensor_of_integers_is_refused() {
    let dir = model();
    let wrong = "embeddings.LayerNorm.weight";
    change_weights(dir.path(), |name, shape| Some((if name == wrong { Dtype::I32 } else { Dtype::F32 }, shape)));
    let (problem, _) = problem(dir.path());
    assert!(
        matches!(&problem, LoadProblem::DType { tensor, found, .. } if tensor == wrong && found == "I32"),
        "{problem}"
    );
}

#[test]
fn an_unsupported_architecture_is_named() {
    let dir = model();
    edit(dir.path(), "config.json", "\"model_type\": \"bert\"", "\"model_type\": \"mamba\"");
    let (problem, file) = problem(dir.path());
    assert!(
        matches!(&problem, LoadProblem::Unsupported { what, found, .. } if what == "architecture" && found == "mamba")
    );
    assert_eq!(file, "config.json");
}

#[test]
fn fields_out_of_range_are_named() {
    for (from, to, field) in [
        ("\"num_attention_heads\": 3", "\"num_attention_heads\": 5", "num_attention_heads"),
        ("\"num_attention_heads\": 3", "\"num_attention_heads\": 0", "num_attention_heads"),
        ("\"vocab_size\": 254", "\"vocab_size\": 0", "vocab_size"),
        ("\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": -1", "layer_norm_eps"),
    ] {
        let dir = model();
        edit(dir.path(), "config.json", from, to);
        let (problem, _) = problem(dir.path());
        assert!(matches!(&problem, LoadProblem::Field { field: found, .. } if found == field), "{problem}");
    }
}

#[test]
fn an_absurd_number_of_layers_is_a_missing_tensor() {
    let dir = model();
    edit(dir.path(), "config.json", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4000000000");
    let (problem, _) = problem(dir.path());
    assert!(matches!(&problem, LoadProblem::MissingTensor { tensor, .. } if tensor.contains("layer.2.")), "{problem}");
}

#[test]
fn malformed_json_is_refused_with_its_place() {
    for file in ["config.json", "modules.json", "1_Pooling/config.json", "tokenizer.json"] {
        let dir = model();
        fs::write(dir.path().join(file), "{\"a\": ").expect("writable");
        let (problem, found) = problem(dir.path());
        assert!(
            matches!(&problem, LoadProblem::Corrupt { reason, .. } if reason.contains("line 1")),
            "{file}: {problem}"
        );
        assert!(file.ends_with(&found), "{file}: {found}");
    }
}

#[test]
fn unsupported_parts_are_named() {
    for (file, from, to, found) in [
        ("config.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"xielu\"", "xielu"),
        ("1_Pooling/config.json", "\"mean\"", "\"weightedmean\"", "weightedmean"),
        ("modules.json", "normalize.Normalize", "cnn.CNN", "sentence_transformers.base.modules.cnn.CNN"),
        ("modules.json", "\"1_Pooling\"", "\"../1_Pooling\"", "../1_Pooling"),
    ] {
        let dir = model();
        edit(dir.path(), file, from, to);
        let (problem, _) = problem(dir.path());
        assert!(matches!(&problem, LoadProblem::Unsupported { found: f, .. } if f == found), "{file}: {problem}");
    }
}

#[test]
fn a_tokenizer_of_another_model_is_refused_at_the_token() {
    let dir = model();
    edit(dir.path(), "config.json", "\"vocab_size\": 254", "\"vocab_size\": 100");
    change_weights(dir.path(), |_, shape| Some((Dtype::F32, shape)));
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).expect("readable");
    let tensors = SafeTensors::deserialize(&bytes).expect("valid");
    let cut: BTreeMap<String, TensorView<'_>> = (tensors.tensors().into_iter())
        .map(|(name, view)| match name.as_str() {
            "embeddings.word_embeddings.weight" => {
                let rows = TensorView::new(Dtype::F32, vec![100, 48], &view.data()[..100 * 48 * 4]);
                (name, rows.expect("100 rows"))
            }
            _ => (name, view),
        })
        .collect();
    let cut = safetensors::serialize(cut, None).expect("serializable");
    fs::write(&path, cut).expect("writable");
    let client = load(dir.path()).expect("consistent weights");
    let error = client.embeddings(["the query"]).generate().expect_err("ids beyond the table");
    assert!(
        matches!(error, Error::InferenceError(InferenceError::TokenOutOfRange { index: 0, vocab: 100, .. })),
        "{error}"
    );
}

#[test]
fn requests_out_of_range_are_refused() {
    let client = load(&golden().join("bert/mean")).expect("valid");
    let refused = |result: gllm::Result<gllm::EmbeddingResponse>| match result.expect_err("must be refused") {
        Error::InvalidConfig(e) => e.field,
        other => panic!("{other}"),
    };
    assert_eq!(refused(client.embeddings(Vec::<String>::new()).generate()), "input");
    assert_eq!(refused(client.embeddings(["a"]).dimensions(0).generate()), "dimensions");
    assert_eq!(refused(client.embeddings(["a"]).dimensions(49).generate()), "dimensions");
    assert_eq!(refused(client.embeddings(["a"]).max_length(2).generate()), "max_length");
    assert_eq!(refused(client.embeddings(["a"]).max_length(49).generate()), "max_length");
    assert_eq!(refused(client.embeddings(["a"]).batch_tokens(0).generate()), "batch_tokens");
    assert_eq!(refused(client.embeddings(["a"]).prompt_name("passage").generate()), "prompt_name");
}

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    let config = ClientConfig { device: Device::Gpu(7), ..ClientConfig::default() };
    let folder = golden().join("bert/mean");
    let error = Client::with_config(folder.to_str().expect("UTF-8"), config).expect_err("no eighth GPU");
    assert!(matches!(&error, Error::InvalidConfig(e) if e.field == "device"), "{error}");
}

#[test]
fn a_text_of_ten_megabytes_is_cut_and_reported() {
    let client = load(&golden().join("bert/mean")).expect("valid");
    for text in ["the query ".repeat(1_000_000), "x".repeat(10_000_000)] {
        let response = client.embeddings(["the", &text]).generate().expect("an answer");
        assert_eq!(response.embeddings.len(), 2);
        let refused = client.embeddings([&text]).truncation(Truncation::Error).generate();
        // One endless word is a single unknown token; many words are cut.
        assert_eq!(response.truncated.len(), usize::from(text.contains(' ')));
        assert_eq!(refused.is_err(), text.contains(' '));
    }
}
