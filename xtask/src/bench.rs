//! Benchmarks, compiled with the same features as the tests, so that Burn isn't compiled for them alone.

use std::ffi::OsString;

use crate::{Result, process, workspace};

/// Runs the bench target `name` with `args`.
pub(crate) fn run(name: &str, args: &[OsString]) -> Result {
    let mut bench = workspace::cargo(&["bench", "--workspace", "--all-features", "--bench", name, "--"]);
    process::run(bench.args(args))
}
