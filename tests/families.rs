//! Every family of encoders, and every head: tiny random models against what transformers and sentence-transformers
//! compute.
//!
//! A case is a folder `golden/families/<family>/<case>` with a complete model; which files of answers lie in it says
//! what is compared. A new family needs a folder, and nothing here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use gllm::SparseVector;
use gllm_models::{EmbedOptions, EmbeddingEngine, RerankEngine, RerankOptions};
use gllm_tests::{
    embed, family_cases as cases, family_pairs as pairs, family_texts as texts, gpu, max_abs_difference, read_npy,
};

fn embedder(case: &Path, device: &Device) -> EmbeddingEngine {
    EmbeddingEngine::load(case, device).unwrap_or_else(|e| panic!("{}: {e}", case.display()))
}

fn reranker(case: &Path, device: &Device) -> RerankEngine {
    RerankEngine::load(case, device).unwrap_or_else(|e| panic!("{}: {e}", case.display()))
}

/// `[pairs][1]`, each pair alone.
fn scores(engine: &RerankEngine, pairs: &[(String, String)], options: &RerankOptions) -> Vec<Vec<f32>> {
    let score = |(query, document): &(String, String)| {
        let response = engine.rerank(query, &[document], options).unwrap_or_else(|e| panic!("{query}: {e}"));
        vec![response.results[0].score]
    };
    pairs.iter().map(score).collect()
}

/// `[texts][vocab]`
fn sparse_vectors(engine: &EmbeddingEngine, texts: &[String], options: &EmbedOptions) -> Vec<Vec<f32>> {
    let options = EmbedOptions { sparse: true, ..options.clone() };
    let response = engine.embed(texts, &options).unwrap_or_else(|e| panic!("{e}"));
    let vectors = response.embeddings.into_iter().map(|embedding| embedding.sparse.expect("asked for"));
    vectors.map(|vector| dense(&vector)).collect()
}

fn dense(vector: &SparseVector) -> Vec<f32> {
    let mut row = vec![0.0; 1000];
    for (&index, &value) in vector.indices.iter().zip(&vector.values) {
        row[index as usize] = value;
    }
    row
}

/// `[texts][vocab]`, from a list of objects `{"token id": weight}`.
fn read_sparse(case: &Path) -> Vec<Vec<f32>> {
    let file = fs::read_to_string(case.join("sparse.json")).expect("golden weights");
    let rows: Vec<BTreeMap<u32, f32>> = serde_json::from_str(&file).expect("a list of objects");
    let rows = rows.into_iter().map(|row| {
        let (indices, values) = row.into_iter().unzip();
        dense(&SparseVector { indices, values })
    });
    rows.collect()
}

fn check(case: &Path, what: &str, found: &[Vec<f32>], expected: &[Vec<f32>], limit: f32) {
    let difference = max_abs_difference(found, expected);
    println!("{} {what}: {difference:e}", case.display());
    assert!(difference <= limit, "{} {what}: {difference:e}", case.display());
}

/// Checks every case; what is computed one at a time, for the first `singles` texts and pairs.
fn every_case_matches(device: &Device, singles: usize, [vectors, logits]: [f32; 2]) {
    let (texts, pairs) = (texts(), pairs());
    let (few, pairs) = (&texts[..singles.min(texts.len())], &pairs[..singles.min(pairs.len())]);
    for case in cases("expected.npy") {
        let found = embed(&embedder(&case, device), &texts, &EmbedOptions::default());
        check(&case, "vectors", &found, &read_npy(&case.join("expected.npy")), vectors);
    }
    for case in cases("logits.npy") {
        let engine = reranker(&case, device);
        let expected = |name| read_npy(&case.join(name))[..pairs.len()].to_vec();
        let raw = RerankOptions { raw_scores: true, ..Default::default() };
        check(&case, "logits", &scores(&engine, pairs, &raw), &expected("logits.npy"), logits);
        let found = scores(&engine, pairs, &RerankOptions::default());
        check(&case, "scores", &found, &expected("scores.npy"), logits);
    }
    for case in cases("sparse.json") {
        let found = sparse_vectors(&embedder(&case, device), few, &EmbedOptions::default());
        check(&case, "weights", &found, &read_sparse(&case)[..few.len()], logits);
    }
}

#[test]
fn every_case_matches_on_flex() {
    every_case_matches(&Device::flex(), usize::MAX, [2e-5, 1e-4]);
}

#[test]
fn every_case_matches_on_a_gpu() {
    let Some(device) = gpu() else { return };
    // Each new shape costs shaders: seconds.
    every_case_matches(&device, 2, [1e-3, 1e-3]);
}

#[test]
fn what_is_computed_alone_equals_what_is_computed_in_a_batch() {
    let texts = texts();
    let budgets = [EmbedOptions::DEFAULT_BATCH_TOKENS, 60];
    let check = |case: &Path, what: &str, together: &[Vec<f32>], alone: &[Vec<f32>]| {
        let difference = max_abs_difference(together, alone);
        println!("{} {what}: {difference:e}", case.display());
        assert!(difference <= 1e-6, "{} {what}: {difference:e}", case.display());
    };
    let of_budget = |batch_tokens| EmbedOptions { batch_tokens, ..Default::default() };
    for case in cases("expected.npy") {
        let engine = embedder(&case, &Device::flex());
        let alone: Vec<_> = texts.iter().flat_map(|text| embed(&engine, &[text], &of_budget(1))).collect();
        for budget in budgets {
            check(&case, "vectors", &embed(&engine, &texts, &of_budget(budget)), &alone);
        }
    }
    for case in cases("sparse.json") {
        let engine = embedder(&case, &Device::flex());
        let alone: Vec<_> =
            texts.iter().flat_map(|text| sparse_vectors(&engine, std::slice::from_ref(text), &of_budget(1))).collect();
        for budget in budgets {
            check(&case, "weights", &sparse_vectors(&engine, &texts, &of_budget(budget)), &alone);
        }
    }
    let documents: Vec<String> = pairs().into_iter().map(|(_, document)| document).collect();
    for case in cases("logits.npy") {
        let engine = reranker(&case, &Device::flex());
        let logits = |documents: &[String], batch_tokens| -> Vec<Vec<f32>> {
            let options = RerankOptions { raw_scores: true, batch_tokens, ..Default::default() };
            let mut results = engine.rerank("the first man", documents, &options).expect("a ranking").results;
            results.sort_by_key(|result| result.index);
            results.into_iter().map(|result| vec![result.score]).collect()
        };
        let alone: Vec<_> = documents.iter().flat_map(|document| logits(std::slice::from_ref(document), 1)).collect();
        for budget in budgets {
            check(&case, "logits", &logits(&documents, budget), &alone);
        }
    }
}
