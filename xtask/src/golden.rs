//! The golden data of the tests, made again by the Python programs that lie beside it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, process, workspace};

/// Makes a virtual environment with `python`, and with it the data: of the random models, and of the one in `minilm`.
pub(crate) fn run(python: &Path, minilm: Option<&Path>) -> Result {
    let venv = workspace::target()?.join("golden-venv");
    process::run(Command::new(python).args(["-m", "venv"]).arg(&venv))?;
    let python = venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let run = |args: &[&str], folder: Option<&Path>| {
        process::run(process::at_root(&python).args(args).args(folder).env("HF_HUB_OFFLINE", "1"))
    };
    run(&["-m", "pip", "install", "--requirement", "tests/golden/requirements.txt"], None)?;
    run(&["tests/golden/bert.py"], None)?;
    for script in scripts(&workspace::root().join("tests/golden"))? {
        run(&[], Some(&script))?;
    }
    let Some(folder) = minilm else {
        eprintln!("skipped: tests/golden/minilm.py wants the model; name its folder with --minilm");
        return Ok(());
    };
    run(&["tests/golden/minilm.py"], Some(&std::path::absolute(folder)?))
}

/// Every `make.py` below `folder`: each writes the data beside it.
fn scripts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(scripts(&path)?);
        } else if path.ends_with("make.py") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
