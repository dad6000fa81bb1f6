//! Benchmarks: gllm beside what else there is, on the same texts, in turns.
//!
//! Every program is a process that stays loaded and answers questions ([`worker`]); they are asked one after the other,
//! A B A B, so that a machine which slows down slows all of them. A [`report::Report`] has each turn's figure and the
//! ratios of turns: speeds are worth little, and ratios are what is compared with those of another day.

mod chart;
mod embed;
mod generate;
mod instructions;
mod kernels;
mod matmul;
mod model;
mod peer;
mod regression;
mod report;
mod rerank;
mod spread;
mod targets;
mod turns;
mod vectors;
mod worker;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::Result;
use peer::Peer;
use report::Report;

/// What is measured.
#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Texts to vectors: texts a second, how long one short text takes, and whether the vectors agree
    Embed(embed::Embed),
    /// Pairs to scores: pairs a second, and whether the scores agree
    Rerank(rerank::Rerank),
    /// Products on packed weights, beside what the machine can do
    Matmul(matmul::Matmul),
    /// Reading and writing text
    Generate(generate::Generate),
    /// Each kernel on floats, beside what the machine can do
    Kernels(kernels::Kernels),
    /// Instructions of small workloads, beside those that were recorded
    Instructions(instructions::Instructions),
    /// Handles beside a client: many callers, a lone one, and many futures (`-- --help` for more)
    Handles(targets::Arguments),
    /// Texts that are written together, beside one alone (`-- --help` for more)
    Texts(targets::Arguments),
}

/// What all comparisons take.
#[derive(Args)]
pub(crate) struct Options {
    /// Programs to compare with; those that aren't installed are named, and left out
    #[arg(long, value_enum, value_delimiter = ',')]
    against: Vec<Peer>,
    /// The Python that has them
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Threads of each program
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Turns of each program; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
    #[command(flatten)]
    output: Output,
}

/// Where figures go.
#[derive(Args)]
pub(crate) struct Output {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Draw the figures, as SVG
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Write the figures, for a later `--compare`
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Fail where a ratio is worse than in this file, beyond what the turns differ by
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

/// Measures, and says what came out.
pub(crate) fn run(bench: &Bench) -> Result {
    let (report, output) = match bench {
        Bench::Embed(embed) => (embed.run()?, embed.output()),
        Bench::Rerank(rerank) => (rerank.run()?, rerank.output()),
        Bench::Matmul(matmul) => (matmul.run()?, matmul.output()),
        Bench::Generate(generate) => (generate.run()?, generate.output()),
        Bench::Kernels(kernels) => (kernels.run()?, kernels.output()),
        Bench::Instructions(instructions) => return instructions.run(),
        Bench::Handles(arguments) => return targets::run("handles", arguments),
        Bench::Texts(arguments) => return targets::run("texts", arguments),
    };
    put_out(&report, output)
}

fn put_out(report: &Report, output: &Output) -> Result {
    if output.json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        println!("{report}");
    }
    if let Some(path) = &output.chart {
        std::fs::write(path, chart::draw(report)?)?;
    }
    let before: Option<Report> = match &output.compare {
        Some(path) => Some(serde_json::from_str(&std::fs::read_to_string(path)?)?),
        None => None,
    };
    if let Some(path) = &output.save {
        std::fs::write(path, serde_json::to_string_pretty(report)?)?;
    }
    match before {
        Some(before) => regression::check(&before, report),
        None => Ok(()),
    }
}
