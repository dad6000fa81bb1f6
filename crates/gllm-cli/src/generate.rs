//! `gllm generate`: a prompt in, a text out, as it is written.

use std::fs;
use std::path::Path;

use gllm::{Error, FinishReason, Generation, GenerationBuilder, GenerationResponse, InvalidConfig, TokenLogprob};
use serde::Serialize;
use serde_json::Value;

use crate::args::GenerateArgs;
use crate::choice::set;
use crate::console::{Console, answer_json};
use crate::exit::Failure;
use crate::speed::{Speed, Timings, TokenUsage};
use crate::{choice, client, interrupt, prompt, writing};

/// The form of `--json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    text: &'a str,
    tokens: &'a [u32],
    finish_reason: FinishReason,
    usage: TokenUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<&'a [TokenLogprob]>,
    timings: Timings,
}

pub(crate) fn run(mut args: GenerateArgs, console: Console) -> Result<(), Failure> {
    choice::check(&args.choice)?;
    let schema = args.schema.as_deref().map(read_schema).transpose()?;
    let prompt = prompt::read(args.prompt.take(), args.input.as_deref())?;
    let client = client::load(&args.model, console)?;

    let request = choice::apply(&args.choice, client.generate(prompt).raw(args.raw));
    let request = set(request, args.system, GenerationBuilder::system);
    let request = set(request, schema, GenerationBuilder::json_schema);
    let request = set(request, args.regex, GenerationBuilder::regex);
    let request = set(request, args.logprobs, GenerationBuilder::logprobs);

    interrupt::leave_unsaid();
    let mut text = request.stream()?;
    let is_whole = if args.json { finish(&mut text)? } else { writing::show(&mut text, false)? };
    let response = text.response();
    if !args.json {
        console.aside(&Speed::of(&response).to_string());
    }
    if !is_whole {
        return Err(Failure::Interrupted(None));
    }
    if args.json {
        answer_json(&Document::of(&response, args.logprobs.is_some()))?;
    }
    if client::is_full(&client, &response) {
        console.warn("the text is cut where the context is full");
    }
    Ok(())
}

/// Computes a text until its end, or until a signal, and tells which of both: whether it is whole.
fn finish(text: &mut Generation<'_>) -> Result<bool, Failure> {
    for piece in text {
        piece?;
        if interrupt::requested() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl<'a> Document<'a> {
    fn of(response: &'a GenerationResponse, has_logprobs: bool) -> Self {
        Self {
            text: &response.text,
            tokens: &response.tokens,
            finish_reason: response.finish_reason,
            usage: TokenUsage::of(response),
            logprobs: has_logprobs.then_some(&response.logprobs),
            timings: Timings::of(response),
        }
    }
}

/// The schema in a file.
fn read_schema(path: &Path) -> Result<Value, Failure> {
    let bytes = fs::read(path).map_err(|error| Error::io("cannot read", path, &error))?;
    let malformed = |error: serde_json::Error| {
        let (line, said) = (error.line(), error.to_string());
        let place = format!(" at line {line} column {}", error.column());
        let said = said.strip_suffix(&place).unwrap_or(&said);
        let found = format!("line {line} of `{}`, column {}: {said}", path.display(), error.column());
        InvalidConfig::new("schema", "a file of JSON", found)
    };
    Ok(serde_json::from_slice(&bytes).map_err(malformed)?)
}
