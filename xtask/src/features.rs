//! The library must compile with each of its features alone, and with none.

use crate::{Result, process, workspace};

const FEATURES: [Option<&str>; 5] = [None, Some("cpu"), Some("ndarray"), Some("wgpu"), Some("async")];

/// Checks the facade once for each feature.
pub(crate) fn run() -> Result {
    for feature in FEATURES {
        eprintln!("== {}", feature.unwrap_or("no feature"));
        let mut check = workspace::cargo(&["check", "--package", "gllm", "--no-default-features", "--release"]);
        process::run(check.args(feature.map(|name| format!("--features={name}"))))?;
    }
    Ok(())
}
