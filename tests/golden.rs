//! Tiny random models, saved by transformers and sentence-transformers, against what those compute.

use burn::tensor::Device;
use gllm_models::{EmbedOptions, EmbeddingEngine};
use gllm_tests::{embed, golden, max_abs_difference, read_npy, read_texts};

const CASES: [&str; 17] = [
    "bf16",
    "cls-5-layers",
    "cls-mean",
    "dense",
    "dense-identity",
    "f16",
    "for-masked-lm",
    "lasttoken-gelu-new",
    "legacy-files",
    "max-relu",
    "mean",
    "odd",
    "plain",
    "prompts",
    "prompts-excluded",
    "sharded",
    "sqrt-len",
];

fn load(case: &str, device: &Device) -> EmbeddingEngine {
    EmbeddingEngine::load(&golden().join("bert").join(case), device).unwrap_or_else(|e| panic!("{case}: {e}"))
}

fn texts() -> Vec<String> {
    read_texts(&golden().join("bert/texts.json"))
}

/// The largest difference to `file` over all texts, in one batch.
fn difference(case: &str, file: &str, device: &Device, options: &EmbedOptions) -> f32 {
    let expected = read_npy(&golden().join("bert").join(case).join(file));
    max_abs_difference(&embed(&load(case, device), &texts(), options), &expected)
}

fn every_case_matches(device: &Device) {
    for case in CASES {
        let found = difference(case, "expected.npy", device, &EmbedOptions::default());
        println!("{case}: {found:e}");
        assert!(found <= 2e-5, "{case}: {found:e}");
    }
}

#[test]
fn every_case_matches_on_flex() {
    every_case_matches(&Device::flex());
}

#[cfg(feature = "ndarray")]
#[test]
fn every_case_matches_on_ndarray() {
    every_case_matches(&gllm_models::device::ndarray());
}

#[test]
fn a_text_alone_equals_the_text_in_a_batch() {
    let texts = texts();
    for case in CASES {
        let engine = load(case, &Device::flex());
        let alone: Vec<Vec<f32>> =
            texts.iter().flat_map(|text| embed(&engine, &[text], &EmbedOptions::default())).collect();
        for batch_tokens in [EmbedOptions::default().batch_tokens, 40] {
            let options = EmbedOptions { batch_tokens, ..Default::default() };
            let found = max_abs_difference(&embed(&engine, &texts, &options), &alone);
            println!("{case}, batches of {batch_tokens} tokens: {found:e}");
            assert!(found <= 1e-6, "{case}, batches of {batch_tokens} tokens: {found:e}");
        }
    }
}

#[test]
fn fewer_dimensions_are_cut_and_normalised() {
    let options = EmbedOptions { dimensions: Some(16), ..Default::default() };
    assert!(difference("mean", "expected_16.npy", &Device::flex(), &options) <= 2e-5);
}

#[test]
fn prompts_are_put_before_each_text() {
    let options = EmbedOptions { prompt_name: Some("query".into()), ..Default::default() };
    for case in ["prompts", "prompts-excluded"] {
        let found = difference(case, "expected_query.npy", &Device::flex(), &options);
        assert!(found <= 2e-5, "{case}: {found:e}");
    }
}
