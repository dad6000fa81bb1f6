//! Folders and GGUF files that say little, much, and nonsense.

use std::fs;

use gllm_quant::gguf::{Array, Value as Entry, Writer};
use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, &str)]) -> Result<GenerationDefaults> {
    let folder = TempDir::new().expect("a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("it is written");
    }
    GenerationDefaults::from_folder(folder.path())
}

fn generation(text: &str) -> Result<GenerationDefaults> {
    folder(&[("generation_config.json", text)])
}

/// Of a file with the tokens `<unk>`, `a` and then `tokens`, all of the kind `kind`, and further keys.
fn gguf(kind: i32, tokens: &[&str], keys: &[(&str, Entry)]) -> Result<GenerationDefaults> {
    let mut writer = Writer::new();
    let all: Vec<String> = ["<unk>", "a"].iter().chain(tokens).map(|token| (*token).to_owned()).collect();
    let kinds: Vec<i32> = [2, 1].into_iter().chain(tokens.iter().map(|_| kind)).collect();
    let base = [
        ("general.architecture", Entry::String("llama".into())),
        ("tokenizer.ggml.model", Entry::String("llama".into())),
        ("tokenizer.ggml.scores", Entry::Array(Array::F32(vec![0.0; all.len()]))),
        ("tokenizer.ggml.tokens", Entry::Array(Array::String(all))),
        ("tokenizer.ggml.token_type", Entry::Array(Array::I32(kinds))),
        ("tokenizer.ggml.unknown_token_id", Entry::U32(0)),
        ("tokenizer.ggml.bos_token_id", Entry::U32(0)),
    ];
    for (key, value) in base.into_iter().chain(keys.iter().map(|(key, value)| (*key, value.clone()))) {
        writer.add(key, value).expect("a new key");
    }
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("model.gguf");
    writer.write(fs::File::create(&path).expect("a file"), |_, _| Ok(())).expect("it is written");
    let files = WeightFiles::open(&path).expect("a GGUF file");
    GenerationDefaults::of(&files, &Tokenizer::of(&files).expect("a tokenizer"))
}

fn ids(ids: &[u32]) -> BTreeSet<u32> {
    ids.iter().copied().collect()
}

#[test]
fn what_qwen_publishes() {
    let found = folder(&[
        ("config.json", r#"{"eos_token_id": 151645, "vocab_size": 151936}"#),
        (
            "generation_config.json",
            r#"{"bos_token_id": 151643, "pad_token_id": 151643, "do_sample": true, "eos_token_id": [151645, 151643],
                "repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20,
                "transformers_version": "4.37.0"}"#,
        ),
    ]);
    let sampling = SamplingOptions {
        temperature: Some(0.7),
        top_p: Some(0.8),
        top_k: Some(20),
        repetition_penalty: Some(1.1),
        ..SamplingOptions::default()
    };
    assert_eq!(found.expect("defaults"), GenerationDefaults { sampling, eos: ids(&[151_643, 151_645]) });
}

#[test]
fn nothing_said_is_the_likeliest_token_and_no_end() {
    assert_eq!(folder(&[]).expect("defaults"), GenerationDefaults::default());
    let nulls = r#"{"eos_token_id": null, "do_sample": null, "temperature": null, "top_k": null}"#;
    assert_eq!(
        folder(&[("config.json", nulls), ("generation_config.json", nulls)]).expect("defaults"),
        GenerationDefaults::default()
    );
}

#[test]
fn filters_count_only_where_texts_are_drawn() {
    let settings = r#""temperature": 0.6, "top_k": 5, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.2"#;
    let penalty = SamplingOptions { repetition_penalty: Some(1.2), ..SamplingOptions::default() };
    for text in [format!("{{{settings}}}"), format!(r#"{{"do_sample": false, {settings}}}"#)] {
        assert_eq!(generation(&text).expect("defaults").sampling, penalty);
    }
    let drawn = generation(&format!(r#"{{"do_sample": true, {settings}}}"#)).expect("defaults").sampling;
    assert_eq!((drawn.temperature, drawn.top_k, drawn.top_p, drawn.min_p), (Some(0.6), Some(5), Some(0.9), Some(0.1)));
    let temperature = generation(r#"{"do_sample": true}"#).expect("defaults").sampling.temperature;
    assert_eq!(temperature, Some(1.0));
}

#[test]
fn what_is_malformed_is_named() {
    for (text, field) in [
        (r#"{"eos_token_id": "2"}"#, "eos_token_id"),
        (r#"{"eos_token_id": [2, -1]}"#, "eos_token_id"),
        (r#"{"eos_token_id": 4294967296}"#, "eos_token_id"),
        (r#"{"do_sample": 1}"#, "do_sample"),
        (r#"{"do_sample": true, "temperature": "hot"}"#, "temperature"),
        (r#"{"do_sample": true, "temperature": -1}"#, "temperature"),
        (r#"{"do_sample": true, "top_k": 1.5}"#, "top_k"),
        (r#"{"do_sample": true, "top_p": 2}"#, "top_p"),
        (r#"{"do_sample": true, "min_p": 2}"#, "min_p"),
        (r#"{"repetition_penalty": 0}"#, "repetition_penalty"),
        (r#"{"repetition_penalty": 1e39}"#, "repetition_penalty"),
    ] {
        let error = generation(text).expect_err(text).to_string();
        assert!(error.contains(&format!("field `{field}`")) && error.contains("generation_config.json"), "{error}");
    }
    let error = generation("[1]").expect_err("no object").to_string();
    assert!(error.contains("it isn't an object"), "{error}");
}

#[test]
fn the_end_that_the_tokenizer_names_counts() {
    let folder = TempDir::new().expect("a folder");
    let golden = Path::new("../../tests/golden/tokenizers/unigram");
    fs::copy(golden.join("tokenizer.json"), folder.path().join("tokenizer.json")).expect("copied");
    fs::copy(golden.join("tokenizer_config.json"), folder.path().join("tokenizer_config.json")).expect("copied");
    // No tensors: the length of the header, and the header.
    fs::write(folder.path().join("model.safetensors"), b"\x02\0\0\0\0\0\0\0{}").expect("written");
    let files = WeightFiles::open(folder.path()).expect("a folder of weights");
    let tokenizer = Tokenizer::of(&files).expect("a tokenizer");
    let end = tokenizer.token_id("</s>").expect("a token");
    assert_eq!(GenerationDefaults::of(&files, &tokenizer).expect("defaults").eos, ids(&[end]));
}

#[test]
fn gguf_files_name_ends_by_key_and_by_text() {
    let tokens = ["b", "<|im_end|>", "<end_of_turn>", "<|im_start|>", "c"];
    let keys = [("tokenizer.ggml.eos_token_id", Entry::U32(2)), ("tokenizer.ggml.eot_token_id", Entry::U32(6))];
    assert_eq!(gguf(3, &tokens, &keys).expect("defaults").eos, ids(&[2, 3, 4, 6]));
    // Text, and not the end of one.
    assert_eq!(gguf(1, &tokens, &keys).expect("defaults").eos, ids(&[2, 6]));
    let eom = [("tokenizer.ggml.eom_token_id", Entry::U32(5))];
    assert_eq!(gguf(1, &tokens, &eom).expect("defaults").eos, ids(&[5]));
    assert_eq!(gguf(3, &["<|end|>", "<|return|>"], &[]).expect("defaults").eos, ids(&[2, 3]));
    assert_eq!(gguf(3, &["<|end|>", "<|return|>", "<|call|>"], &[]).expect("defaults").eos, ids(&[3, 4]));
}

#[test]
fn gguf_files_have_settings() {
    let keys = [
        ("general.sampling.temp", Entry::F32(0.25)),
        ("general.sampling.top_k", Entry::I32(7)),
        ("general.sampling.top_p", Entry::F32(0.5)),
        ("general.sampling.min_p", Entry::F32(0.125)),
        ("general.sampling.penalty_repeat", Entry::F32(1.5)),
    ];
    let expected = SamplingOptions {
        temperature: Some(0.25),
        top_k: Some(7),
        top_p: Some(0.5),
        min_p: Some(0.125),
        repetition_penalty: Some(1.5),
        ..SamplingOptions::default()
    };
    assert_eq!(gguf(1, &[], &keys).expect("defaults").sampling, expected);
    for (key, value) in [
        ("general.sampling.temp", Entry::F32(f32::NAN)),
        ("general.sampling.top_p", Entry::F32(0.0)),
        ("general.sampling.penalty_repeat", Entry::F32(-1.0)),
        ("general.sampling.top_k", Entry::String("7".into())),
        ("tokenizer.ggml.eot_token_id", Entry::I32(-1)),
    ] {
        let error = gguf(1, &[], &[(key, value)]).expect_err(key).to_string();
        assert!(error.contains(&format!("`{key}`")) && error.contains("model.gguf"), "{error}");
    }
}
