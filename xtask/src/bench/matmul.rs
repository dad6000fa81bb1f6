//! Products on packed weights. One row is a step of a decoder, and bytes count as they are in the file.

use clap::Args;
use serde_json::{Value, json};

use super::peer::{Peer, of_threads, script};
use super::report::{Better, Report, Row};
use super::turns::Programs;
use super::worker::{Started, Worker, seconds};
use super::{Options, Output, targets};
use crate::{Result, process};

#[derive(Args)]
pub(crate) struct Matmul {
    /// Block types, such as `Q4_K,Q8_0`
    #[arg(long, value_delimiter = ',', default_values = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"])]
    types: Vec<String>,
    /// Shapes of weights, outputs × inputs; those that a type's blocks don't divide are left out
    #[arg(long, value_delimiter = ',', default_values = ["896x896", "4864x896", "896x4864", "4096x4096", "11008x4096", "4096x11008"], value_parser = parse_shape)]
    shapes: Vec<[usize; 2]>,
    /// Rows of activations
    #[arg(long, value_delimiter = ',', default_values_t = [1, 512])]
    rows: Vec<usize>,
    #[command(flatten)]
    options: Options,
}

impl Matmul {
    pub(crate) fn output(&self) -> &Output {
        &self.options.output
    }

    pub(crate) fn run(&self) -> Result<Report> {
        let options = &self.options;
        let mut report = Report::default();
        let mut all = vec![own(options.threads)?];
        for &peer in &options.against {
            if peer != Peer::LlamaCpp {
                report.left_out.push(peer.left_out("its peer here has no products of these types"));
                continue;
            }
            let mut command = script(options, "llama_matmul.py");
            // What it writes to standard error is how it packs each tensor.
            command.arg(options.threads.to_string()).stderr(std::process::Stdio::null());
            match Worker::start(&mut command)? {
                Started::Ready(worker) => all.push(worker),
                Started::Skipped(why) => report.left_out.push(peer.left_out(&why)),
            }
        }
        let mut programs = Programs { all };
        let limits = programs.all[0].ask(&json!({ "task": "limits" }))?;
        report.facts = vec![said(&limits)];
        for of in &self.types {
            for &[outputs, inputs] in self.shapes.iter().filter(|shape| blocks_divide(of, shape[1])) {
                for &rows in &self.rows {
                    let row = measure(&mut programs, options.turns, of, [outputs, inputs, rows])?;
                    eprintln!("{}, {}", row.name, row.unit);
                    report.rows.push(row);
                }
            }
        }
        Ok(report)
    }
}

/// gllm's program for products and limits.
pub(crate) fn own(threads: usize) -> Result<Worker> {
    let mut command = process::at_root(targets::bench("matmul")?);
    Worker::start_own(of_threads(&mut command, threads))
}

/// The limits as a sentence.
pub(crate) fn said(limits: &Value) -> String {
    let kinds = ["f32", "bf16", "int8"].map(|kind| {
        limits[kind].as_f64().map_or_else(|| format!("{kind} not measured"), |gop| format!("{kind} {gop:.0} Gop/s"))
    });
    let read = limits["read"].as_f64().unwrap_or_default();
    format!("Limits of the machine with {} threads: {}, reading {read:.1} GB/s.", limits["threads"], kinds.join(", "))
}

fn measure(programs: &mut Programs, turns: u32, of: &str, [outputs, inputs, rows]: [usize; 3]) -> Result<Row> {
    let question = json!({ "task": "product", "of": of, "outputs": outputs, "inputs": inputs, "rows": rows });
    // Reading limits one row, and arithmetic many.
    let limit = json!({ "task": "limit", "of": if rows == 1 { "read" } else { "int8" } });
    let mut limits = Vec::new();
    // In each turn: what others leave of the memory changes from one minute to the next.
    let answers = programs.turns_after(turns, &question, |programs| {
        limits.extend(programs.all[0].ask(&limit)?["limit"].as_f64());
        Ok(())
    })?;
    let bytes = answers[0].first().and_then(|answer| answer["bytes"].as_f64()).unwrap_or_default();
    let (work, unit) = match rows {
        1 => (1e-9 * bytes, "GB/s, one row".to_owned()),
        _ => (2e-9 * (outputs * inputs * rows) as f64, format!("Gop/s, {rows} rows")),
    };
    let figure = |answer: &Value| Some(work / seconds(answer).first()?);
    let row = programs.row([&format!("{of} {outputs} × {inputs}"), &unit], Better::More, &answers, figure);
    Ok(if limits.is_empty() { row } else { row.against("limit", limits) })
}

/// Whether rows of `inputs` are whole blocks: of 256 weights for the types with a K and some others.
fn blocks_divide(of: &str, inputs: usize) -> bool {
    let is_small = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL"].contains(&of);
    inputs.is_multiple_of(if is_small { 32 } else { 256 })
}

fn parse_shape(shape: &str) -> std::result::Result<[usize; 2], String> {
    let numbers =
        shape.split_once('x').and_then(|(outputs, inputs)| Some([outputs.parse().ok()?, inputs.parse().ok()?]));
    numbers.ok_or_else(|| format!("`{shape}` is not OUTPUTSxINPUTS"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_two_numbers() {
        assert_eq!(parse_shape("896x4864"), Ok([896, 4864]));
        assert!(parse_shape("896").is_err() && parse_shape("ax4").is_err());
    }

    #[test]
    fn rows_are_whole_blocks() {
        assert!(blocks_divide("Q4_0", 896) && !blocks_divide("Q4_K", 896) && blocks_divide("Q4_K", 4864));
    }
}
