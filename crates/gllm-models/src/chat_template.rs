//! Chat templates: from a conversation to the prompt that a model was trained on.
//!
//! A template is a program in the language of Jinja2 that comes with a model. Its texts are byte for byte those of
//! transformers' `apply_chat_template`. It is code from elsewhere, so it runs without any access and within limits of
//! steps, memory and output; what is said in a conversation is data to it, and never read as a template.
//!
//! Source: `tokenization_utils_base.py` and `chat_template_utils.py` of transformers 5.23.

mod bounds;
mod environment;
mod lexer;
mod methods;
mod python;
mod rewrite;
mod source;

#[cfg(test)]
mod tests;

use std::fmt;

use gllm_core::{InferenceError, LoadError, LoadProblem, Message, Result};
use gllm_quant::WeightFiles;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, ErrorKind};
use serde_json::{Map, Value as Json, json};

use bounds::{Limits, MAX_OUTPUT, Prompt};
use environment::{Clock, Raised};
use source::Source;

/// Bytes of the longest template.
const MAX_SOURCE: usize = 256 << 10;
/// The name of the template within its environment.
const NAME: &str = "chat template";

/// What makes a prompt of a conversation.
#[derive(Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// Special tokens, under the names that templates have for them.
    tokens: Map<String, Json>,
}

/// How a conversation is rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatOptions {
    /// Whether the prompt ends with what the model's answer begins with.
    pub add_generation_prompt: bool,
    /// Further variables of the template, such as `tools`, `documents` or `enable_thinking`.
    pub variables: Map<String, Json>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self { add_generation_prompt: true, variables: Map::new() }
    }
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatTemplate").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// The template of the model that `files` are of, if it has one: `chat_template.jinja`, else the field `chat_template`
    /// of `tokenizer_config.json`, else that of `chat_template.json`; of GGUF files, `tokenizer.chat_template`. Of
    /// several, the default one.
    ///
    /// # Errors
    /// [`LoadError`] that names the file, and the line where the template isn't one.
    pub fn of(files: &WeightFiles) -> Result<Option<Self>> {
        Source::find(files)?.map(|source| Self::new(source, || jiff::ZonedDateTime::now().datetime())).transpose()
    }

    fn new(source: Source, clock: Clock) -> Result<Self> {
        let corrupt = |line: Option<usize>, reason: &str| {
            let place = [source.field.map(|field| format!("`{field}`")), line.map(|line| format!("line {line}"))];
            let place = place.into_iter().flatten().collect::<Vec<_>>().join(", ");
            let reason = if place.is_empty() { reason.to_owned() } else { format!("{place}: {reason}") };
            LoadError::new(&source.path, LoadProblem::Corrupt { format: NAME.into(), reason })
        };
        if source.text.len() > MAX_SOURCE {
            let reason = format!("expected at most {MAX_SOURCE} bytes, found {}", source.text.len());
            return Err(corrupt(None, &reason).into());
        }
        let text = rewrite::rewrite(&source.text).map_err(|error| corrupt(Some(error.line), &error.reason))?;
        let compile = || {
            let mut environment = environment::environment(clock)?;
            environment.add_template_owned(NAME, text)?;
            Ok(environment)
        };
        let environment = compile().map_err(|error: minijinja::Error| {
            corrupt(error.line(), error.detail().unwrap_or(&error.kind().to_string()))
        })?;
        Ok(Self { environment, tokens: source.tokens })
    }

    /// The prompt for `messages`, the special tokens that belong into it included.
    ///
    /// # Errors
    /// [`InferenceError::ChatTemplate`] if there are no messages, with the template's own words where it refuses them, or
    /// if it fails or runs into a limit.
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        let messages = messages.iter().map(|message| json!({ "role": message.role, "content": message.content }));
        self.render_json(messages.collect(), options)
    }

    /// As [`ChatTemplate::render`], for messages of any form.
    pub(crate) fn render_json(&self, messages: Json, options: &ChatOptions) -> Result<String> {
        if messages.as_array().is_none_or(Vec::is_empty) {
            return Err(failed("the conversation is empty"));
        }
        let mut variables = self.tokens.clone();
        variables.extend([("tools".into(), Json::Null), ("documents".into(), Json::Null)]);
        variables.extend(options.variables.clone());
        variables.insert("messages".into(), messages);
        variables.insert("add_generation_prompt".into(), options.add_generation_prompt.into());

        let limits = Limits::of(variables.values());
        let environment = environment::limited(&self.environment, limits);
        let mut prompt = Prompt::default();
        let rendered = environment
            .get_template(NAME)
            .and_then(|template| template.render_captured_to(Value::from(Serde(&variables)), &mut prompt).map(drop));
        rendered.map_err(|error| failed(&explain(&error)))?;
        String::from_utf8(prompt.0).map_err(|error| failed(&error.to_string()))
    }
}

/// What a template ended with: its own words, the limit, or what is wrong and where.
fn explain(error: &minijinja::Error) -> String {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(Raised(message)) = inner.downcast_ref() {
            return message.clone();
        }
        cause = inner.source();
    }
    match error.kind() {
        ErrorKind::OutOfFuel => "it takes too many steps".into(),
        ErrorKind::WriteFailure => format!("the prompt is longer than {MAX_OUTPUT} bytes"),
        _ => error.to_string(),
    }
}

fn failed(reason: &str) -> gllm_core::Error {
    InferenceError::ChatTemplate { reason: reason.to_owned() }.into()
}
