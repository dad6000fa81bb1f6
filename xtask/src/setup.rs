//! What the steps of CI need on the machine, beyond Rust: a Vulkan driver in software, and two checkers.
//!
//! Invariant: a developer's machine is never changed. Where `CI` isn't set, what is missing is named, with the way to
//! get it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, process, workspace};

/// Where Vulkan looks for drivers.
const DRIVERS: [&str; 2] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

const DRIVER_PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// Versions and hashes of the checkers.
const TOOLS: &str = ".ci/tools.txt";

/// Whether this runs in CI: `CI` is set, and not to `false`; as `gllm_tests::is_ci` says.
pub(crate) fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false")
}

/// Sees to it that the GPU tests have a device: without a GPU that is lavapipe, Vulkan in software.
pub(crate) fn vulkan() -> Result {
    if DRIVERS.iter().any(|folder| has_lavapipe(Path::new(folder))) {
        return Ok(());
    }
    let is_debian = Path::new("/etc/debian_version").exists();
    if is_ci() && is_debian && is_root() {
        process::run(&mut apt_get(&["update", "-qq"]))?;
        let mut install = apt_get(&["install", "-qq", "-y", "--no-install-recommends"]);
        return process::run(install.args(DRIVER_PACKAGES));
    }
    let packages = DRIVER_PACKAGES.join(" ");
    eprintln!("No software Vulkan here: the tests that need it skip themselves.");
    eprintln!("On Debian and Ubuntu, `apt-get install {packages}` brings it; elsewhere, look for Mesa's lavapipe.");
    Ok(())
}

fn has_lavapipe(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).ok().into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("lvp_icd"))
}

fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn apt_get(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// The checker `program`, from the `PATH` or, in CI, from pip; `None` if it isn't to be had.
pub(crate) fn tool(program: &str) -> Result<Option<PathBuf>> {
    if process::succeeds(Command::new(program).arg("--version")) {
        return Ok(Some(program.into()));
    }
    if !is_ci() {
        return Ok(None);
    }
    let folder = workspace::target()?.join("tools");
    install_tools(&folder)?;
    let path = folder.join("bin").join(program);
    Ok(path.exists().then_some(path))
}

/// Puts the checkers into `folder`, unless those that the list names are there.
fn install_tools(folder: &Path) -> Result {
    let list = std::fs::read(workspace::root().join(TOOLS))?;
    let installed = folder.join("installed.txt");
    if std::fs::read(&installed).is_ok_and(|installed| installed == list) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let mut pip = process::at_root("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action", "ignore"]);
    pip.args(["--no-deps", "--require-hashes", "--requirement", TOOLS, "--target"]).arg(folder);
    process::run(&mut pip)?;
    Ok(std::fs::write(installed, list)?)
}
