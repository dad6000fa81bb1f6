//! Encoders, and decoders that embed and rank, in GGUF, as llama.cpp's converter writes them: the vectors, scores and tokens of the models that they come
//! from, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use gllm::{Error, LoadError, ModelType, Truncation};
use gllm_core::LoadProblem;
use gllm_models::text::Tokenizer;
use gllm_models::{EmbedOptions, EmbeddingEngine, RerankEngine, RerankOptions};
use gllm_quant::gguf::{Array, Value};
use gllm_tests::gguf::Gguf;
use gllm_tests::{embed, family_pairs, family_texts, golden, max_abs_difference, min_cosine, read_npy, read_texts};

/// The limit of the models that the files come from, which isn't in GGUF.
const LIMIT: usize = 48;

fn model(name: &str) -> PathBuf {
    golden().join("gguf_models").join(name)
}

fn engine_on(path: &Path, device: &Device) -> EmbeddingEngine {
    EmbeddingEngine::load(path, device).unwrap_or_else(|e| panic!("{e}"))
}

fn engine(path: &Path) -> EmbeddingEngine {
    engine_on(path, &Device::flex())
}

fn options() -> EmbedOptions {
    EmbedOptions { max_length: Some(LIMIT), ..Default::default() }
}

fn normalized(vectors: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let scale = |vector: Vec<f32>| {
        let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
        vector.into_iter().map(|x| x / norm).collect()
    };
    vectors.into_iter().map(scale).collect()
}

/// Compares the vectors of all texts, or of those without RoBERTa's padding token, which takes a position in GGUF.
fn agrees(file: &str, expected: &Path, has_padding: bool) {
    let texts = family_texts();
    let expected = normalized(read_npy(expected));
    assert_eq!(texts.len(), expected.len());
    let kept = texts.into_iter().zip(expected).filter(|(text, _)| has_padding || !text.contains("<pad>"));
    let (texts, expected): (Vec<_>, Vec<_>) = kept.unzip();
    assert!(texts.len() >= 15);
    let difference = max_abs_difference(&embed(&engine(&model(file)), &texts, &options()), &expected);
    println!("{file}: {difference:e}");
    assert!(difference <= 2e-5, "{file}: {difference:e}");
}

#[test]
fn vectors_of_every_type_of_weights_match() {
    for kind in ["f32", "f16", "bf16"] {
        agrees(&format!("bert-{kind}.gguf"), &model(&format!("bert-{kind}.npy")), true);
    }
}

/// Here packed weights meet activations that are rounded to 8 bits, in a model whose random weights are large.
#[test]
fn vectors_of_packed_weights_point_the_same_way() {
    let texts = family_texts();
    let found = embed(&engine(&model("bert-q8_0.gguf")), &texts, &options());
    let cosine = min_cosine(&found, &read_npy(&model("bert-q8_0.npy")));
    println!("bert-q8_0.gguf: {cosine}");
    assert!(cosine >= 0.995, "{cosine}");
}

/// Where there are no kernels for packed weights, they are floats.
#[cfg(feature = "ndarray")]
#[test]
fn vectors_of_expanded_weights_match() {
    let texts = family_texts();
    let engine = engine_on(&model("bert-q8_0.gguf"), &gllm_models::device::ndarray());
    let difference = max_abs_difference(&embed(&engine, &texts, &options()), &read_npy(&model("bert-q8_0.npy")));
    println!("bert-q8_0.gguf: {difference:e}");
    assert!(difference <= 2e-5, "{difference:e}");
}

#[test]
fn vectors_of_every_family_match() {
    for (family, case, has_padding) in [
        ("roberta", "mean", false),
        ("xlm_roberta", "cls-published-tokenizer", false),
        ("distilbert", "mean", true),
        ("nomic_bert", "embedding", true),
        ("jina_bert", "embedding", true),
        ("modernbert", "mean", true),
        ("qwen3", "embedding", true),
    ] {
        let expected = golden().join("families").join(family).join(case).join("expected.npy");
        agrees(&format!("{family}-{case}.gguf"), &expected, has_padding);
    }
}

#[test]
fn a_decoder_is_for_what_its_pooling_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    for (pooling, expected) in [
        (None, ModelType::Generator),
        (Some(0), ModelType::Generator),
        (Some(1), ModelType::Embedding),
        (Some(3), ModelType::Embedding),
        (Some(4), ModelType::Rerank),
    ] {
        let mut file = Gguf::read(&model("qwen3-embedding.gguf"));
        match pooling {
            Some(pooling) => file.set("qwen3.pooling_type", Value::U32(pooling)),
            None => file.remove("qwen3.pooling_type"),
        }
        file.write(&path);
        assert_eq!(gllm_models::model_type(&path).expect("a model"), expected, "{pooling:?}");
    }
}

#[test]
fn malformed_decoders_are_refused() {
    let embed = |path: &Path| EmbeddingEngine::load(path, &Device::flex()).map(drop);
    let rerank = |path: &Path| RerankEngine::load(path, &Device::flex()).map(drop);
    let causal: Edit = |file| file.set("qwen3.attention.causal", Value::Bool(false));
    is_about(&refused(&model("qwen3-embedding.gguf"), embed, causal), "qwen3.attention.causal", "`false`");
    let labels: Edit = |file| file.strings("qwen3.classifier.output_labels").reverse();
    is_about(&refused(&model("qwen3-reranker.gguf"), rerank, labels), "output_labels", "no, yes");
}

#[test]
fn scores_match() {
    let pairs = family_pairs();
    for (family, case, has_padding, limit) in [
        ("roberta", "reranker", false, LIMIT),
        ("distilbert", "reranker", true, LIMIT),
        ("modernbert", "reranker-cls", true, LIMIT),
        ("modernbert", "reranker-mean", true, LIMIT),
        ("qwen3", "reranker", true, 260),
    ] {
        let path = model(&format!("{family}-{case}.gguf"));
        assert_eq!(gllm_models::model_type(&path).expect("a model"), ModelType::Rerank);
        let engine = RerankEngine::load(&path, &Device::flex()).unwrap_or_else(|e| panic!("{e}"));
        for (name, raw_scores) in [("logits.npy", true), ("scores.npy", false)] {
            let options = RerankOptions { raw_scores, max_length: Some(limit), ..Default::default() };
            let score = |(query, document): &(String, String)| {
                vec![engine.rerank(query, &[document], &options).expect("a score").results[0].score]
            };
            let expected = read_npy(&golden().join("families").join(family).join(case).join(name));
            assert_eq!(pairs.len(), expected.len());
            let kept =
                pairs.iter().zip(expected).filter(|((_, document), _)| has_padding || !document.contains("<pad>"));
            let (found, expected): (Vec<_>, Vec<_>) = kept.map(|(pair, expected)| (score(pair), expected)).unzip();
            assert!(found.len() >= 11);
            let difference = max_abs_difference(&found, &expected);
            assert!(difference <= 1e-4, "{family} {case} {name}: {difference:e}");
        }
    }
}

#[test]
fn tokens_are_those_of_the_original_tokenizer() {
    let texts = read_texts(&golden().join("tokenizers/texts.json"));
    let mut found = 0;
    for entry in fs::read_dir(golden().join("gguf_tokenizers")).expect("golden tokenizers") {
        let path = entry.expect("a readable folder").path();
        if path.extension().is_none_or(|extension| extension != "gguf") {
            continue;
        }
        let expected = fs::read_to_string(path.with_extension("json")).expect("golden ids");
        let expected: Vec<Vec<u32>> = serde_json::from_str(&expected).expect("lists of ids");
        let tokenizer = Tokenizer::load(&path).unwrap_or_else(|e| panic!("{e}"));
        let tokens = tokenizer.encode(&texts, usize::MAX, Truncation::Cut).expect("every text is tokenized");
        assert_eq!(tokens.len(), expected.len());
        for ((text, tokens), expected) in texts.iter().zip(tokens).zip(expected) {
            assert_eq!(tokens.ids, expected, "{}: {text:?}", path.display());
        }
        found += 1;
    }
    assert_eq!(found, 12, "golden tokenizers");
}

#[test]
fn a_file_speaks_for_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("any name.gguf");
    fs::copy(model("bert-f32.gguf"), &path).expect("a copy");
    for file in ["config.json", "tokenizer.json", "modules.json", "config_sentence_transformers.json"] {
        fs::write(folder.path().join(file), "{").expect("a file");
    }
    let texts = ["the first man", "said"];
    let expected = embed(&engine(&model("bert-f32.gguf")), &texts, &options());
    for path in [folder.path(), &path] {
        assert_eq!(embed(&engine(path), &texts, &options()), expected, "{}", path.display());
    }
}

/// Why a copy of `name` doesn't load after `edit`; the file is named.
fn refused<T>(name: &Path, load: impl Fn(&Path) -> gllm::Result<T>, edit: impl FnOnce(&mut Gguf)) -> LoadProblem {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    let mut file = Gguf::read(name);
    file.write(&path);
    assert!(load(&path).is_ok(), "it loads unless it is edited");
    edit(&mut file);
    file.write(&path);
    match load(&path).map(|_| ()).expect_err("malformed") {
        Error::LoadError(LoadError { path: found, problem }) => {
            assert!(found == path || matches!(problem, LoadProblem::MissingTensor { .. }), "{}", found.display());
            problem
        }
        other => panic!("{other}"),
    }
}

/// Checks that the problem is with `key`, and its message has `found`.
fn is_about(problem: &LoadProblem, key: &str, found: &str) {
    let message = problem.to_string();
    assert!(message.contains(key) && message.contains(found), "{message}: not about {key} and {found}");
}

type Edit = fn(&mut Gguf);

#[test]
fn malformed_models_are_refused() {
    let load = |path: &Path| EmbeddingEngine::load(path, &Device::flex());
    let cases: [(Edit, &str, &str); 12] = [
        (|file| file.remove("general.architecture"), "general.architecture", "no such key"),
        (|file| file.set("general.architecture", Value::String("rwkv".into())), "general.architecture", "`rwkv`"),
        (|file| file.remove("bert.embedding_length"), "bert.embedding_length", "no such key"),
        (|file| file.set("bert.block_count", Value::U32(0)), "bert.block_count", "found 0"),
        (|file| file.set("bert.block_count", Value::U32(u32::MAX)), "blk.2.", "missing"),
        (|file| file.set("bert.attention.head_count", Value::U32(5)), "num_attention_heads", "found 5"),
        (|file| file.set("bert.attention.key_length", Value::U32(8)), "bert.attention.key_length", "found 8"),
        (
            |file| file.set("bert.attention.key_length", Value::U64(1 << 63)),
            "bert.attention.key_length",
            "found 9223372036854775808",
        ),
        (|file| file.set("bert.attention.causal", Value::Bool(true)), "bert.attention.causal", "true"),
        (|file| file.set("bert.pooling_type", Value::U32(4)), "bert.pooling_type", "`4`"),
        (|file| file.remove_tensor("token_embd.weight"), "token_embd.weight", "missing"),
        (|file| file.set("bert.context_length", Value::U32(65)), "position_embd.weight", "[64, 32]"),
    ];
    for (edit, key, found) in cases {
        is_about(&refused(&model("bert-f32.gguf"), load, edit), key, found);
    }
}

fn tokenizer(name: &str) -> PathBuf {
    golden().join("gguf_tokenizers").join(format!("{name}.gguf"))
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";

fn scores(file: &mut Gguf) -> &mut Vec<f32> {
    match file.get(SCORES) {
        Value::Array(Array::F32(scores)) => scores,
        other => panic!("{other}"),
    }
}

fn types(file: &mut Gguf) -> &mut Vec<i32> {
    match file.get(TYPES) {
        Value::Array(Array::I32(types)) => types,
        other => panic!("{other}"),
    }
}

fn set_merge(file: &mut Gguf, merge: &str) {
    file.strings(MERGES)[3] = merge.into();
}

fn set_charsmap(file: &mut Gguf, bytes: &[u8]) {
    file.set("tokenizer.ggml.precompiled_charsmap", Value::Array(Array::U8(bytes.into())));
}

fn set_id(file: &mut Gguf, role: &str, id: u32) {
    file.set(&format!("tokenizer.ggml.{role}_token_id"), Value::U32(id));
}

fn remove_id(file: &mut Gguf, role: &str) {
    file.remove(&format!("tokenizer.ggml.{role}_token_id"));
}

fn set_name(file: &mut Gguf, key: &str, name: &str) {
    file.set(&format!("tokenizer.ggml.{key}"), Value::String(name.into()));
}

#[test]
fn malformed_vocabularies_are_refused() {
    let cases: [(Edit, &str, &str); 17] = [
        (|file| file.remove("tokenizer.ggml.model"), "tokenizer.ggml.model", "no such key"),
        (|file| file.remove(TOKENS), TOKENS, "no such key"),
        (|file| file.strings(TOKENS).clear(), TOKENS, "found 0"),
        (|file| file.strings(TOKENS)[7] = "a".into(), TOKENS, "as 7"),
        (|file| set_name(file, "model", "rwkv"), "tokenizer.ggml.model", "`rwkv`"),
        (|file| set_name(file, "pre", "tekken"), "tokenizer.ggml.pre", "`tekken`"),
        (|file| file.set("tokenizer.ggml.pre", Value::U32(1)), "tokenizer.ggml.pre", "UINT32"),
        (|file| set_id(file, "bos", 961), "bos_token_id", "found 961"),
        (|file| set_id(file, "padding", u32::MAX), "padding_token_id", "found 4294967295"),
        (|file| file.remove(MERGES), MERGES, "no such key"),
        (|file| set_merge(file, "ab"), "merges[3]", "\"ab\""),
        (|file| set_merge(file, "a b c"), "merges[3]", "\"a b c\""),
        (|file| set_merge(file, " a"), "merges[3]", "\" a\""),
        (|file| set_merge(file, "a nothing"), "merges[3]", "\"a nothing\""),
        (|file| set_merge(file, "q z"), "merges[3]", "become"),
        (|file| types(file).truncate(5), TYPES, "found 5"),
        (|file| types(file)[5] = 9, TYPES, "`9`"),
    ];
    for (edit, key, found) in cases {
        is_about(&refused(&tokenizer("gpt-2"), Tokenizer::load, edit), key, found);
    }
}

#[test]
fn what_a_kind_of_tokenizer_needs_must_be_there() {
    let cases: [(&str, Edit, &str, &str); 10] = [
        ("llama-bpe", |file| remove_id(file, "bos"), "bos_token_id", "no such key"),
        ("word_piece", |file| remove_id(file, "unknown"), "unknown_token_id", "no such key"),
        ("word_piece", |file| remove_id(file, "bos"), "cls_token_id", "no such key"),
        ("sentence_piece", |file| remove_id(file, "unknown"), "unknown_token_id", "no such key"),
        ("sentence_piece", |file| file.remove(SCORES), SCORES, "no such key"),
        ("sentence_piece", |file| scores(file).truncate(9), SCORES, "found 9"),
        ("sentence_piece", |file| scores(file)[9] = f32::NAN, SCORES, "of token 9"),
        ("unigram", |file| scores(file).push(0.0), SCORES, "found 960"),
        ("unigram", |file| set_charsmap(file, &[1, 0]), "precompiled_charsmap", "fewer than 4 bytes"),
        ("unigram", |file| set_charsmap(file, &[255; 9]), "precompiled_charsmap", "beyond its end"),
    ];
    for (name, edit, key, found) in cases {
        is_about(&refused(&tokenizer(name), Tokenizer::load, edit), key, found);
    }
}
