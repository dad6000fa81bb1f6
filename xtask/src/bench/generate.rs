//! Reading and writing text: each turn is a process of either program, so that loading and memory count, too.

use clap::Args;
use serde_json::{Value, json};

use super::peer::{Peer, of_threads, script};
use super::report::{Better, Report, Row};
use super::spread::Spread;
use super::worker::{Started, Worker, numbers, seconds};
use super::{Options, Output, targets};
use crate::{Result, process};

/// Tokens of a prompt, and of what is written behind it.
const LONG: (usize, usize) = (512, 64);

/// Tokens of the prompt whose first answer is waited for.
const SHORT: usize = 16;

/// Tokens in the context when the memory is taken.
const CONTEXT: usize = 1024;

/// Each is measured so often in a turn; the median counts.
const TIMES: usize = 3;

#[derive(Args)]
pub(crate) struct Generate {
    /// Alias, `org/name:file.gguf` or the absolute path of a GGUF file; without a peer, any generator
    #[arg(long, default_value = "qwen2.5-coder-0.5b-instruct")]
    model: String,
    #[command(flatten)]
    options: Options,
}

/// A measure of a turn.
struct Measure {
    name: &'static str,
    unit: &'static str,
    better: Better,
}

/// What [`turn`] gives, in this order.
const MEASURES: [Measure; 5] = [
    Measure { name: "reading 512 tokens", unit: "tokens/s", better: Better::More },
    Measure { name: "writing 64 tokens behind 512", unit: "tokens/s", better: Better::More },
    Measure { name: "first token behind 16", unit: "ms", better: Better::Less },
    Measure { name: "loading", unit: "s", better: Better::Less },
    Measure { name: "peak memory at 1024 tokens", unit: "MB", better: Better::Less },
];

impl Generate {
    pub(crate) fn output(&self) -> &Output {
        &self.options.output
    }

    pub(crate) fn run(&self) -> Result<Report> {
        let options = &self.options;
        let worker = targets::bench("worker")?;
        let mut report = Report::default();
        let others = options.against.iter().filter(|peer| **peer != Peer::LlamaCpp);
        report.left_out.extend(others.map(|peer| peer.left_out("its peer here doesn't write text")));
        let mut has_peer = options.against.contains(&Peer::LlamaCpp);
        let (mut gllm, mut peer, mut peer_name) = (Vec::new(), Vec::new(), String::new());
        for number in 1..=options.turns {
            let mut command = process::at_root(&worker);
            command.args(["generate", &self.model]);
            let mut program = Worker::start_own(of_threads(&mut command, options.threads))?;
            gllm.push(turn(&mut program)?);
            let model = program.hello["model"].as_str().ok_or("gllm says of no model where it is")?.to_owned();
            drop(program);
            if has_peer {
                let mut command = script(options, "llama_generate.py");
                command.arg(&model).arg(options.threads.to_string());
                match Worker::start(of_threads(&mut command, options.threads))? {
                    Started::Ready(mut program) => {
                        peer.push(turn(&mut program)?);
                        peer_name.clone_from(&program.program);
                    }
                    Started::Skipped(why) => {
                        report.left_out.push(Peer::LlamaCpp.left_out(&why));
                        has_peer = false;
                    }
                }
            }
            eprintln!("turn {number} of {}", options.turns);
            report.facts = vec![format!("{model}, {} threads.", options.threads)];
        }
        let figures = |turns: &[[f64; 5]], place: usize| turns.iter().map(|turn| turn[place]).collect::<Vec<f64>>();
        for (place, Measure { name, unit, better }) in MEASURES.into_iter().enumerate() {
            let row = Row::new(name, unit, better, figures(&gllm, place));
            report.rows.push(if has_peer { row.against(&peer_name, figures(&peer, place)) } else { row });
        }
        Ok(report)
    }
}

/// The figures of one process.
fn turn(program: &mut Worker) -> Result<[f64; 5]> {
    let mut write = |prompt: usize, written: usize, times: usize| {
        program.ask(&json!({ "task": "write", "prompt": prompt, "written": written, "times": times }))
    };
    let median = |figures: &[f64]| Spread::of(figures).map(|spread| spread.median).ok_or("an answer without seconds");
    let short = write(SHORT, 0, TIMES)?;
    let long = write(LONG.0, LONG.1, TIMES)?;
    write(CONTEXT, 0, 0)?;
    let read = |answer: &Value| median(&numbers(answer, "read_seconds"));
    let memory = program.ask(&json!({ "task": "memory" }))?;
    Ok([
        LONG.0 as f64 / read(&long)?,
        LONG.1 as f64 / median(&seconds(&long))?,
        1e3 * read(&short)?,
        program.hello["load_seconds"].as_f64().ok_or("a program that doesn't say how long it loaded")?,
        memory["peak_memory_mb"].as_f64().ok_or("this system doesn't say how much memory a process has had")?,
    ])
}
