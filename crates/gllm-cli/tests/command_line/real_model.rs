//! The real model that writes where none is named, if it can be had.

use gllm::hub::{HubConfig, ModelId, Store};

use crate::harness::{Home, arg, chat_args, generate_args};

const MODEL: &str = "qwen2.5-coder-0.5b-instruct";

const QUESTION: &str = "What is the capital of France? Answer in one word.";

/// The model in the user's own store, downloaded if it isn't there; `None`, said on standard error, where it can't be
/// had, which in continuous integration is an error.
fn model() -> Option<String> {
    let store = HubConfig::from_env().map(Store::new);
    let path = store.and_then(|store| store.fetch(&ModelId::parse(MODEL)?, &mut ()));
    let skip = |error: &gllm::Error| {
        let is_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
        assert!(!is_ci, "no {MODEL}, and in continuous integration tests may not be skipped: {error}");
        eprintln!("skipped: no {MODEL}: {error}");
    };
    path.inspect_err(skip).ok().map(|path| arg(&path).to_owned())
}

#[test]
fn question_is_answered() {
    let Some(model) = model() else { return };
    let home = Home::new();
    let run = home.run(&generate_args(&model, &["-p", QUESTION, "--temperature", "0", "--max-tokens", "20"]));
    assert!(run.text().contains("Paris"), "{}", run.text());

    let turns = format!("{QUESTION}\nAnd of Spain?\n");
    let run = home.run_piped(&chat_args(&model, &["--max-tokens", "20"]), turns.into_bytes());
    let answers: Vec<_> = run.text().lines().collect();
    assert!(answers[0].contains("Paris") && answers[1..].concat().contains("Madrid"), "{answers:?}");
}

#[test]
fn text_keeps_to_a_schema() {
    let Some(model) = model() else { return };
    let home = Home::new();
    let schema = r#"{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}"#;
    let schema = home.write("schema.json", schema);
    let args = ["-p", QUESTION, "--schema", arg(&schema), "--temperature", "0", "--max-tokens", "40", "--json"];
    let document = home.run(&generate_args(&model, &args)).json();
    let text = document["text"].as_str().expect("a text");
    let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert!(value["city"].as_str().expect("a city").contains("Paris"), "{text}");
}
