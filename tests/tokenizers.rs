//! Tokenizers of each kind against transformers: ids and segments of single texts and pairs, cut ones included.

use std::fs;

use gllm::Truncation;
use gllm_models::text::{Tokenizer, Tokens};
use gllm_tests::golden;
use serde_json::Value;

const LIMIT: usize = 128;

fn json(path: &str) -> Value {
    let path = golden().join("tokenizers").join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn check(what: &str, found: &Tokens, expected: &Value) {
    let list = |name: &str| -> Vec<u32> { serde_json::from_value(expected[name].clone()).expect("a list of ids") };
    assert_eq!(found.ids, list("ids"), "{what}");
    assert_eq!(found.type_ids, list("type_ids"), "{what}");
}

fn agrees(kind: &str) {
    let tokenizer = Tokenizer::load(&golden().join("tokenizers").join(kind)).expect("a tokenizer");
    assert_eq!(tokenizer.max_length(), Some(LIMIT));
    let expected = json(&format!("{kind}/expected.json"));

    let texts: Vec<String> = serde_json::from_value(json("texts.json")).expect("a list of texts");
    let found = tokenizer.encode(&texts, LIMIT, Truncation::Cut).expect("every text is tokenized");
    let golden = expected["texts"].as_array().expect("a list");
    assert!(texts.len() >= 60 && texts.len() == golden.len());
    assert!(found.iter().any(|tokens| tokens.total > LIMIT), "no text is cut");
    for ((text, found), expected) in texts.iter().zip(&found).zip(golden) {
        check(text, found, expected);
    }

    let pairs: Vec<(String, String)> = serde_json::from_value(json("pairs.json")["pairs"].take()).expect("pairs");
    let golden = expected["pairs"].as_array().expect("a list");
    assert!(pairs.len() >= 10 && pairs.len() == golden.len());
    for ((query, document), expected) in pairs.iter().zip(golden) {
        let found = tokenizer.encode_pairs(query, &[document], LIMIT, Truncation::Cut).expect("tokens");
        check(&format!("{query} | {document}"), &found.tokens[0], expected);
    }
}

#[test]
fn wordpiece() {
    agrees("wordpiece");
}

#[test]
fn byte_level_bpe() {
    agrees("byte_level_bpe");
}

#[test]
fn unigram() {
    agrees("unigram");
}
