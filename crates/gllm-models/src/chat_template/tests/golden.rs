//! `tests/golden/chat_templates`: what transformers makes of templates.

use std::fs;
use std::path::PathBuf;

use gllm_core::{Error, InferenceError, Message, Result};
use serde_json::{Map, Value as Json};

use super::template;
use crate::chat_template::source::Source;
use crate::chat_template::{ChatOptions, ChatTemplate};

fn path(name: &str) -> PathBuf {
    PathBuf::from("../../tests/golden/chat_templates").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn json(name: &str) -> Json {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The messages that `conversations.json` has under `name`.
fn conversation(conversations: &Json, name: &Json) -> Vec<Message> {
    let messages = conversations[name.as_str().expect("a name")].clone();
    serde_json::from_value(messages).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Variables, with what `conversations.json` has in place of names in capitals.
fn variables(conversations: &Json, variables: &Json) -> Map<String, Json> {
    let mut variables = variables.as_object().cloned().unwrap_or_default();
    for value in variables.values_mut() {
        if let Some(large) = value.as_str().and_then(|name| conversations.get(name)) {
            *value = large.clone();
        }
    }
    variables
}

/// What is wrong with `found`, if anything.
fn difference(expected: &Json, found: Result<String>) -> Option<String> {
    match (expected["text"].as_str(), found) {
        (Some(expected), Ok(found)) => {
            let same = expected.bytes().zip(found.bytes()).take_while(|(a, b)| a == b).count();
            let excerpt =
                |text: &str| String::from_utf8_lossy(&text.as_bytes()[same.saturating_sub(20)..]).into_owned();
            let excerpts = || {
                format!("at byte {same}\n  expected …{:.80?}\n  found    …{:.80?}", excerpt(expected), excerpt(&found))
            };
            (expected != found).then(excerpts)
        }
        (Some(_), Err(error)) => Some(error.to_string()),
        (None, Ok(found)) => Some(format!("expected an error, found {found:?}")),
        (None, Err(error)) => match &expected["raised"] {
            Json::String(raised) => {
                let is_same = matches!(&error, Error::InferenceError(InferenceError::ChatTemplate { reason }) if reason == raised);
                (!is_same).then(|| format!("expected {raised:?}, found {error}"))
            }
            _ => None,
        },
    }
}

#[test]
fn real_templates_render_as_in_transformers() {
    let conversations = json("conversations.json");
    let mut differences = Vec::new();
    let mut count = 0;
    for (name, source) in json("sources.json").as_object().expect("an object") {
        let file = format!("templates/{name}.jinja");
        let source = Source {
            text: text(&file),
            path: path(&file),
            field: None,
            tokens: source["tokens"].as_object().cloned().unwrap_or_default(),
        };
        let template = ChatTemplate::new(source, super::clock).unwrap_or_else(|error| panic!("{error}"));
        for case in json(&format!("expected/{name}.json")).as_array().expect("a list") {
            let options = ChatOptions {
                add_generation_prompt: case["add_generation_prompt"].as_bool().expect("a bool"),
                variables: variables(&conversations, &case["variables"]),
            };
            let found = template.render(&conversation(&conversations, &case["conversation"]), &options);
            count += 1;
            if let Some(difference) = difference(case, found) {
                differences.push(format!("{name}, {} {}: {difference}", case["conversation"], case["variables"]));
            }
        }
    }
    assert!(differences.is_empty(), "{} of {count}:\n{}", differences.len(), differences.join("\n"));
    assert!(count > 500, "{count} cases");
}

#[test]
fn expressions_mean_the_same_as_in_transformers() {
    let conversations = json("conversations.json");
    let messages = conversation(&conversations, &"turns".into());
    let variables = variables(&conversations, &serde_json::json!({ "tools": "TOOLS" }));
    let options = ChatOptions { variables, ..ChatOptions::default() };
    let expressions = json("expressions.json");
    let differences: Vec<_> = expressions
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|case| {
            let source = case["template"].as_str().expect("a text");
            let found = template(source).and_then(|template| template.render(&messages, &options));
            difference(case, found).map(|difference| format!("{source}: {difference}"))
        })
        .collect();
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
