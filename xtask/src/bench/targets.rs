//! Programs of this workspace, compiled with the same features as its tests, so that Burn isn't compiled for them alone.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use serde_json::Value;

use crate::{Result, process, workspace};

/// What a program takes that measures by itself.
#[derive(Args)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs the bench target `name`, which prints what it measures.
pub(super) fn run(name: &str, Arguments { arguments }: &Arguments) -> Result {
    process::run(Command::new(bench(name)?).args(arguments))
}

/// The executable of the bench target `name`.
pub(crate) fn bench(name: &str) -> Result<PathBuf> {
    let build = ["bench", "--workspace", "--all-features", "--no-run", "--message-format=json-render-diagnostics"];
    let messages = process::output(workspace::cargo(&build).args(["--bench", name]))?;
    executable(&messages, "bench", name)
}

/// The executable with the unit tests of the library `name`.
pub(crate) fn unit_tests(name: &str) -> Result<PathBuf> {
    let build = ["test", "--workspace", "--all-features", "--release", "--lib", "--no-run"];
    let messages = process::output(workspace::cargo(&build).arg("--message-format=json-render-diagnostics"))?;
    executable(&messages, "lib", name)
}

/// What cargo says that it has made for a target.
fn executable(messages: &str, kind: &str, name: &str) -> Result<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = messages.filter_map(|message| {
        let target = &message["target"];
        let is_it =
            target["name"] == name && target["kind"].as_array().is_some_and(|kinds| kinds.contains(&kind.into()));
        message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
    });
    found.next().ok_or_else(|| format!("cargo names no executable of the target `{name}`").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_the_executable() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"gllm_models"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"gllm_models"},"executable":"/t/gllm_models-1"}
{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"worker"},"executable":"/t/worker-1"}
not json
"#;
        assert_eq!(executable(messages, "lib", "gllm_models").expect("a library"), PathBuf::from("/t/gllm_models-1"));
        assert_eq!(executable(messages, "bench", "worker").expect("a bench"), PathBuf::from("/t/worker-1"));
        assert!(executable(messages, "bench", "gllm_models").is_err());
    }
}
