//! Everything that must hold before a change lands.
//!
//! A step that fails doesn't stop the ones behind it, so that one run shows all there is to mend. All steps select
//! the whole workspace with all features in the release profile: any other selection would compile Burn once more.
//! The last line of the output sums the tests.

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use crate::test_results::TestResults;
use crate::{Result, process, setup, workspace};

/// Runs all steps.
pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::default();
    steps.run("set-up", setup::vulkan);
    steps.run("format", || process::run(&mut workspace::cargo(&["fmt", "--all", "--check"])));
    steps.run("lints", lints);
    steps.run("docs", docs);
    steps.run("spelling", || with_tool("typos", &[]));
    // Advisories are left out: they are fetched, and a new one would fail a change that has nothing to do with it.
    steps.run("dependencies", || with_tool("cargo-deny", &["check", "licenses", "bans", "sources"]));
    let mut results = TestResults::default();
    steps.run("tests", || tests(&mut results));

    for failure in &steps.failures {
        eprintln!("failed: {failure}");
    }
    println!("{results}");
    if steps.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Steps {
    failures: Vec<String>,
}

impl Steps {
    fn run(&mut self, name: &str, step: impl FnOnce() -> Result) {
        eprintln!("== {name}");
        let start = Instant::now();
        let outcome = step();
        let seconds = start.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => eprintln!("== {name}: done in {seconds:.1} s"),
            Err(error) => {
                eprintln!("== {name}: failed after {seconds:.1} s: {error}");
                self.failures.push(format!("{name}: {error}"));
            }
        }
    }
}

fn lints() -> Result {
    let selection = ["clippy", "--workspace", "--all-features", "--all-targets", "--release"];
    process::run(workspace::cargo(&selection).args(["--", "-D", "warnings"]))
}

fn docs() -> Result {
    let selection = ["doc", "--workspace", "--all-features", "--no-deps", "--release"];
    process::run(workspace::cargo(&selection).env("RUSTDOCFLAGS", "-D warnings"))
}

fn with_tool(program: &str, args: &[&str]) -> Result {
    let Some(path) = setup::tool(program)? else {
        eprintln!("skipped: `{program}` isn't installed");
        return Ok(());
    };
    process::run(process::at_root(path).args(args))
}

/// Runs all tests, passes their output on as it comes, and sums their results.
fn tests(results: &mut TestResults) -> Result {
    let mut command = workspace::cargo(&["test", "--workspace", "--all-features", "--release", "--no-fail-fast"]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            results.add_line(&line);
            writeln!(std::io::stdout(), "{line}")?;
        }
    }
    let outcome = process::check(&command, child.wait()?);
    if outcome.is_err() && results.failed == 0 {
        // A binary that doesn't compile or dies prints no result.
        results.failed = 1;
    }
    outcome
}
