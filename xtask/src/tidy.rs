//! The rules of the source tree that no other tool knows, as data and a function each.
//!
//! A rule takes the crates or the files and returns its violations, each a sentence that names the place. The rules
//! hold for what git tracks and what it would track. They run as a test, and as `cargo xtask tidy`.

mod crates;
mod files;
mod rust;

use std::path::Path;

use serde_json::Value;

use crate::{Result, process, workspace};

/// A crate of the workspace.
struct Crate {
    name: String,
    /// The content of its `Cargo.toml`.
    manifest: String,
    /// The crates that it depends on, for building, testing or running.
    dependencies: Vec<String>,
}

/// A file of the repository.
struct File {
    /// From the root, with slashes.
    path: String,
    bytes: u64,
    /// Empty for a file that isn't UTF-8.
    text: String,
}

impl File {
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|ending| ending == "rs")
    }

    /// `path`, and where the rule looks at a line, its number from 1.
    fn at(&self, line: Option<usize>) -> String {
        line.map_or_else(|| self.path.clone(), |line| format!("{}:{}", self.path, line + 1))
    }
}

/// Prints the violations; some are an error.
pub(crate) fn run() -> Result {
    let violations = violations()?;
    for violation in &violations {
        eprintln!("{violation}");
    }
    match violations.len() {
        0 => Ok(()),
        count => Err(format!("the tree isn't tidy: {count} violations").into()),
    }
}

/// What is wrong in the repository as it lies there.
fn violations() -> Result<Vec<String>> {
    let (crates, files) = (read_crates()?, read_files()?);
    let mut violations = crates::violations(&crates);
    violations.extend(files::violations(&files));
    violations.extend(rust::violations(&files));
    Ok(violations)
}

fn read_crates() -> Result<Vec<Crate>> {
    let metadata = workspace::metadata()?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    packages.iter().map(read_crate).collect()
}

fn read_crate(package: &Value) -> Result<Crate> {
    let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("cargo metadata has a name that is no text");
    let dependencies = package["dependencies"].as_array().ok_or("cargo metadata lists no dependencies")?;
    Ok(Crate {
        name: text(&package["name"])?,
        manifest: std::fs::read_to_string(text(&package["manifest_path"])?)?,
        dependencies: dependencies
            .iter()
            .map(|dependency| text(&dependency["name"]))
            .collect::<std::result::Result<_, _>>()?,
    })
}

fn read_files() -> Result<Vec<File>> {
    let mut list = process::at_root("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let paths = process::output(&mut list)?;
    // A file that was deleted and not yet committed is still listed.
    let read = |path: &str| {
        std::fs::read(workspace::root().join(path)).ok().map(|bytes| File {
            path: path.to_owned(),
            bytes: bytes.len() as u64,
            text: String::from_utf8(bytes).unwrap_or_default(),
        })
    };
    Ok(paths.split_terminator('\0').filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::File;

    #[test]
    fn the_tree_is_tidy() {
        let violations = super::violations().expect("git and cargo list the tree");
        assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
    }

    /// A file for the tests of the rules.
    pub(super) fn file(path: &str, text: &str) -> File {
        File { path: path.into(), bytes: text.len() as u64, text: text.into() }
    }

    /// Each rule must object to one thing of each case, and say `named`.
    pub(super) fn check(violations: &[String], named: &[&str]) {
        assert_eq!(violations.len(), named.len(), "{violations:#?}");
        for (violation, named) in violations.iter().zip(named) {
            assert!(violation.contains(named), "{violation} doesn't say {named}");
        }
    }
}
