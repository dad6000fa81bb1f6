//! Times a generator: reading a prompt, writing behind it, the first token, loading, memory; beside llama.cpp.
//!
//! `cargo xtask bench generate [--model MODEL] [--against llama.cpp --python PYTHON] [--rounds N] [--json FILE]`. Each
//! round is a process of either program, in turns, with the same token ids and as many threads; the median of the rounds
//! counts, and of a ratio that of the rounds' ratios. Tokens are read and computed as an engine does it, but chosen by
//! nobody: no sampler and no tokenizer is timed.
//!
//! `--concurrent N` times something else: texts of N callers of one handle beside one alone, with all that belongs to it.

mod measures;
mod together;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Parser, ValueEnum};
use gllm::hub::{HubConfig, ModelId, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

use measures::{MEASURES, Measure, Measures};
use together::Together;

#[derive(Parser)]
struct Arguments {
    /// Alias, `org/name:file.gguf` or the absolute path of a GGUF file; without another program, any generator.
    #[arg(long, default_value = "qwen2.5-coder-0.5b-instruct")]
    model: String,
    /// A program to compare with.
    #[arg(long, value_enum)]
    against: Option<Against>,
    /// The Python that has `llama-cpp-python`.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Threads of each program.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Turns of each program.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Time this many texts that are written together, beside one alone.
    #[arg(long, value_name = "N", conflicts_with = "against")]
    concurrent: Option<usize>,
    /// Write the figures of every round, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure gllm in this process, and print what comes out.
    #[arg(long, hide = true)]
    turn: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Against {
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report {
    model: PathBuf,
    threads: usize,
    gllm: Vec<Measures>,
    llama_cpp: Vec<Measures>,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let model = Store::new(HubConfig::from_env()?).fetch(&ModelId::parse(&arguments.model)?, &mut ())?;
    match (arguments.turn, arguments.concurrent) {
        (true, Some(texts)) => {
            println!("{}", serde_json::to_string(&Together::of(&model, texts.max(1))?)?);
            return Ok(());
        }
        (true, None) => {
            println!("{}", serde_json::to_string(&Measures::of_gllm(&model)?)?);
            return Ok(());
        }
        (false, Some(texts)) => return time_together(&arguments, &model, texts),
        (false, None) => {}
    }
    let mut report = Report { model, threads: arguments.threads, gllm: Vec::new(), llama_cpp: Vec::new() };
    for round in 1..=arguments.rounds.max(1) {
        let measures = gllm_turn(&arguments, &report.model)?;
        report.gllm.push(measures);
        if matches!(arguments.against, Some(Against::LlamaCpp)) {
            let measures = llama_cpp_turn(&arguments, &report.model)?;
            report.llama_cpp.push(measures);
        }
        eprintln!("round {round} of {}", arguments.rounds);
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    print_table(&report);
    Ok(())
}

/// Times texts that are written together, and prints the rounds and their medians.
fn time_together(arguments: &Arguments, model: &Path, texts: usize) -> Outcome<()> {
    let mut rounds: Vec<Together> = Vec::new();
    for _ in 0..arguments.rounds.max(1) {
        let mut command = gllm_command(arguments, model)?;
        rounds.push(turn(command.args(["--concurrent", &texts.to_string()]))?);
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&rounds)?)?;
    }
    let median = |of: fn(&Together) -> f64| median(&rounds.iter().map(of).collect::<Vec<_>>());
    println!("| measure | one text | {texts} together | ratio |\n|---|---|---|---|");
    let (alone, together) = (median(|round| round.alone), median(|round| round.all));
    let ratio = median(|round| round.all / round.alone);
    println!("| writing 128 tokens each, tokens/s | {alone:.1} | {together:.1} | {ratio:.2} |");
    println!("| the last text's first token, ms | | {:.0} | |", median(|round| round.first_token_ms));
    let are_equal = rounds.iter().all(|round| round.are_equal);
    println!("\nThe texts are {}those that are written alone.", if are_equal { "" } else { "NOT " });
    Ok(())
}

fn gllm_turn(arguments: &Arguments, model: &Path) -> Outcome<Measures> {
    turn(&mut gllm_command(arguments, model)?)
}

/// This program, to measure in a process of its own.
fn gllm_command(arguments: &Arguments, model: &Path) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--turn").arg("--model").arg(model);
    command.env("GLLM_NUM_THREADS", arguments.threads.to_string());
    Ok(command)
}

fn llama_cpp_turn(arguments: &Arguments, model: &Path) -> Outcome<Measures> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers/llama_generate.py");
    turn(Command::new(&arguments.python).arg(script).arg(model).arg(arguments.threads.to_string()))
}

/// Runs a program that prints its measures in its last line.
fn turn<T: DeserializeOwned>(command: &mut Command) -> Outcome<T> {
    let output = command.stderr(Stdio::inherit()).output()?;
    let program = command.get_program().display();
    if !output.status.success() {
        return Err(format!("`{program}` ended with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let last = text.lines().last().ok_or_else(|| format!("`{program}` said nothing"))?;
    Ok(serde_json::from_str(last)?)
}

fn print_table(report: &Report) {
    let spread = |values: &[f64]| {
        let values = sorted(values);
        format!("{:.2} to {:.2}", values[0], values[values.len() - 1])
    };
    let with_peer = !report.llama_cpp.is_empty();
    let (peer, line) = if with_peer { (" llama.cpp | ratio | spread |", "---|---|---|") } else { ("", "") };
    println!("| measure | gllm |{peer}\n|---|---|{line}");
    for Measure { name, of, decimals, more_is_better } in MEASURES {
        let gllm: Vec<f64> = report.gllm.iter().map(of).collect();
        let ours = format!("| {name} | {:.decimals$} |", median(&gllm));
        if !with_peer {
            println!("{ours}");
            continue;
        }
        let theirs: Vec<f64> = report.llama_cpp.iter().map(of).collect();
        let pairs = gllm.iter().zip(&theirs);
        let ratios: Vec<f64> =
            pairs.map(|(ours, theirs)| if more_is_better { ours / theirs } else { theirs / ours }).collect();
        println!("{ours} {:.decimals$} | {:.2} | {} |", median(&theirs), median(&ratios), spread(&ratios));
    }
    if with_peer {
        println!("\nA ratio above 1 says that gllm does better.");
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> f64 {
    let values = sorted(values);
    f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2])
}
