//! Rankings: order, ties, what comes back, what is cut, what is refused.

use std::path::PathBuf;

use burn::tensor::Device;
use gllm::{Client, ClientConfig, Precision, Truncated, Truncation};
use gllm_models::{RerankEngine, RerankOptions};
use gllm_tests::golden;

fn folder(case: &str) -> PathBuf {
    golden().join("families").join(case)
}

fn client(case: &str) -> Client {
    let config = ClientConfig { device: gllm::Device::Cpu, precision: Precision::F32, ..Default::default() };
    let path = folder(case);
    Client::with_config(path.to_str().expect("UTF-8"), config).unwrap_or_else(|e| panic!("{case}: {e}"))
}

const DOCUMENTS: [&str; 4] = ["the good new way", "a", "the good new way", "what is life"];

#[test]
fn the_best_come_first_and_equal_documents_keep_their_order() {
    let client = client("bert/reranker");
    let response = client.rerank("life is good", DOCUMENTS).generate().expect("a ranking");
    let scores: Vec<f32> = response.results.iter().map(|result| result.score).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let place = |index| response.results.iter().position(|result| result.index == index);
    assert_eq!(place(0).expect("the first") + 1, place(2).expect("its double"));
    assert!(response.results.iter().all(|result| result.document.is_none()));
    // [CLS] 3 [SEP] 4 [SEP], and so on: the query counts in each pair.
    assert_eq!(response.usage.prompt_tokens, (3 + 3) * 4 + 4 + 1 + 4 + 3);
    assert_eq!(response.usage.total_tokens, response.usage.prompt_tokens);
    assert!(response.truncated.is_empty() && !response.query_truncated);
}

#[test]
fn only_what_is_asked_for_comes_back() {
    let client = client("bert/reranker");
    let ask = || client.rerank("life is good", DOCUMENTS);
    let all = ask().generate().expect("a ranking").results;
    let best = ask().top_n(2).return_documents(true).generate().expect("a ranking").results;
    assert_eq!(best.len(), 2);
    for (best, all) in best.iter().zip(&all) {
        assert_eq!((best.index, best.score), (all.index, all.score));
        assert_eq!(best.document.as_deref(), Some(DOCUMENTS[best.index]));
    }
    let raw = ask().raw_scores(true).generate().expect("a ranking").results;
    for (score, logit) in all.iter().zip(&raw) {
        assert_eq!(score.index, logit.index);
        assert!((score.score - 1.0 / (1.0 + (-logit.score).exp())).abs() <= 1e-6);
    }
    assert_eq!(ask().top_n(9).generate().expect("a ranking").results.len(), DOCUMENTS.len());
}

#[test]
fn the_end_of_a_long_document_is_cut_and_the_query_is_kept() {
    let client = client("bert/reranker");
    let long = "the good new way ".repeat(20);
    let response = client.rerank("life is good", ["a", &long]).generate().expect("a ranking");
    assert_eq!(response.truncated, [Truncated { index: 1, tokens: 3 + 3 + 80, kept: 48 }]);
    assert!(!response.query_truncated);

    // The same as the document that is left.
    let left = long.split(' ').take(48 - 6).collect::<Vec<_>>().join(" ");
    let score = |document: &str| {
        let results = client.rerank("life is good", [document]).raw_scores(true).generate().expect("a ranking").results;
        results[0].score
    };
    assert_eq!(score(&long).to_bits(), score(&left).to_bits());

    let error = client.rerank("life is good", ["a", &long]).truncation(Truncation::Error).generate();
    let error = error.expect_err("too long").to_string();
    assert_eq!(error, "text 1 has 86 tokens, the limit is 48; shorten it, or allow truncation");
}

#[test]
fn a_query_beyond_half_of_the_limit_is_still_kept() {
    let client = client("bert/reranker");
    let query = "the good new way ".repeat(8);
    let response = client.rerank(&query, ["life is good ".repeat(20)]).generate().expect("a ranking");
    assert_eq!(response.truncated, [Truncated { index: 0, tokens: 3 + 32 + 60, kept: 48 }]);
    assert!(!response.query_truncated);
    // 48 − 3 − 32 tokens of the document are left.
    let kept = "life is good ".repeat(20).split(' ').take(13).collect::<Vec<_>>().join(" ");
    let score = |document: &str| client.rerank(&query, [document]).generate().expect("a ranking").results[0].score;
    assert_eq!(score(&"life is good ".repeat(20)).to_bits(), score(&kept).to_bits());
}

#[test]
fn a_query_that_leaves_no_room_is_cut_and_said_so() {
    let client = client("bert/reranker");
    let query = "the good new way ".repeat(20);
    let response = client.rerank(&query, ["life is good", "a"]).generate().expect("a ranking");
    assert!(response.query_truncated);
    let kept: Vec<usize> = response.truncated.iter().map(|truncated| truncated.kept).collect();
    assert_eq!(kept, [48, 48]);
}

#[test]
fn what_a_ranking_cannot_be_made_of_is_refused() {
    let client = client("bert/reranker");
    let message = |request: gllm::RerankBuilder<'_>| request.generate().expect_err("refused").to_string();
    let none: [&str; 0] = [];
    let refused = [
        (client.rerank("query", none), "invalid `documents`: expected at least one document, found none"),
        (client.rerank("query", ["a"]).top_n(0), "invalid `top_n`: expected at least 1, found 0"),
        (client.rerank("query", ["a"]).batch_tokens(0), "invalid `batch_tokens`: expected at least 1, found 0"),
        (
            client.rerank("query", ["a"]).max_length(4),
            "invalid `max_length`: expected 5 to 48, the most tokens that this model reads, found 4",
        ),
    ];
    for (request, expected) in refused {
        assert_eq!(message(request), expected);
    }
}

#[test]
fn a_model_for_another_task_is_refused_by_name() {
    let error = client("bert/reranker").embeddings(["a"]).generate().expect_err("a reranker").to_string();
    assert!(error.contains("expected an embedding model") && error.contains("which is for rerank"), "{error}");
    let error = client("roberta/mean").rerank("a", ["b"]).generate().expect_err("an embedder").to_string();
    assert!(error.contains("expected a reranker") && error.contains("which is for embedding"), "{error}");
}

#[test]
fn a_classifier_of_several_labels_is_refused_with_the_reason() {
    let error = RerankEngine::load(&folder("bert/reranker-three-labels"), &Device::flex()).expect_err("three labels");
    let error = error.to_string();
    assert!(error.contains("config.json") && error.contains("num_labels `3`"), "{error}");
}

#[test]
fn the_activation_is_the_one_that_the_model_names() {
    for case in ["reranker-identity", "reranker-config-activation", "reranker-legacy-activation"] {
        let engine = RerankEngine::load(&folder("bert").join(case), &Device::flex()).expect("a reranker");
        let score = |raw_scores| {
            let options = RerankOptions { raw_scores, ..Default::default() };
            engine.rerank("life is good", &["a"], &options).expect("a ranking").results[0].score
        };
        assert_eq!(score(true).to_bits(), score(false).to_bits(), "{case}");
    }
}

#[cfg(feature = "async")]
#[test]
fn the_asynchronous_client_answers_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let found = runtime.block_on(async {
        let config = ClientConfig { device: gllm::Device::Cpu, precision: Precision::F32, ..Default::default() };
        let path = folder("bert/reranker");
        let client = gllm::AsyncClient::with_config(path.to_str().expect("UTF-8"), config).await?;
        let error = client.embeddings(["a"]).generate().await.expect_err("a reranker").to_string();
        assert!(error.contains("expected an embedding model"), "{error}");
        client.rerank("life is good", DOCUMENTS).generate().await
    });
    let expected = client("bert/reranker").rerank("life is good", DOCUMENTS).generate();
    assert_eq!(found.expect("a ranking"), expected.expect("a ranking"));
}
