//! The real all-MiniLM-L6-v2 against sentence-transformers: tokens, vectors, batches, devices, clients.

use std::path::Path;
use std::slice::from_ref;
use std::sync::OnceLock;

use burn::tensor::Device;
use gllm::{Client, ClientConfig, FileType, Precision, Truncated, Truncation, export_gguf};
use gllm_models::text::Tokenizer;
use gllm_models::{EmbedOptions, EmbeddingEngine, Target};
use gllm_tests::{embed, golden, max_abs_difference, min_cosine, read_npy, read_texts};
use serde_json::Value;

/// The model's folder; one download for all tests.
fn folder() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(gllm_tests::minilm).as_deref()
}

fn texts() -> Vec<String> {
    read_texts(&golden().join("minilm/texts.json"))
}

fn expected() -> Vec<Vec<f32>> {
    read_npy(&golden().join("minilm/embeddings.npy"))
}

fn matches_the_reference(device: &Device) {
    let Some(folder) = folder() else { return };
    let engine = EmbeddingEngine::load(folder, device).expect("a valid model");
    let (found, expected) = (embed(&engine, &texts(), &EmbedOptions::default()), expected());
    let (cosine, difference) = (min_cosine(&found, &expected), max_abs_difference(&found, &expected));
    println!("{device:?}: {} texts, cosine {cosine:.9}, difference {difference:e}", found.len());
    assert!(found.len() >= 64 && cosine >= 0.999_999 && difference <= 2e-5, "{cosine} {difference:e}");
}

#[test]
fn vectors_match_on_flex() {
    matches_the_reference(&Device::flex());
}

#[cfg(feature = "ndarray")]
#[test]
fn vectors_match_on_ndarray() {
    matches_the_reference(&gllm_models::device::ndarray());
}

#[test]
fn vectors_in_every_precision_match_as_far_as_it_goes() {
    let Some(folder) = folder() else { return };
    for (precision, on_average, at_least) in
        [(Precision::Auto, 0.9999, 0.9999), (Precision::Bf16, 0.9999, 0.9999), (Precision::Int8, 0.999, 0.996)]
    {
        let engine = EmbeddingEngine::load(folder, Target::new(Device::flex(), precision)).expect("a valid model");
        let (found, expected) = (embed(&engine, &texts(), &EmbedOptions::default()), expected());
        let cosines = found.iter().zip(&expected).map(|pair| min_cosine(from_ref(pair.0), from_ref(pair.1)));
        let (mean, worst) = (cosines.sum::<f64>() / found.len() as f64, min_cosine(&found, &expected));
        println!("{precision}: cosine {mean:.7} on average, {worst:.7} at worst");
        assert!(mean >= on_average && worst >= at_least, "{precision}: {mean}, {worst}");
    }
}

#[test]
fn vectors_from_gguf_match_as_far_as_its_weights_do() {
    let Some(folder) = folder() else { return };
    let place = tempfile::tempdir().expect("a temporary folder");
    // The model's own limit isn't in the file.
    let options = EmbedOptions { max_length: Some(256), ..EmbedOptions::default() };
    for (of, at_least) in [(FileType::F16, 0.9999), (FileType::Q8_0, 0.999)] {
        let path = place.path().join(format!("{of}.gguf"));
        export_gguf(folder, &path, of, &mut ()).expect("a model that GGUF has a place for");
        let engine = EmbeddingEngine::load(&path, &Device::flex()).expect("a valid model");
        let cosine = min_cosine(&embed(&engine, &texts(), &options), &expected());
        println!("{of}: cosine {cosine:.7}");
        assert!(cosine >= at_least, "{of}: {cosine}");
    }
}

#[test]
fn tokens_are_those_of_the_reference() {
    let Some(folder) = folder() else { return };
    let tokenizer = Tokenizer::load(folder).expect("a valid tokenizer");
    assert_eq!(tokenizer.max_length(), Some(256));
    let found = tokenizer.encode(&texts(), 256, Truncation::Cut).expect("every text is tokenized");
    let file = std::fs::read_to_string(golden().join("minilm/tokens.json")).expect("golden tokens");
    let expected: Vec<Value> = serde_json::from_str(&file).expect("a list");
    assert_eq!(found.len(), expected.len());
    for (place, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let ids: Vec<u32> = serde_json::from_value(expected["ids"].clone()).expect("a list of ids");
        assert_eq!(found.ids, ids, "text {place}");
        assert_eq!(Some(found.total as u64), expected["total"].as_u64(), "text {place}");
    }
}

#[test]
fn a_text_alone_equals_the_text_in_any_batch() {
    let Some(folder) = folder() else { return };
    let engine = EmbeddingEngine::load(folder, &Device::flex()).expect("a valid model");
    let texts = texts();
    let options = EmbedOptions::default();
    let together = embed(&engine, &texts, &options);
    let alone: Vec<Vec<f32>> = texts.iter().flat_map(|text| embed(&engine, &[text], &options)).collect();
    let difference = max_abs_difference(&together, &alone);
    println!("alone and together differ by {difference:e}");
    assert!(difference <= 1e-6, "{difference:e}");
    for batch_tokens in [1, 300, 1000] {
        let found = embed(&engine, &texts, &EmbedOptions { batch_tokens, ..options.clone() });
        assert!(max_abs_difference(&found, &alone) <= 1e-6, "batches of {batch_tokens} tokens");
    }
}

#[test]
fn the_client_counts_tokens_and_reports_what_it_cut() {
    if folder().is_none() {
        return;
    }
    let config = ClientConfig { device: gllm::Device::Cpu, ..ClientConfig::from_env().expect("a valid environment") };
    let client = Client::with_config("all-MiniLM-L6-v2", config).expect("the model is in the store");
    assert_eq!(client.info().repo_id, "sentence-transformers/all-MiniLM-L6-v2");
    assert_eq!((client.info().dimensions, client.info().max_length), (Some(384), Some(256)));

    let long = "word ".repeat(1000);
    let response = client.embeddings(["a short text", &long]).generate().expect("embeddings");
    assert_eq!(response.usage.prompt_tokens, 5 + 256);
    assert_eq!(response.truncated, [Truncated { index: 1, tokens: 1002, kept: 256 }]);
    let error = client.embeddings([&long]).truncation(Truncation::Error).generate().expect_err("too long");
    assert_eq!(error.to_string(), "text 0 has 1002 tokens, the limit is 256; shorten it, or allow truncation");
}

#[cfg(feature = "async")]
#[test]
fn the_asynchronous_client_answers_the_same() {
    use gllm::AsyncClient;

    if folder().is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let texts: Vec<String> = texts().into_iter().take(8).collect();
    let found = runtime.block_on(async {
        let precision = Precision::F32;
        let config = ClientConfig { device: gllm::Device::Cpu, precision, ..ClientConfig::from_env()? };
        let client = AsyncClient::with_config("all-MiniLM-L6-v2", config).await?;
        client.embeddings(texts).generate().await
    });
    let found: Vec<Vec<f32>> = found.expect("embeddings").embeddings.into_iter().map(|e| e.embedding).collect();
    assert!(max_abs_difference(&found, &expected()[..8]) <= 2e-5);
}
