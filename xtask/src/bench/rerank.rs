//! Pairs to scores.

use std::fs;

use clap::Args;
use serde_json::{Value, json};

use super::model::{Choice, Task, folder};
use super::peer::encoders;
use super::report::{Agreement, Better, Report};
use super::worker::seconds;
use super::{Options, Output, vectors};
use crate::Result;

/// Words of the query: the first ones of the first text.
const QUERY: usize = 8;

#[derive(Args)]
pub(crate) struct Rerank {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    options: Options,
}

impl Rerank {
    pub(crate) fn output(&self) -> &Output {
        &self.options.output
    }

    /// All texts are documents.
    pub(crate) fn run(&self) -> Result<Report> {
        let options = &self.options;
        let material = self.choice.prepare(Task::Rerank, "ms-marco-MiniLM-L-6-v2", options)?;
        let n_pairs = material.n_texts;
        let input = folder("texts")?.join("query-and-documents.txt");
        let documents = fs::read_to_string(&material.texts)?;
        fs::write(&input, format!("{}\n{documents}", first_words(&documents)))?;
        let (mut programs, _, left_out) = encoders(options, &material)?;

        let files = folder("vectors")?;
        let file = |place: usize| files.join(format!("{place}.f32"));
        programs.ask_each(|place| json!({ "task": "rerank", "input": input, "output": file(place) }))?;
        let scores = vectors::read(&file(0))?;
        let mut agreement = Vec::new();
        for (place, peer) in programs.all.iter().enumerate().skip(1) {
            let others = vectors::read(&file(place))?;
            let apart = scores.iter().zip(&others).map(|(a, b)| f64::from((a - b).abs()));
            agreement.push(Agreement {
                program: "gllm".into(),
                with: peer.program.clone(),
                measure: "logits, most apart".into(),
                value: apart.fold(0.0, f64::max),
            });
        }

        let answers = programs.turns(options.turns, &json!({ "task": "rerank", "input": input }))?;
        let per_second = |answer: &Value| Some(n_pairs as f64 / seconds(answer).first()?);
        let name = format!("{n_pairs} documents");
        let rows = vec![programs.row([&name, "pairs/s"], Better::More, &answers, per_second), programs.memory()?];
        let tokens = answers[0].first().map_or(0, |answer| answer["tokens"].as_u64().unwrap_or_default());
        let facts = vec![format!(
            "{}, {n_pairs} pairs of {tokens} tokens, cut at {}, {} threads.",
            material.model, material.tokens, options.threads,
        )];
        Ok(Report { facts, rows, agreement, left_out })
    }
}

fn first_words(text: &str) -> String {
    text.split_whitespace().take(QUERY).collect::<Vec<_>>().join(" ")
}
