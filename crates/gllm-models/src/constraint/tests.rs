//! Texts that are written at random under constraints, and forms that can't be kept to.

use std::path::Path;
use std::time::{Duration, Instant};

use rand_pcg::Pcg64;
use rand_pcg::rand_core::{Rng, SeedableRng};
use serde_json::json;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer};

use super::*;
use crate::text::TokenBytes;

/// Every byte, some longer tokens, and special ones: `<|im_end|>` and `</s>` end a text, `<|im_start|>` doesn't.
struct Tiny {
    vocabulary: Arc<TokenVocabulary>,
    tokens: TokenBytes,
    ends: Vec<u32>,
}

fn tiny() -> Tiny {
    let mut ids = Vocab::new();
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let longer = ["{\"", "\":", "\",", "},", "]}", "true", "Ġ", "ĠĠ", "12", "name", "abc", "Ċ", "ĊĠĠ", "æĹ"];
    for token in alphabet.into_iter().map(String::from).chain(longer.map(str::to_owned)) {
        let id = ids.len() as u32;
        ids.entry(token).or_insert(id);
    }
    let model = BPE::builder().vocab_and_merges(ids, vec![]).build().expect("a model");
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let special = ["<|im_end|>", "</s>", "<|im_start|>"].map(|name| AddedToken::from(name, true));
    tokenizer.add_special_tokens(special).expect("new tokens");
    tokenizer.add_tokens([AddedToken::from("<think>", false)]).expect("a new token");
    let tokens = TokenBytes::of(&tokenizer).expect("a decoder");
    let ends = ["<|im_end|>", "</s>"].map(|name| tokenizer.token_to_id(name).expect("added"));
    Tiny::new(tokens, ends.to_vec())
}

impl Tiny {
    fn new(tokens: TokenBytes, ends: Vec<u32>) -> Self {
        let vocabulary = TokenVocabulary::new(&tokens, &ends.iter().copied().collect()).expect("a small vocabulary");
        Self { vocabulary: Arc::new(vocabulary), tokens, ends }
    }
}

/// Writes at random what is allowed, up to the end of the text. Ends come more often than by chance, and so do tokens
/// that close something: most random strings of JSON would have no end.
fn write(tiny: &Tiny, mut constraint: Constraint, random: &mut Pcg64) -> String {
    let mut bytes = Vec::new();
    for step in 0..3000 {
        let is_complete = constraint.is_complete().expect("no error before");
        let allowed: Vec<u32> = constraint.allowed().expect("some token").ids().collect();
        assert!(!allowed.is_empty() && allowed.iter().all(|id| (*id as usize) < tiny.tokens.n_ids()));
        let ends = allowed.iter().filter(|id| tiny.ends.contains(id)).count();
        assert_eq!(ends, if is_complete { tiny.ends.len() } else { 0 }, "{}", String::from_utf8_lossy(&bytes));
        let special = allowed.iter().filter(|id| tiny.tokens.is_special(**id)).count();
        assert_eq!(special, ends, "only ends of the special tokens");
        if is_complete && (constraint.is_ended() || random.next_u64().is_multiple_of(3)) {
            constraint.accept(tiny.ends[0]).expect("the end");
            assert!(constraint.is_ended());
            return String::from_utf8(bytes).expect("UTF-8");
        }
        let texts: Vec<u32> = allowed.into_iter().filter(|id| !tiny.ends.contains(id)).collect();
        let closes = |id: &&u32| matches!(tiny.tokens.bytes(**id), b"\"" | b"}" | b"]" | b"]}" | b",");
        let closing: Vec<u32> = texts.iter().filter(closes).copied().collect();
        let from =
            if !closing.is_empty() && (step > 200 || random.next_u64().is_multiple_of(4)) { closing } else { texts };
        let id = from[(random.next_u64() % from.len() as u64) as usize];
        bytes.extend_from_slice(tiny.tokens.bytes(id));
        constraint.accept(id).expect("it was allowed");
    }
    panic!("no end: {}", String::from_utf8_lossy(&bytes));
}

fn json_texts(schema: &Value, is_valid: impl Fn(&Value) -> bool) {
    texts_of(schema, |text| {
        let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        is_valid(&value)
    });
}

fn texts_of(schema: &Value, is_valid: impl Fn(&str) -> bool) {
    let tiny = tiny();
    let mut random = Pcg64::seed_from_u64(7);
    for _ in 0..30 {
        let constraint = Constraint::json_schema(schema, &tiny.vocabulary).unwrap_or_else(|e| panic!("{schema}: {e}"));
        let text = write(&tiny, constraint, &mut random);
        assert!(is_valid(&text), "{schema}: {text}");
    }
}

fn has_only(value: &Value, keys: &[&str]) -> bool {
    value.as_object().is_some_and(|object| object.keys().all(|key| keys.contains(&key.as_str())))
}

#[test]
fn objects() {
    let schema = json!({
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "is_new": {"type": "boolean"}},
        "required": ["name", "age"],
        "additionalProperties": false,
    });
    json_texts(&schema, |value| {
        has_only(value, &["name", "age", "is_new"])
            && value["name"].is_string()
            && value["age"].as_f64().is_some_and(|age| age.fract() == 0.0)
            && value.get("is_new").is_none_or(Value::is_boolean)
    });
}

#[test]
fn enums_and_constants() {
    let schema = json!({"type": "array", "items": {"enum": ["red", "日", 3, null]}, "minItems": 1, "maxItems": 4});
    json_texts(&schema, |value| {
        let items = value.as_array().expect("an array");
        (1..=4).contains(&items.len())
            && items.iter().all(|item| [json!("red"), json!("日"), json!(3), json!(null)].contains(item))
    });
    json_texts(&json!({"const": {"a": [1, "b"]}}), |value| *value == json!({"a": [1, "b"]}));
}

#[test]
fn nested_arrays() {
    let schema = json!({
        "type": "array",
        "items": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
        "minItems": 2,
        "maxItems": 2,
    });
    json_texts(&schema, |value| {
        let is_row =
            |row: &Value| row.as_array().is_some_and(|row| row.len() <= 2 && row.iter().all(Value::is_boolean));
        value.as_array().is_some_and(|rows| rows.len() == 2 && rows.iter().all(is_row))
    });
}

#[test]
fn numbers_in_bounds() {
    json_texts(&json!({"type": "integer", "minimum": -5, "maximum": 120}), |value| {
        // `-0` is one too.
        value.as_f64().is_some_and(|number| number.fract() == 0.0 && (-5.0..=120.0).contains(&number))
    });
    json_texts(&json!({"type": "number", "exclusiveMinimum": 0, "maximum": 2.5}), |value| {
        value.as_f64().is_some_and(|number| number > 0.0 && number <= 2.5)
    });
}

#[test]
fn strings_with_patterns_and_lengths() {
    json_texts(&json!({"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}), |value| {
        let bytes = value.as_str().unwrap_or_default().as_bytes();
        bytes.len() == 6
            && bytes[..2].iter().all(u8::is_ascii_uppercase)
            && bytes[2] == b'-'
            && bytes[3..].iter().all(u8::is_ascii_digit)
    });
    json_texts(&json!({"type": "string", "minLength": 2, "maxLength": 5}), |value| {
        value.as_str().is_some_and(|text| (2..=5).contains(&text.chars().count()))
    });
}

fn is_tree(value: &Value) -> bool {
    has_only(value, &["label", "children"])
        && (value["label"].is_null() || value["label"].as_str().is_some_and(|text| text.chars().count() <= 3))
        && value["children"].as_array().is_some_and(|children| children.len() <= 1 && children.iter().all(is_tree))
}

#[test]
fn choices_and_references() {
    let schema = json!({
        "$defs": {"tree": {
            "type": "object",
            "properties": {
                "label": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 1},
            },
            "required": ["label", "children"],
            "additionalProperties": false,
        }},
        "$ref": "#/$defs/tree",
    });
    json_texts(&schema, is_tree);
}

#[test]
fn anything() {
    // JSON has numbers that no float has.
    let is_json = |text: &str| match serde_json::from_str::<Value>(text) {
        Ok(_) => true,
        Err(e) => e.to_string().contains("number out of range"),
    };
    texts_of(&json!(true), is_json);
    texts_of(&json!({}), is_json);
}

/// Texts under the constraint `pattern`.
fn regex_texts(pattern: &str, is_valid: impl Fn(&str) -> bool) {
    let tiny = tiny();
    let mut random = Pcg64::seed_from_u64(3);
    for _ in 0..40 {
        let constraint = Constraint::regex(pattern, &tiny.vocabulary).unwrap_or_else(|e| panic!("{e}"));
        let text = write(&tiny, constraint, &mut random);
        assert!(is_valid(&text), "{pattern}: {text:?}");
    }
}

#[test]
fn regular_expressions() {
    regex_texts("0x[0-9a-fA-F]+", |text| {
        text.len() >= 3 && text.starts_with("0x") && text[2..].bytes().all(|b| b.is_ascii_hexdigit())
    });
    regex_texts("^[ぁ-ん]{3}$", |text| text.chars().count() == 3 && text.chars().all(|c| ('ぁ'..='ん').contains(&c)));
    regex_texts(r#"/a/b|\\\n""#, |text| matches!(text, "/a/b" | "\\\n\""));
    regex_texts("(yes|no)?", |text| matches!(text, "yes" | "no" | ""));
    regex_texts("", str::is_empty);
    regex_texts(" <think> ?", |text| matches!(text, " <think>" | " <think> "));
    // In no text, not even in the longest token of these.
    regex_texts("[^a]{1,9}", |text| !text.contains('a') && (1..=9).contains(&text.chars().count()));
}

#[test]
fn spaces_and_bytes_of_sentence_piece() {
    let file = Path::new("../../tests/golden/gguf_tokenizers/sentence_piece.gguf");
    let tokenizer = crate::text::Tokenizer::load(file).expect("a tokenizer");
    let end = tokenizer.end_id().expect("a token");
    let tiny = Tiny::new(tokenizer.token_bytes().expect("a decoder"), vec![end]);
    let mut random = Pcg64::seed_from_u64(5);
    for _ in 0..40 {
        let constraint = Constraint::regex(" 𝒳[a-e ]{2}☃", &tiny.vocabulary).expect("a pattern");
        let text = write(&tiny, constraint, &mut random);
        let inner = text.strip_prefix(" 𝒳").and_then(|text| text.strip_suffix('☃')).expect("as the pattern says");
        assert!(inner.len() == 2 && inner.bytes().all(|b| matches!(b, b'a'..=b'e' | b' ')), "{text}");
    }
}

#[test]
fn what_is_malformed_is_said() {
    let tiny = tiny();
    for pattern in ["(", "[z-a]", "a{3,1}", r"(a)\1", "(?=a)b", r"a\bb"] {
        let error = Constraint::regex(pattern, &tiny.vocabulary).expect_err(pattern);
        assert!(error.field == "regex" && error.found.contains(pattern), "{error}");
        assert!(!error.found.contains("backtrace") && error.found.len() < 400, "{error}");
    }
    for schema in [
        json!({"type": "strange"}),
        json!({"type": 3}),
        json!(7),
        json!("string"),
        json!({"type": "string", "pattern": "("}),
        json!({"$ref": "#/$defs/none"}),
        json!({"$ref": "http://127.0.0.1:1/schema.json"}),
        json!({"not": {"type": "string"}}),
    ] {
        let error = Constraint::json_schema(&schema, &tiny.vocabulary).expect_err(&schema.to_string());
        assert!(error.field == "json_schema" && !error.found.is_empty(), "{error}");
        assert!(!error.found.contains("backtrace") && error.found.len() < 400, "{error}");
    }
}

#[test]
fn what_no_text_fulfils_is_said() {
    let tiny = tiny();
    for pattern in [r"[^\s\S]", r"a[^\s\S]b", r"[a&&b]"] {
        let error = Constraint::regex(pattern, &tiny.vocabulary).expect_err(pattern);
        assert!(error.field == "regex" && error.found.ends_with("nothing may follow"), "{error}");
    }
    for schema in [
        json!(false),
        json!({"enum": []}),
        json!({"type": "integer", "minimum": 3, "maximum": 2}),
        json!({"type": "number", "minimum": 3, "exclusiveMaximum": 3}),
        json!({"type": "string", "minLength": 3, "maxLength": 2}),
        json!({"type": "array", "items": false, "minItems": 1}),
        json!({"allOf": [{"type": "string"}, {"type": "null"}]}),
        json!({"type": "object", "properties": {"a": false}, "required": ["a"]}),
        json!({"anyOf": []}),
    ] {
        let error = Constraint::json_schema(&schema, &tiny.vocabulary).expect_err(&schema.to_string());
        assert_eq!(error.field, "json_schema", "{error}");
    }
}

#[test]
fn work_is_limited() {
    let tiny = tiny();
    let begin = Instant::now();
    for pattern in ["((a{1,1000}){1,1000}){1,1000}", "(a|b)*a(a|b){60}", "(.*a.{40}){20}", &"(a?){30}a{30}".repeat(40)]
    {
        let Ok(mut constraint) = Constraint::regex(pattern, &tiny.vocabulary) else { continue };
        for _ in 0..50 {
            let Ok(allowed) = constraint.allowed() else { break };
            let Some(id) = allowed.ids().find(|id| !tiny.ends.contains(id)) else { break };
            if constraint.accept(id).is_err() {
                break;
            }
        }
    }
    let mut deep = json!({"type": "string"});
    for _ in 0..300 {
        deep = json!({"type": "object", "properties": {"a": deep}, "required": ["a"]});
    }
    let _ = Constraint::json_schema(&deep, &tiny.vocabulary);
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
}

#[test]
fn tokens_that_are_not_allowed_are_refused() {
    let tiny = tiny();
    let mut constraint = Constraint::regex("ab", &tiny.vocabulary).expect("a pattern");
    let error = constraint.accept(tiny.ends[0]).expect_err("not complete");
    assert!(matches!(error, InferenceError::Constraint { .. }), "{error}");
    let mut constraint = Constraint::regex("ab", &tiny.vocabulary).expect("a pattern");
    for id in [u32::MAX, tiny.tokens.n_ids() as u32] {
        assert!(!constraint.allowed().expect("tokens").allows(id));
    }
    assert!(constraint.accept(u32::MAX).is_err());
    assert!(constraint.allowed().is_err(), "an error stays");
}

#[test]
fn without_an_end_a_finished_text_says_so() {
    let tiny = tiny();
    let vocabulary = Arc::new(TokenVocabulary::new(&tiny.tokens, &[].into()).expect("a small vocabulary"));
    let mut constraint = Constraint::regex("a", &vocabulary).expect("a pattern");
    let id = constraint.allowed().expect("tokens").ids().next().expect("one");
    assert_eq!(tiny.tokens.bytes(id), b"a");
    constraint.accept(id).expect("it was allowed");
    assert!(constraint.is_ended() && constraint.is_complete().expect("no error"));
    assert_eq!(constraint.allowed().expect("none").ids().count(), 0);
}

#[test]
fn a_vocabulary_is_shared_between_threads() {
    fn is_shared<T: Send + Sync>() {}
    fn is_sent<T: Send>() {}
    is_shared::<TokenVocabulary>();
    is_sent::<Constraint>();
}
