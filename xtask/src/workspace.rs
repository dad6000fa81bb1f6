//! Where the repository is, and what cargo says of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Result, process};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    // At run time if cargo started this: the build may come from a target folder that several clones share.
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let xtask = PathBuf::from(xtask);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_owned)
}

/// The cargo that started this, at the root of the repository.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = process::at_root(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo said of the package `xtask`: build scripts that watch these variables (that of ring does) would run
    // again whenever a person and a task build in turn.
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.args(args);
    command
}

/// `cargo metadata` of the workspace's own crates.
pub(crate) fn metadata() -> Result<Value> {
    let json = process::output(&mut cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    Ok(serde_json::from_str(&json)?)
}

/// Cargo's target folder.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = metadata()?;
    let folder = metadata["target_directory"].as_str().ok_or("cargo metadata names no target folder")?;
    Ok(folder.into())
}
