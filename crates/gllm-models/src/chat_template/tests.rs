//! Templates of real models against what transformers makes of them, and templates that mean harm.

mod files;
mod golden;
mod limits;

use gllm_core::Result;
use jiff::civil::DateTime;
use serde_json::json;

use super::ChatTemplate;
use super::source::Source;

/// The template `text` of a model with two special tokens.
fn template(text: &str) -> Result<ChatTemplate> {
    let tokens = json!({ "bos_token": "<s>", "eos_token": "</s>" }).as_object().cloned().unwrap_or_default();
    let source = Source { text: text.into(), path: "chat_template.jinja".into(), field: None, tokens };
    ChatTemplate::new(source, clock)
}

/// A time that doesn't pass.
fn clock() -> DateTime {
    jiff::civil::date(2026, 3, 5).at(9, 7, 0, 0)
}
