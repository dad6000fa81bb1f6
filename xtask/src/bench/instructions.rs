//! Instructions of small workloads, beside those that were recorded: no neighbour makes more of them.
//!
//! They are counted by `perf` where the machine lets it, else by valgrind, whose processor has no AVX-512; on one thread.
//! Counts hold for a counter, a compiler and the instruction sets that kernels choose by.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::folder;
use super::peer::of_threads;
use super::targets;
use crate::{Result, process, workspace};

/// What was recorded.
const RECORDED: &str = "benches/instructions.json";

/// How many more instructions are none to speak of.
const TOLERANCE: f64 = 0.02;

/// What is embedded.
const TEXTS: [&str; 8] = [
    "How do I open a file?",
    "Returns an iterator over the lines of a file, without their line endings.",
    "The panda eats bamboo.",
    "A connection that was closed by the other side raises an error when it is read from; one that was never opened, too.",
    "fn main() { println!(\"hello\"); }",
    "Zürich, Genève, Łódź",
    "x",
    "Sort the list in place, smallest first. The sort is stable: what compares equal stays in the order in which it was, \
     and comparisons that fail leave the list as it is, partly sorted.",
];

#[derive(Args)]
pub(crate) struct Instructions {
    /// Record what is counted
    #[arg(long)]
    bless: bool,
}

/// Something to count.
struct Workload {
    name: &'static str,
    task: &'static str,
    /// A path from the root, or a name in the store.
    model: &'static str,
    question: fn(texts: &Path) -> Value,
}

const WORKLOADS: [Workload; 3] = [
    Workload { name: "tiny BERT, 8 texts", task: "embed", model: "tests/golden/bert/plain", question: embed },
    Workload { name: "all-MiniLM-L6-v2, 8 texts", task: "embed", model: "all-MiniLM-L6-v2", question: embed },
    Workload {
        name: "tiny Qwen2, 8 tokens behind 16",
        task: "generate",
        model: "tests/golden/decoders/qwen2.gguf",
        question: |_| json!({ "task": "write", "prompt": 16, "written": 8, "times": 0 }),
    },
];

fn embed(texts: &Path) -> Value {
    json!({ "task": "embed", "input": texts })
}

/// Counts, and what they hold for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    counter: String,
    rustc: String,
    features: Vec<String>,
    counts: BTreeMap<String, u64>,
}

impl Instructions {
    pub(crate) fn run(&self) -> Result {
        let now = count_all()?;
        let path = workspace::root().join(RECORDED);
        let mut records: Vec<Record> = serde_json::from_str(&fs::read_to_string(&path)?)?;
        println!("{} with {}, {}\n", now.rustc, now.features.join(", "), now.counter);
        println!("| workload | million instructions | recorded | ratio |\n|---|---|---|---|");
        let place = records.iter().position(|record| record.holds_for(&now));
        for (name, count) in &now.counts {
            let recorded = place.and_then(|place| records[place].counts.get(name));
            let beside = recorded.map_or_else(String::new, |recorded| millions(*recorded));
            let ratio = recorded.map_or_else(String::new, |recorded| format!("{:.3}", ratio(*count, *recorded)));
            println!("| {name} | {} | {beside} | {ratio} |", millions(*count));
        }
        if self.bless {
            match place {
                Some(place) => records[place].counts.extend(now.counts),
                None => records.push(now),
            }
            return Ok(fs::write(path, serde_json::to_string_pretty(&records)? + "\n")?);
        }
        let Some(place) = place else {
            eprintln!("{RECORDED} has no counts of this counter, compiler and processor; --bless records them");
            return Ok(());
        };
        check(&records[place], &now)
    }
}

impl Record {
    fn holds_for(&self, other: &Self) -> bool {
        (&self.counter, &self.rustc, &self.features) == (&other.counter, &other.rustc, &other.features)
    }
}

/// An error that names each workload with more instructions than were recorded.
fn check(recorded: &Record, now: &Record) -> Result {
    let both = recorded.counts.iter().filter_map(|(name, before)| Some((name, *before, *now.counts.get(name)?)));
    let more: Vec<String> = both
        .filter(|(_, before, now)| ratio(*now, *before) > 1.0 + TOLERANCE)
        .map(|(name, before, now)| format!("- {name}: {} million, recorded {}", millions(now), millions(before)))
        .collect();
    if more.is_empty() { Ok(()) } else { Err(format!("more instructions than recorded:\n{}", more.join("\n")).into()) }
}

fn ratio(now: u64, before: u64) -> f64 {
    now as f64 / before as f64
}

fn millions(count: u64) -> String {
    format!("{:.1}", count as f64 / 1e6)
}

fn count_all() -> Result<Record> {
    let worker = targets::bench("worker")?;
    let counter = Counter::find()?;
    let texts = folder("texts")?.join("eight.txt");
    fs::write(&texts, TEXTS.join("\n"))?;
    let rustc = process::output(process::at_root("rustc").arg("--version"))?.trim().to_owned();
    let mut record = Record { counter: counter.name().into(), rustc, features: Vec::new(), counts: BTreeMap::new() };
    for Workload { name, task, model, question } in WORKLOADS {
        let in_tree = workspace::root().join(model);
        let model = if in_tree.exists() { in_tree } else { PathBuf::from(model) };
        let mut program = Command::new(&worker);
        program.arg(task).arg(model);
        match counter.count(&program, &question(&texts)) {
            Ok((hello, count)) => {
                let features = hello["features"].as_array().into_iter().flatten().filter_map(Value::as_str);
                record.features = features.map(str::to_owned).collect();
                record.counts.insert(name.into(), count);
            }
            Err(error) => eprintln!("skipped: {name}: {error}"),
        }
    }
    Ok(record)
}

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Perf,
    Valgrind,
}

impl Counter {
    /// The one that works here.
    fn find() -> Result<Self> {
        let mut perf = Command::new("perf");
        let perf = perf.args(["stat", "-x", ",", "-e", "instructions:u", "true"]).output();
        if perf.is_ok_and(|output| perf_count(&String::from_utf8_lossy(&output.stderr)).is_some()) {
            return Ok(Self::Perf);
        }
        if process::succeeds(Command::new("valgrind").arg("--version")) {
            return Ok(Self::Valgrind);
        }
        Err("there are no counts from `perf` here, and no `valgrind`; most systems have a package of that name".into())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Valgrind => "valgrind",
        }
    }

    /// What the program says first, and its instructions until it has answered `question`.
    fn count(self, program: &Command, question: &Value) -> Result<(Value, u64)> {
        let asked = folder("instructions")?.join("question.json");
        fs::write(&asked, question.to_string())?;
        let mut command = match self {
            Self::Perf => Command::new("perf"),
            Self::Valgrind => Command::new("valgrind"),
        };
        match self {
            Self::Perf => command.args(["stat", "-x", ",", "-e", "instructions:u"]),
            Self::Valgrind => command.args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]),
        };
        command.arg(program.get_program()).args(program.get_args()).stdin(File::open(asked)?);
        // Models are taken as they are there, not from the network.
        let output = of_threads(&mut command, 1).env("HF_HUB_OFFLINE", "1").stdout(Stdio::piped()).output()?;
        let (answers, said) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr).into_owned());
        let answers: Vec<Value> = answers.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let count = match self {
            Self::Perf => perf_count(&said),
            Self::Valgrind => valgrind_count(&said),
        };
        match (answers.as_slice(), count) {
            ([hello, answer], Some(count)) if answer["error"].is_null() => Ok((hello.clone(), count)),
            ([_, answer], _) => Err(format!("{answer}").into()),
            _ => Err(said.lines().last().unwrap_or("no answer").into()),
        }
    }
}

/// The count in a line of `perf stat -x ,`; without it, `<not supported>` stands there.
fn perf_count(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("instructions:u"))?;
    line.split(',').next()?.parse().ok()
}

/// The count in `==1== I   refs:      1,234`.
fn valgrind_count(said: &str) -> Option<u64> {
    let mut words = said.lines().find(|line| line.contains("refs:"))?.split_whitespace().rev();
    words.next()?.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(counter: &str, count: u64) -> Record {
        let counts = BTreeMap::from([("x".to_owned(), count)]);
        Record { counter: counter.into(), rustc: "rustc 1".into(), features: vec!["avx2".into()], counts }
    }

    #[test]
    fn counters_are_read() {
        assert_eq!(perf_count("123456,,instructions:u,1000,100.00,,\n"), Some(123_456));
        assert_eq!(perf_count("<not supported>,,instructions:u,0,100.00,,\n"), None);
        assert_eq!(valgrind_count("==7== Cachegrind\n==7== \n==7== I   refs:      1,234,567\n"), Some(1_234_567));
        assert_eq!(valgrind_count("==7== I refs:        12\n"), Some(12));
        assert_eq!(valgrind_count("valgrind: no such program"), None);
    }

    #[test]
    fn more_instructions_than_the_tolerance_are_an_error() {
        let before = record("perf", 1_000_000);
        check(&before, &record("perf", 1_020_000)).expect("within");
        check(&before, &record("perf", 500_000)).expect("fewer");
        let error = check(&before, &record("perf", 1_030_000)).expect_err("more").to_string();
        assert!(error.contains("- x: 1.0 million, recorded 1.0"), "{error}");
    }

    #[test]
    fn counts_hold_for_their_counter_compiler_and_processor() {
        let (before, mut now) = (record("perf", 1), record("perf", 2));
        assert!(before.holds_for(&now) && !before.holds_for(&record("valgrind", 1)));
        now.features.push("avx512f".into());
        assert!(!before.holds_for(&now));
    }

    #[test]
    fn the_recorded_counts_can_be_read() {
        let text = fs::read_to_string(workspace::root().join(RECORDED)).expect("a file");
        serde_json::from_str::<Vec<Record>>(&text).expect("records");
    }
}
