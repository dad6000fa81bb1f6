//! The precisions, on every family of encoders: what they lose, and that nothing else changes a result.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn::tensor::Device;
use gllm::Precision;
use gllm_models::{EmbedOptions, EmbeddingEngine, RerankEngine, RerankOptions, Target};
use gllm_tests::{embed, family_cases as cases, family_pairs as pairs, family_texts as texts, min_cosine, read_npy};

const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

/// Names the file that a process of one number of threads writes its results to.
const RESULTS: &str = "GLLM_TEST_RESULTS";

fn target(precision: Precision) -> Target {
    Target::new(Device::flex(), precision)
}

fn embedder(case: &Path, precision: Precision) -> EmbeddingEngine {
    EmbeddingEngine::load(case, target(precision)).unwrap_or_else(|e| panic!("{}: {e}", case.display()))
}

/// Random weights of a few dozen inputs lose more than trained ones of hundreds: this finds what is wrong, not what is
/// rough.
#[test]
fn vectors_of_every_family_stay_near_the_reference() {
    for case in cases("expected.npy") {
        let expected = read_npy(&case.join("expected.npy"));
        for (precision, at_least) in [(Precision::Bf16, 0.999), (Precision::Int8, 0.97)] {
            let found = embed(&embedder(&case, precision), &texts(), &EmbedOptions::default());
            let cosine = min_cosine(&found, &expected);
            println!("{} {precision}: cosine {cosine:.6}", case.display());
            assert!(cosine >= at_least, "{} {precision}: {cosine}", case.display());
        }
    }
}

#[test]
fn a_result_is_the_same_alone_in_any_batch_and_on_any_number_of_threads() {
    if let Some(path) = env::var_os(RESULTS) {
        let results = serde_json::to_string(&results()).expect("JSON");
        fs::write(path, results).expect("a writable file");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let of_threads = |threads: &str| -> BTreeMap<String, Vec<Vec<u32>>> {
        let path = folder.path().join(threads);
        // The pool of a process has one size.
        let mut own = Command::new(env::current_exe().expect("this program"));
        own.args(["--exact", "a_result_is_the_same_alone_in_any_batch_and_on_any_number_of_threads"]);
        let status = own.env(RESULTS, &path).env("GLLM_NUM_THREADS", threads).status().expect("a process");
        assert!(status.success(), "{threads} threads");
        serde_json::from_str(&fs::read_to_string(path).expect("results")).expect("JSON")
    };
    let one = of_threads("1");
    assert!(one.len() >= 2 * ALL.len(), "{} cases", one.len());
    for threads in ["2", "3"] {
        for (case, found) in of_threads(threads) {
            assert_eq!(Some(&found), one.get(&case), "{case} on {threads} threads");
        }
    }
}

/// The bits of every case's vectors and logits in every precision, each computed alone and, compared with that, in
/// batches.
fn results() -> BTreeMap<String, Vec<Vec<u32>>> {
    let bits = |vectors: Vec<Vec<f32>>| -> Vec<Vec<u32>> {
        vectors.into_iter().map(|vector| vector.into_iter().map(f32::to_bits).collect()).collect()
    };
    let mut results = BTreeMap::new();
    let name = |case: &PathBuf, precision| format!("{} {precision}", case.display());
    for precision in ALL {
        for case in cases("expected.npy") {
            let engine = embedder(&case, precision);
            let of_budget = |batch_tokens| EmbedOptions { batch_tokens, ..Default::default() };
            let alone = bits(embed(&engine, &texts(), &of_budget(1)));
            for budget in [60, EmbedOptions::DEFAULT_BATCH_TOKENS] {
                let together = bits(embed(&engine, &texts(), &of_budget(budget)));
                assert_eq!(together, alone, "{}, batches of {budget} tokens", name(&case, precision));
            }
            results.insert(name(&case, precision), alone);
        }
        for case in cases("logits.npy") {
            let engine = RerankEngine::load(&case, target(precision)).unwrap_or_else(|e| panic!("{e}"));
            let documents: Vec<String> = pairs().into_iter().map(|(_, document)| document).collect();
            let logits = |batch_tokens| {
                let options = RerankOptions { raw_scores: true, batch_tokens, ..Default::default() };
                let mut results = engine.rerank("the first man", &documents, &options).expect("a ranking").results;
                results.sort_by_key(|result| result.index);
                bits(results.into_iter().map(|result| vec![result.score]).collect())
            };
            let alone = logits(1);
            for budget in [60, EmbedOptions::DEFAULT_BATCH_TOKENS] {
                assert_eq!(logits(budget), alone, "{}, batches of {budget} tokens", name(&case, precision));
            }
            results.insert(name(&case, precision), alone);
        }
    }
    results
}
