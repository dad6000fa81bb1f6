//! Each kernel on floats, as a share of what the machine can do: a roofline, as a table.
//!
//! Kernels are private, and stay so: they are measured by a unit test of their own crate, `ops/cpu/roofline.rs`, which
//! measures only where it is told a file to write to.

use std::fs;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::model::folder;
use super::peer::of_threads;
use super::report::{Better, Report, Row};
use super::{Output, matmul, targets};
use crate::{Result, process};

/// The test that measures.
const TEST: &str = "ops::cpu::roofline::every_kernel_runs";

#[derive(Args)]
pub(crate) struct Kernels {
    /// Threads
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Turns of all kernels; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
    #[command(flatten)]
    output: Output,
}

/// What the test writes of a kernel, a line of JSON.
#[derive(Deserialize)]
struct Figures {
    name: String,
    /// Which limit of the machine is this kernel's: `read`, or the arithmetic of `f32`, `bf16` or `int8`.
    limit: String,
    /// Billions of operations, or GB.
    work: f64,
    seconds: Vec<f64>,
}

impl Kernels {
    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    pub(crate) fn run(&self) -> Result<Report> {
        let test = targets::unit_tests("gllm_models")?;
        let mut machine = matmul::own(self.threads)?;
        let before = machine.ask(&json!({ "task": "limits" }))?;
        let path = folder("kernels")?.join("figures.jsonl");
        let mut command = process::at_root(test);
        command.args(["--exact", TEST]).env("GLLM_ROOFLINE", &path).env("GLLM_ROOFLINE_TURNS", self.turns.to_string());
        process::output(of_threads(&mut command, self.threads))?;
        let after = machine.ask(&json!({ "task": "limits" }))?;

        let mut report = Report { facts: vec![matmul::said(&before), matmul::said(&after)], ..Report::default() };
        for line in fs::read_to_string(path)?.lines() {
            let Figures { name, limit, work, seconds } = serde_json::from_str(line)?;
            let unit = if limit == "read" { "GB/s".to_owned() } else { format!("Gop/s of {limit}") };
            let speeds = seconds.iter().map(|seconds| work / seconds).collect();
            let row = Row::new(name, unit, Better::More, speeds);
            // What the machine did at its best: it isn't faster for the kernels.
            let limits = [&before, &after].map(|limits| limits[limit.as_str()].as_f64());
            let row = match limits {
                [Some(before), Some(after)] => row.against("limit", vec![before.max(after); seconds.len()]),
                _ => row,
            };
            report.rows.push(row);
        }
        Ok(report)
    }
}
