//! Rules of files, whatever is in them: their names, their size, and no addresses of package registries.

use super::File;

/// Names that say nothing of what a file is for, and `mod.rs`, of which every editor would show a dozen.
const NAMES: [&str; 5] = ["mod.rs", "utils.rs", "helpers.rs", "common.rs", "manager.rs"];

const MAX_BYTES: u64 = 1_000_000;

/// Which registry is asked is a matter of each machine's set-up.
const REGISTRIES: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("deb.debian", ".org"),
];

pub(super) fn violations(files: &[File]) -> Vec<String> {
    [names(files), sizes(files), registries(files)].concat()
}

fn names(files: &[File]) -> Vec<String> {
    let named = files.iter().filter(|file| NAMES.contains(&file.name()));
    named.map(|file| format!("{}: name it after what it does", file.path)).collect()
}

fn sizes(files: &[File]) -> Vec<String> {
    let large = files.iter().filter(|file| file.bytes > MAX_BYTES);
    large.map(|file| format!("{}: {} bytes, at most {MAX_BYTES}", file.path, file.bytes)).collect()
}

fn registries(files: &[File]) -> Vec<String> {
    let mut violations = Vec::new();
    // Cargo writes the lock file, and each package's source into it.
    for file in files.iter().filter(|file| file.name() != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(host) = REGISTRIES.iter().find(|host| line.contains(**host)) {
                violations.push(format!("{}: names the registry {host}", file.at(Some(number))));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, file};
    use super::*;

    #[test]
    fn names_say_something() {
        let files = [file("a/mod.rs", ""), file("a/utils.rs", ""), file("a/batch.rs", ""), file("common.rs", "")];
        check(&names(&files), &["a/mod.rs", "a/utils.rs", "common.rs"]);
    }

    #[test]
    fn files_are_small() {
        let mut files = [file("small", ""), file("large", "")];
        files[1].bytes = MAX_BYTES + 1;
        check(&sizes(&files), &["large: 1000001 bytes"]);
    }

    #[test]
    fn no_registry_is_named_but_by_cargo() {
        let text = format!("one\nsee {}\n", REGISTRIES[0]);
        let files = [file("README.md", &text), file("Cargo.lock", &text)];
        check(&registries(&files), &["README.md:2: names"]);
    }
}
