//! The commands of the README do what it says they do, with the real model.

use std::process::{Command, Output};

use serde_json::Value;

const README: &str = include_str!("../../../README.md");

/// Runs the binary in f32 on a command line as the README has it, on the user's own store; `None`, said on stderr, where the
/// model can't be had.
fn run(line: &str) -> Option<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gllm"));
    let output = command.args(words(line)).env("GLLM_PRECISION", "f32").output().expect("gllm runs");
    if output.status.code() == Some(4) {
        let reason = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "no model, and this is CI: {reason}");
        eprintln!("skipped: {reason}");
        return None;
    }
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    Some(output)
}

/// The words of a command line, quoted or not.
fn words(line: &str) -> Vec<&str> {
    let parts = line.split('"').enumerate();
    parts
        .flat_map(|(place, part)| if place % 2 == 1 { vec![part] } else { part.split_whitespace().collect() })
        .collect()
}

/// What stands in the README between two marks.
fn between(start: &str, end: &str) -> &'static str {
    let (_, rest) = README.split_once(start).unwrap_or_else(|| panic!("no `{start}` in the README"));
    rest.split_once(end).unwrap_or_else(|| panic!("no `{end}` after it")).0
}

#[test]
fn the_first_command_prints_the_embeddings_that_it_shows() {
    let Some(output) = run(between("\ncargo run --release -- ", "\n")) else { return };
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let shown = between("```text\n{\"object\"", "```");
    for (row, shown) in shown.split("\"embedding\": [").skip(1).enumerate() {
        let numbers = shown.split(", …").next().expect("numbers").split(", ");
        let numbers: Vec<f64> = numbers.map(|number| number.parse().expect("a number")).collect();
        assert!(numbers.len() >= 2, "row {row}");
        let embedding = answer["data"][row]["embedding"].as_array().expect("a vector");
        assert_eq!(embedding.len(), 384);
        for (shown, found) in numbers.iter().zip(embedding) {
            assert!((shown - found.as_f64().expect("a number")).abs() <= 2e-5, "row {row}: {shown}, {found}");
        }
    }
    assert_eq!(answer["data"].as_array().map(Vec::len), Some(2));
    let usage = answer["usage"]["prompt_tokens"].as_u64().expect("a count");
    assert!(shown.contains(&format!("\"prompt_tokens\": {usage}")), "{usage} tokens");
}

#[test]
fn the_similarity_table_is_the_one_that_it_shows() {
    let block = between("\n$ gllm ", "```");
    let (line, table) = block.split_once('\n').expect("a command and its output");
    let Some(output) = run(line) else { return };
    assert_eq!(String::from_utf8_lossy(&output.stdout), table);
}
