//! bge-m3's three kinds of vectors, from a tiny model in its layout (`pytorch_model.bin` and two `.pt` heads), against
//! FlagEmbedding's formulas; and at its full length.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::Device;
use gllm::{Embedding, HybridWeights, SparseVector};
use gllm_core::Precision;
use gllm_models::{EmbedOptions, EmbeddingEngine, Target};
use gllm_tests::{golden, gpu, max_abs_difference, read_npy, read_texts};
use serde_json::Value;

const ALL_KINDS: fn() -> EmbedOptions = || EmbedOptions { sparse: true, multi_vector: true, ..Default::default() };

fn vectors(engine: &EmbeddingEngine, texts: &[String], options: &EmbedOptions) -> Vec<Embedding> {
    engine.embed(texts, options).unwrap_or_else(|e| panic!("{e}")).embeddings
}

fn texts() -> Vec<String> {
    read_texts(&golden().join("families/texts.json"))
}

fn json(name: &str) -> Value {
    let file = fs::read_to_string(golden().join("bge_m3").join(name)).expect("golden answers");
    serde_json::from_str(&file).expect("JSON")
}

/// Weights `[1][tokens]`; that the tokens are those of `b` is checked.
fn values(a: &SparseVector, b: &SparseVector) -> Vec<Vec<f32>> {
    assert_eq!(a.indices, b.indices);
    vec![a.values.clone()]
}

fn every_kind_matches(folder: &Path, device: &Device, limit: f32) {
    let engine = EmbeddingEngine::load(folder, device).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let found = vectors(&engine, &texts(), &ALL_KINDS());
    let sparse: Vec<BTreeMap<u32, f32>> = serde_json::from_value(json("sparse.json")).expect("a list of objects");
    let dense = read_npy(&golden().join("bge_m3/dense.npy"));
    assert_eq!((found.len(), found.len()), (sparse.len(), dense.len()));
    for (place, ((found, sparse), dense)) in found.into_iter().zip(sparse).zip(dense).enumerate() {
        let multi = read_npy(&golden().join(format!("bge_m3/colbert_{place:02}.npy")));
        let (indices, weights) = sparse.into_iter().unzip();
        let (sparse, found_sparse) = (SparseVector { indices, values: weights }, found.sparse.expect("asked for"));
        let differences = [
            max_abs_difference(&[found.embedding], &[dense]),
            max_abs_difference(&values(&found_sparse, &sparse), &values(&sparse, &found_sparse)),
            max_abs_difference(&found.multi_vector.expect("asked for").vectors, &multi),
        ];
        println!("text {place}: dense, sparse, multi-vector {differences:?}");
        assert!(differences.iter().all(|difference| *difference <= limit), "text {place}: {differences:?}");
    }
}

#[test]
fn every_kind_matches_on_flex() {
    every_kind_matches(&golden().join("bge_m3/model"), &Device::flex(), 2e-5);
}

#[test]
fn every_kind_matches_from_sharded_files() {
    every_kind_matches(&golden().join("bge_m3/model-sharded-bin"), &Device::flex(), 2e-5);
}

#[test]
fn every_kind_matches_on_a_gpu() {
    let Some(device) = gpu() else { return };
    every_kind_matches(&golden().join("bge_m3/model"), &device, 1e-3);
}

#[test]
fn scores_are_those_of_the_reference() {
    let engine = EmbeddingEngine::load(&golden().join("bge_m3/model"), &Device::flex()).expect("a model");
    let pairs = fs::read_to_string(golden().join("families/pairs.json")).expect("golden pairs");
    let mut pairs: Value = serde_json::from_str(&pairs).expect("JSON");
    let pairs: Vec<[String; 2]> = serde_json::from_value(pairs["pairs"].take()).expect("pairs");
    let expected = json("scores.json");
    let weights = HybridWeights { dense: 0.4, sparse: 0.2, multi_vector: 0.4 };
    for (place, pair) in pairs.iter().enumerate() {
        let [query, passage] = &vectors(&engine, pair, &ALL_KINDS())[..] else { panic!("two texts") };
        let sparse = |embedding: &Embedding| embedding.sparse.clone().expect("asked for");
        let multi = |embedding: &Embedding| embedding.multi_vector.clone().expect("asked for");
        let only_dense =
            |embedding: &Embedding| Embedding { embedding: embedding.embedding.clone(), ..Default::default() };
        let found = [
            ("dense", only_dense(query).hybrid_score(&only_dense(passage), weights)),
            ("sparse", sparse(query).dot(&sparse(passage))),
            ("colbert", multi(query).max_sim(&multi(passage))),
            ("hybrid", query.hybrid_score(passage, weights)),
        ];
        for (kind, found) in found {
            let expected = expected[kind][place].as_f64().unwrap_or_else(|| panic!("no {kind} score {place}"));
            assert!((f64::from(found) - expected).abs() <= 1e-4, "{kind} {place}: {found}, expected {expected}");
        }
    }
}

#[test]
fn what_is_computed_alone_equals_what_is_computed_in_a_batch() {
    let engine = EmbeddingEngine::load(&golden().join("bge_m3/model"), &Device::flex()).expect("a model");
    let together = vectors(&engine, &texts(), &ALL_KINDS());
    for (text, together) in texts().iter().zip(together) {
        let alone = vectors(&engine, std::slice::from_ref(text), &ALL_KINDS()).remove(0);
        let (one, all) = (alone.sparse.expect("asked for"), together.sparse.expect("asked for"));
        let differences = [
            max_abs_difference(&[alone.embedding], &[together.embedding]),
            max_abs_difference(&values(&one, &all), &values(&all, &one)),
            max_abs_difference(
                &alone.multi_vector.expect("asked for").vectors,
                &together.multi_vector.expect("asked for").vectors,
            ),
        ];
        assert!(differences.iter().all(|difference| *difference <= 1e-6), "{text}: {differences:?}");
    }
}

/// The dense vector needs the first token alone, the others need all of them.
#[test]
fn a_kind_is_the_same_beside_others_and_by_itself() {
    // Enough for several threads to share.
    let texts: Vec<String> = texts().into_iter().cycle().take(400).collect();
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let target = Target::new(Device::flex(), precision);
        let engine = EmbeddingEngine::load(&golden().join("bge_m3/model"), target).expect("a model");
        let dense = |texts: &[String], options: &EmbedOptions| -> Vec<Vec<f32>> {
            vectors(&engine, texts, options).into_iter().map(|found| found.embedding).collect()
        };
        let beside = dense(&texts, &ALL_KINDS());
        assert_eq!(dense(&texts, &EmbedOptions::default()), beside, "{precision:?}");
        for (text, beside) in texts.iter().zip(beside).take(12) {
            assert_eq!(dense(std::slice::from_ref(text), &EmbedOptions::default()), [beside], "{precision:?}: {text}");
        }
    }
}

#[test]
fn kinds_that_a_model_lacks_are_refused() {
    let load = |case: &str| EmbeddingEngine::load(&golden().join("families").join(case), &Device::flex()).expect(case);
    let message = |case: &str, options: &EmbedOptions| load(case).embed(&["a"], options).expect_err(case).to_string();
    let plain = EmbedOptions::default();
    let sparse = EmbedOptions { sparse: true, ..plain.clone() };
    let expected = "invalid `sparse`: expected false: this model has no sparse vectors, found true";
    assert_eq!(message("roberta/mean", &sparse), expected);
    let expected = "invalid `multi_vector`: expected false: this model has one vector for a text, found true";
    assert_eq!(message("bert/splade", &EmbedOptions { multi_vector: true, ..sparse.clone() }), expected);
    let expected = "invalid `sparse`: expected true: this model has only these, found false";
    assert_eq!(message("bert/splade", &plain), expected);
    let expected = "invalid `dimensions`: expected none: this model has only sparse vectors, found 8";
    assert_eq!(message("bert/splade", &EmbedOptions { dimensions: Some(8), ..sparse }), expected);
}
