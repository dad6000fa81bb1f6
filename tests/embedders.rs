//! Decoders that embed and rank: how they are told from those that write text, prompts, what is shared and what is cut,
//! what is refused. That they compute the right thing is tested with the other families.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use gllm::{Client, ClientConfig, ModelType, Precision, Truncated, Truncation};
use gllm_models::{EmbedOptions, EmbeddingEngine, RerankEngine, RerankOptions, model_type};
use gllm_tests::{embed, family_pairs as pairs, family_texts as texts, golden, max_abs_difference, read_npy};
use serde_json::{Value, json};
use tempfile::TempDir;

fn folder(case: &str) -> PathBuf {
    golden().join("families").join(case)
}

fn embedder(path: &Path) -> EmbeddingEngine {
    EmbeddingEngine::load(path, &Device::flex()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn reranker(path: &Path) -> RerankEngine {
    RerankEngine::load(path, &Device::flex()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A copy of a case, to be changed.
fn copy(case: &str) -> TempDir {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("readable");
            let target = to.join(entry.file_name());
            if entry.path().is_dir() { copy(&entry.path(), &target) } else { drop(fs::copy(entry.path(), target)) }
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    copy(&self::folder(case), folder.path());
    folder
}

fn edit(path: &Path, field: &str, value: Value) {
    let mut content: Value = serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON");
    content[field] = value;
    fs::write(path, content.to_string()).expect("a file");
}

/// The logits of `documents`, in their order.
fn logits(engine: &RerankEngine, query: &str, documents: &[String], options: &RerankOptions) -> Vec<f32> {
    let options = RerankOptions { raw_scores: true, ..options.clone() };
    let mut results = engine.rerank(query, documents, &options).unwrap_or_else(|e| panic!("{e}")).results;
    results.sort_by_key(|result| result.index);
    results.into_iter().map(|result| result.score).collect()
}

#[test]
fn other_files_than_the_configuration_tell_what_a_decoder_is_for() {
    let of = |path: &Path| model_type(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(of(&folder("qwen3/embedding")), ModelType::Embedding);
    assert_eq!(of(&folder("gemma2/embedding")), ModelType::Embedding);
    assert_eq!(of(&folder("qwen3/reranker")), ModelType::Rerank);
    assert_eq!(of(&folder("qwen3/reranker-seq-cls")), ModelType::Rerank);

    let older = copy("qwen3/reranker");
    fs::remove_file(older.path().join("modules.json")).expect("a file");
    assert_eq!(of(older.path()), ModelType::Generator);
    let readme = older.path().join("README.md");
    fs::write(&readme, "# Qwen3-Embedding\nSee Qwen3-Reranker.\n").expect("a file");
    assert_eq!(of(older.path()), ModelType::Generator);
    fs::write(&readme, "---\nlicense: apache-2.0\n---\n# Qwen3-Reranker-0.6B\n\nText.\n").expect("a file");
    assert_eq!(of(older.path()), ModelType::Rerank);

    // It scores as the newer files say, which name the same two words.
    let [older, newer] = [older.path(), &folder("qwen3/reranker")].map(reranker);
    let documents = ["the good new way".into()];
    let [older, newer] = [older, newer].map(|engine| logits(&engine, "life", &documents, &RerankOptions::default()));
    assert_eq!(older, newer);
}

#[test]
fn a_prompt_goes_before_the_text() {
    let engine = embedder(&folder("qwen3/embedding"));
    let options = EmbedOptions { prompt_name: Some("query".into()), ..Default::default() };
    let found = embed(&engine, &texts(), &options);
    let difference = max_abs_difference(&found, &read_npy(&folder("qwen3/embedding/expected_query.npy")));
    println!("{difference:e}");
    assert!(difference <= 2e-5, "{difference:e}");
    assert_eq!(engine.prompts().keys().collect::<Vec<_>>(), ["document", "query"]);
}

#[test]
fn a_text_gets_the_same_bits_alone_and_among_others() {
    for case in ["qwen3/embedding", "mistral/embedding", "mistral/mean", "gemma2/embedding"] {
        let (engine, texts) = (embedder(&folder(case)), texts());
        let together = embed(&engine, &texts, &EmbedOptions::default());
        for (text, together) in texts.iter().zip(&together) {
            assert_eq!(&embed(&engine, &[text], &EmbedOptions::default())[0], together, "{case}: {text:?}");
        }
    }
}

/// What the prompts of a request have in common is read once, then.
#[test]
fn a_document_gets_the_same_bits_alone_and_among_others() {
    let documents: Vec<String> = pairs().into_iter().map(|(_, document)| document).collect();
    for case in ["qwen3/reranker", "qwen3/reranker-seq-cls"] {
        let engine = reranker(&folder(case));
        for batch_tokens in [1, 60, 4096] {
            let options = RerankOptions { batch_tokens, ..Default::default() };
            let together = logits(&engine, "the first man", &documents, &options);
            for (document, together) in documents.iter().zip(together) {
                let alone = logits(&engine, "the first man", std::slice::from_ref(document), &options)[0];
                assert_eq!(alone.to_bits(), together.to_bits(), "{case}, {batch_tokens}: {document:?}");
            }
        }
    }
}

#[test]
fn an_instruction_takes_the_place_of_the_default_one() {
    for case in ["qwen3/reranker", "qwen3/reranker-untied", "qwen3/reranker-seq-cls"] {
        let engine = reranker(&folder(case));
        let instruction = Some("Find what the first man said of life".to_owned());
        let options = RerankOptions { instruction, ..Default::default() };
        let found = pairs().into_iter().map(|(query, document)| logits(&engine, &query, &[document], &options));
        let expected = read_npy(&folder(case).join("logits_instructed.npy"));
        let difference = max_abs_difference(&found.collect::<Vec<_>>(), &expected);
        println!("{case}: {difference:e}");
        assert!(difference <= 1e-4, "{case}: {difference:e}");
    }
    let options = RerankOptions { instruction: Some("Find it".into()), ..Default::default() };
    let error = reranker(&folder("bert/reranker")).rerank("a", &["b"], &options).expect_err("an encoder").to_string();
    assert_eq!(error, "invalid `instruction`: expected none: this model isn't told, found `Find it`");
}

#[test]
fn the_models_own_instruction_is_the_one_that_its_files_name() {
    let model = copy("qwen3/reranker");
    let prompts = json!({ "web_search": "Find what the first man said of life" });
    edit(&model.path().join("config_sentence_transformers.json"), "prompts", prompts);
    let engine = reranker(model.path());
    let (query, document) = pairs().swap_remove(0);
    let found = logits(&engine, &query, &[document], &RerankOptions::default())[0];
    let expected = read_npy(&folder("qwen3/reranker/logits_instructed.npy"))[0][0];
    assert!((found - expected).abs() <= 1e-4, "{found} {expected}");
}

#[test]
fn the_end_of_a_long_document_is_cut_and_the_prompt_is_kept() {
    let engine = reranker(&folder("qwen3/reranker"));
    let ask = |query: &str, document: &str, truncation| {
        let options = RerankOptions { truncation, raw_scores: true, ..Default::default() };
        engine.rerank(query, &[document], &options)
    };
    let long = "a".repeat(2000);
    let response = ask("life", &long, Truncation::Cut).expect("a ranking");
    let [Truncated { index: 0, tokens, kept: 260 }] = response.truncated[..] else { panic!("{response:?}") };
    assert!(tokens > 260 && !response.query_truncated);

    // The same as the longest part of the document that isn't cut.
    let fits = |len: &usize| ask("life", &long[..*len], Truncation::Error).is_ok();
    let len = (1..long.len()).take_while(fits).last().expect("some part fits");
    let part = ask("life", &long[..len], Truncation::Error).expect("it fits");
    assert_eq!(part.usage.prompt_tokens, 260);
    assert_eq!(part.results[0].score.to_bits(), response.results[0].score.to_bits());

    let error = ask("life", &long, Truncation::Error).expect_err("too long").to_string();
    assert_eq!(error, format!("text 0 has {tokens} tokens, the limit is 260; shorten it, or allow truncation"));
    let response = ask(&long, "life", Truncation::Cut).expect("a ranking");
    assert!(response.query_truncated && response.truncated[0].kept == 260);
}

#[test]
fn without_modules_a_language_model_is_pooled_at_its_last_token() {
    let whole = embedder(&folder("qwen3/embedding"));
    let plain = copy("qwen3/embedding");
    fs::remove_file(plain.path().join("modules.json")).expect("a file");
    let plain = embed(&embedder(plain.path()), &texts(), &EmbedOptions::default());
    let norm = |vector: &[f32]| vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    let scaled = |vector: Vec<f32>| vector.iter().map(|x| x / norm(&vector)).collect::<Vec<_>>();
    assert!(plain.iter().any(|vector| (norm(vector) - 1.0).abs() > 0.1), "not normalised");
    let plain: Vec<_> = plain.into_iter().map(scaled).collect();
    assert!(max_abs_difference(&plain, &embed(&whole, &texts(), &EmbedOptions::default())) <= 1e-6);
}

/// Loads a model to see it refused.
type Load = fn(&Path) -> gllm::Result<()>;

#[test]
fn what_is_computed_in_another_way_is_refused_by_name() {
    let embed = |path: &Path| EmbeddingEngine::load(path, &Device::flex()).map(drop);
    let rerank = |path: &Path| RerankEngine::load(path, &Device::flex()).map(drop);
    let cases: [(&str, Load, &str, &str, Value, &str); 7] = [
        ("qwen3/embedding", embed, "config.json", "is_causal", json!(false), "is_causal `false`"),
        (
            "gemma2/mean",
            embed,
            "config.json",
            "use_bidirectional_attention",
            json!(true),
            "use_bidirectional_attention `true`",
        ),
        ("qwen3/reranker", rerank, "1_LogitScore/config.json", "false_token_id", json!(null), "false_token_id `null`"),
        ("qwen3/reranker", rerank, "1_LogitScore/config.json", "true_token_id", json!(9693), "found 9693"),
        ("qwen3/reranker", rerank, "config.json", "model_type", json!("qwen2"), "`qwen2`"),
        ("qwen3/reranker-seq-cls", rerank, "config.json", "id2label", json!({"0": "no", "1": "yes"}), "num_labels `2`"),
        ("qwen3/embedding", embed, "1_Pooling/config.json", "pooling_mode", json!("weightedmean"), "`weightedmean`"),
    ];
    for (case, load, file, field, value, expected) in cases {
        let model = copy(case);
        edit(&model.path().join(file), field, value);
        let error = load(model.path()).expect_err(field).to_string();
        assert!(error.contains(expected), "{case} {field}: {error}");
    }

    let error = rerank(&folder("qwen3/embedding")).expect_err("an embedding model").to_string();
    assert!(error.contains("LogitScore"), "{error}");
    let model = copy("qwen3/reranker");
    let template = "{% for message in messages %}{{ message.content }}{% endfor %}";
    fs::write(model.path().join("chat_template.jinja"), template).expect("a file");
    let error = rerank(model.path()).expect_err("another prompt").to_string();
    assert!(error.contains("chat template"), "{error}");
}

#[test]
fn the_client_embeds_and_ranks_with_decoders() {
    let client = |case: &str| {
        let config = ClientConfig { device: gllm::Device::Cpu, precision: Precision::F32, ..Default::default() };
        Client::with_config(folder(case).to_str().expect("UTF-8"), config).unwrap_or_else(|e| panic!("{case}: {e}"))
    };
    let embedder = client("qwen3/embedding");
    assert_eq!((embedder.info().dimensions, embedder.info().max_length), (Some(32), Some(48)));
    let response = embedder.embeddings(["a text"]).dimensions(16).prompt_name("query").generate().expect("a vector");
    assert_eq!(response.embeddings[0].embedding.len(), 16);
    let error = embedder.embeddings(["a"]).sparse(true).generate().expect_err("no sparse vectors").to_string();
    assert!(error.contains("sparse"), "{error}");

    let reranker = client("qwen3/reranker");
    let response = reranker.rerank("life", ["a", "b"]).instruction("Find it").generate().expect("a ranking");
    assert!(response.results.iter().all(|result| (0.0..=1.0).contains(&result.score)));
}
