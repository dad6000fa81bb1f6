//! Texts to vectors.

use clap::Args;
use serde_json::{Value, json};

use super::model::{Choice, Material, Task, folder};
use super::peer::{Peer, encoders};
use super::report::{Agreement, Better, Report};
use super::spread::percentile;
use super::turns::Programs;
use super::vectors::{self, Vectors};
use super::worker::seconds;
use super::{Options, Output};
use crate::Result;

/// Tokens of a short text, and how many of them are timed in a turn.
const SHORT: (usize, usize) = (16, 200);

#[derive(Args)]
pub(crate) struct Embed {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    options: Options,
}

impl Embed {
    pub(crate) fn output(&self) -> &Output {
        &self.options.output
    }

    pub(crate) fn run(&self) -> Result<Report> {
        let options = &self.options;
        let material = self.choice.prepare(Task::Embed, "all-MiniLM-L6-v2", options)?;
        let (mut programs, peers, left_out) = encoders(options, &material)?;
        let agreement = agreement(&mut programs, &peers, &material)?;

        let bulk = programs.turns(options.turns, &json!({ "task": "embed", "input": material.texts }))?;
        let per_second = |answer: &Value| Some(material.n_texts as f64 / seconds(answer).first()?);
        let name = format!("{} texts", material.n_texts);
        let mut rows = vec![programs.row([&name, "texts/s"], Better::More, &bulk, per_second)];

        let short = folder("texts")?.join("short.txt");
        let make =
            json!({ "task": "short", "input": material.texts, "output": short, "tokens": SHORT.0, "count": SHORT.1 });
        if programs.all[0].ask(&make)?["texts"].as_u64().is_some_and(|texts| texts > 0) {
            let each = json!({ "task": "embed", "input": short, "each": true });
            programs.turns(1, &each)?;
            let singles = programs.turns(options.turns, &each)?;
            for percent in [50, 95] {
                let name = format!("a text of {} tokens, p{percent}", SHORT.0);
                let milliseconds = |answer: &Value| Some(1e3 * percentile(&seconds(answer), percent)?);
                rows.push(programs.row([&name, "ms"], Better::Less, &singles, milliseconds));
            }
        }
        rows.push(programs.memory()?);
        let tokens = bulk[0].first().map_or(0, |answer| answer["tokens"].as_u64().unwrap_or_default());
        let facts = vec![format!(
            "{}, {} texts of {tokens} tokens, cut at {}, {} threads.",
            material.model, material.n_texts, material.tokens, options.threads,
        )];
        Ok(Report { facts, rows, agreement, left_out })
    }
}

/// How gllm's vectors agree with those of each peer in floats, and those of other peers with the first of these. It is
/// each program's first turn, which isn't timed.
fn agreement(programs: &mut Programs, peers: &[Peer], material: &Material) -> Result<Vec<Agreement>> {
    let files = folder("vectors")?;
    let file = |place: usize| files.join(format!("{place}.f32"));
    programs.ask_each(|place| json!({ "task": "embed", "input": material.texts, "output": file(place) }))?;
    let numbers = (0..=peers.len()).map(|place| vectors::read(&file(place))).collect::<Result<Vec<_>>>()?;
    let of = |place: usize| Vectors {
        program: if place == 0 { "gllm" } else { &programs.all[place].program },
        numbers: &numbers[place],
    };
    let exact: Vec<usize> = (1..=peers.len()).filter(|place| !peers[place - 1].is_approximate()).collect();
    let mut pairs: Vec<(usize, usize)> = exact.iter().map(|place| (0, *place)).collect();
    let first = exact.first().copied().unwrap_or(0);
    pairs.extend((1..=peers.len()).filter(|place| !exact.contains(place)).map(|place| (place, first)));
    let agree = |(one, other)| vectors::agreement(of(one), of(other), material.n_texts);
    Ok(pairs.into_iter().map(agree).collect::<Result<Vec<_>>>()?.concat())
}
