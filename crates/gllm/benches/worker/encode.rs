//! Texts to vectors, and pairs to scores.

use std::fs;
use std::path::Path;

use gllm::hub::{HubConfig, ModelId, Store};
use gllm::{Client, ClientConfig, FileType, export_gguf};
use serde_json::{Value, json};

use crate::worker::{self, Result, text, timed};
use crate::{Arguments, hello};

/// Loads the model, and answers; `gguf` writes it in llama.cpp's format.
pub(crate) fn serve(arguments: &Arguments) -> Result<()> {
    let path = Store::new(HubConfig::from_env()?).fetch(&ModelId::parse(&arguments.model)?, &mut ())?;
    let config = ClientConfig { device: arguments.device, ..ClientConfig::from_env()? };
    let (load_seconds, client) = timed(|| Client::with_config(&arguments.model, config));
    let client = client?;
    worker::serve(&hello(&path, load_seconds), |question| match text(question, "task")? {
        "embed" => embed(&client, arguments, question),
        "rerank" => rerank(&client, arguments, question),
        "short" => short(&client, question),
        "gguf" => {
            export_gguf(&path, Path::new(text(question, "output")?), FileType::F32, &mut ())?;
            Ok(json!({}))
        }
        "memory" => Ok(worker::memory()),
        other => Err(format!("there is no task `{other}`").into()),
    })
}

/// The seconds of all texts in one request or, with `each`, of each alone; the vectors go to `output`.
fn embed(client: &Client, arguments: &Arguments, question: &Value) -> Result<Value> {
    let lines = lines(question)?;
    let requests = if question["each"] == true { lines.chunks(1) } else { lines.chunks(lines.len()) };
    let (mut seconds, mut tokens, mut vectors) = (Vec::new(), 0, Vec::new());
    for texts in requests {
        let mut request = client.embeddings(texts.iter().map(String::as_str));
        if let Some(tokens) = arguments.tokens {
            request = request.max_length(tokens);
        }
        let (taken, response) = timed(|| request.generate());
        let response = response?;
        seconds.push(taken);
        tokens += response.usage.total_tokens;
        vectors.extend(response.embeddings.into_iter().flat_map(|one| one.embedding));
    }
    write_floats(question, &vectors)?;
    Ok(json!({ "seconds": seconds, "tokens": tokens }))
}

/// The seconds of a ranking: the first line is the query, the others are documents. Their scores go to `output`.
fn rerank(client: &Client, arguments: &Arguments, question: &Value) -> Result<Value> {
    let lines = lines(question)?;
    let (query, documents) = lines.split_first().ok_or("no query")?;
    let mut request = client.rerank(query.as_str(), documents.iter().map(String::as_str)).raw_scores(true);
    if let Some(tokens) = arguments.tokens {
        request = request.max_length(tokens);
    }
    let (seconds, response) = timed(|| request.generate());
    let mut response = response?;
    response.results.sort_by_key(|result| result.index);
    let scores: Vec<f32> = response.results.iter().map(|result| result.score).collect();
    write_floats(question, &scores)?;
    Ok(json!({ "seconds": [seconds], "tokens": response.usage.total_tokens }))
}

/// Writes beginnings of texts that have just so many `tokens`, special ones included, to `output`.
fn short(client: &Client, question: &Value) -> Result<Value> {
    let [tokens, count] = ["tokens", "count"].map(|field| question[field].as_u64().unwrap_or_default() as usize);
    let special = client.embeddings([""]).generate()?.usage.total_tokens;
    let mut found = Vec::new();
    for line in lines(question)? {
        // Words are put together until there are enough tokens; a last word that brings too many spoils it.
        for (end, _) in line.match_indices(' ').chain([(line.len(), "")]).take(tokens) {
            if found.len() < count && client.count_tokens(&line[..end])? + special == tokens {
                found.push(line[..end].to_owned());
                break;
            }
        }
    }
    fs::write(text(question, "output")?, found.join("\n"))?;
    Ok(json!({ "texts": found.len() }))
}

fn lines(question: &Value) -> Result<Vec<String>> {
    let all = fs::read_to_string(text(question, "input")?)?;
    let lines: Vec<String> = all.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.is_empty() { Err("no texts".into()) } else { Ok(lines) }
}

/// Little-endian, one after the other.
fn write_floats(question: &Value, floats: &[f32]) -> Result<()> {
    let Some(path) = question["output"].as_str() else { return Ok(()) };
    Ok(fs::write(path, floats.iter().flat_map(|float| float.to_le_bytes()).collect::<Vec<u8>>())?)
}
