//! Where templates and special tokens are found, and what is said of files that aren't as they should be.

use std::fs;
use std::path::Path;

use gllm_core::{Message, Result};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::{Array, Value, Writer};
use tempfile::TempDir;

use super::template;
use crate::chat_template::{ChatOptions, ChatTemplate};

const TOKENS: &str = "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token }}{{ image_token }}";

/// A folder with weights, without tensors, and `files`.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    fs::write(folder.path().join("model.safetensors"), b"\x02\0\0\0\0\0\0\0{}").expect("written");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

/// What the template of the model at `path` makes of a greeting.
fn prompt(path: &Path) -> Result<Option<String>> {
    let template = ChatTemplate::of(&WeightFiles::open(path)?)?;
    template.map(|template| template.render(&[Message::user("Hi")], &ChatOptions::default())).transpose()
}

fn prompt_of(files: &[(&str, &str)]) -> Option<String> {
    prompt(folder(files).path()).expect("a prompt")
}

fn error_of(files: &[(&str, &str)]) -> String {
    prompt(folder(files).path()).expect_err("an error").to_string()
}

#[test]
fn a_file_of_its_own_wins() {
    let jinja = ("chat_template.jinja", "jinja\n");
    let config = ("tokenizer_config.json", r#"{"chat_template": "config"}"#);
    let legacy = ("chat_template.json", r#"{"chat_template": "legacy"}"#);
    assert_eq!(prompt_of(&[jinja, config, legacy]).as_deref(), Some("jinja"));
    assert_eq!(prompt_of(&[config, legacy]).as_deref(), Some("config"));
    assert_eq!(prompt_of(&[legacy]).as_deref(), Some("legacy"));
    assert_eq!(prompt_of(&[("tokenizer_config.json", "{}")]), None);
    assert_eq!(prompt_of(&[("tokenizer_config.json", r#"{"chat_template": null}"#)]), None);
    assert_eq!(prompt_of(&[]), None);
}

#[test]
fn of_several_templates_the_default_one_is_taken() {
    let several = |names: [&str; 2]| {
        let [a, b] = names.map(|name| format!(r#"{{"name": "{name}", "template": "of {name}"}}"#));
        format!(r#"{{"chat_template": [{a}, {b}]}}"#)
    };
    let config = several(["tool_use", "default"]);
    assert_eq!(prompt_of(&[("tokenizer_config.json", &config)]).as_deref(), Some("of default"));
    assert_eq!(prompt_of(&[("tokenizer_config.json", &several(["tool_use", "rag"]))]), None);
}

#[test]
fn special_tokens_are_texts_or_objects() {
    let config = r#"{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null, "image_token": "<i>"}"#;
    let jinja = ("chat_template.jinja", TOKENS);
    assert_eq!(prompt_of(&[jinja, ("tokenizer_config.json", config)]).as_deref(), Some("<s></s>"));
    // Older models have them in a file of their own, which counts if the other one lists no tokens.
    let map = ("special_tokens_map.json", r#"{"bos_token": "<b>", "unk_token": {"content": "<unk>"}}"#);
    assert_eq!(prompt_of(&[jinja, map, ("tokenizer_config.json", config)]).as_deref(), Some("<b></s><unk>"));
    let newer = r#"{"bos_token": "<s>", "added_tokens_decoder": {}}"#;
    assert_eq!(prompt_of(&[jinja, map, ("tokenizer_config.json", newer)]).as_deref(), Some("<s>"));
}

#[test]
fn gguf_files_have_both() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("model.gguf");
    let write = |bos: u32, template: Option<&str>| {
        let mut writer = Writer::new();
        let tokens = ["<unk>", "<s>", "</s>"].map(str::to_owned).into();
        writer.add("general.architecture", Value::String("llama".into())).expect("valid");
        writer.add("tokenizer.ggml.tokens", Value::Array(Array::String(tokens))).expect("valid");
        for (kind, id) in [("bos", bos), ("eos", 2), ("unknown", 0)] {
            writer.add(&format!("tokenizer.ggml.{kind}_token_id"), Value::U32(id)).expect("valid");
        }
        for (key, text) in [("tokenizer.chat_template", template), ("tokenizer.chat_template.tool_use", Some("tools"))]
        {
            if let Some(text) = text {
                writer.add(key, Value::String(text.into())).expect("valid");
            }
        }
        writer.write(fs::File::create(&path).expect("created"), |_, _| Ok(())).expect("written");
    };
    write(1, Some(TOKENS));
    assert_eq!(prompt(&path).expect("a prompt").as_deref(), Some("<s></s><unk>"));
    write(1, None);
    assert_eq!(prompt(&path).expect("none"), None);
    write(3, Some(TOKENS));
    let error = prompt(&path).expect_err("no such token").to_string();
    assert!(error.contains("model.gguf") && error.contains("bos_token_id") && error.contains("found 3"), "{error}");
    write(1, Some("a\n{% if %}"));
    let error = prompt(&path).expect_err("no template").to_string();
    assert!(error.contains("model.gguf") && error.contains("`tokenizer.chat_template`, line 2"), "{error}");
}

#[test]
fn errors_name_the_file_and_the_line() {
    let error = error_of(&[("chat_template.jinja", "{% set a = 'b' %}\n\n{{ a +* 2 }}\n")]);
    assert!(error.contains("chat_template.jinja") && error.contains("line 3"), "{error}");
    let error = error_of(&[("tokenizer_config.json", r#"{"chat_template": "\n{% for x in y %}"}"#)]);
    assert!(error.contains("tokenizer_config.json") && error.contains("`chat_template`, line 2"), "{error}");
    let error = error_of(&[("chat_template.jinja", "\n\n\n{% for x in y recursive %}{% endfor %}")]);
    assert!(error.contains("line 4") && error.contains("recursive"), "{error}");
    let error = error_of(&[("chat_template.jinja", &"x".repeat(300_000))]);
    assert!(error.contains("expected at most 262144 bytes, found 300000"), "{error}");
    let error = error_of(&[("tokenizer_config.json", r#"{"chat_template": 7}"#)]);
    assert!(error.contains("tokenizer_config.json") && error.contains("found 7"), "{error}");
    let error = error_of(&[("tokenizer_config.json", "{")]);
    assert!(error.contains("tokenizer_config.json"), "{error}");
}

#[test]
fn what_a_template_raises_comes_through() {
    let render = |source: &str, messages: &[Message]| {
        let rendered = template(source).and_then(|template| template.render(messages, &ChatOptions::default()));
        rendered.expect_err("an error").to_string()
    };
    let hi = [Message::user("Hi")];
    assert_eq!(render("{{ raise_exception('No tools!') }}", &hi), "the chat template failed: No tools!");
    assert_eq!(render("{{ messages }}", &[]), "the chat template failed: the conversation is empty");
    let error = render("\n\n{{ messages[0].content.nothing() }}", &hi);
    assert!(error.contains("nothing") && error.ends_with("(in chat template:3)"), "{error}");
}
