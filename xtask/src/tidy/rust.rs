//! Rules of Rust sources: what they open with, how long they are, and where `unsafe` may be.

use super::File;

const MAX_LINES: usize = 600;

/// What the paths of files with `unsafe` code start with.
const UNSAFE_ALLOWED: [&str; 6] = [
    "crates/gllm-quant/src/huge_pages.rs",
    "crates/gllm-quant/src/mapped.rs",
    "crates/gllm-quant/src/kernels",
    "crates/gllm-quant/src/matmul/product.rs",
    "crates/gllm-quant/benches/matmul/limits.rs",
    "crates/gllm-models/src/ops/cpu",
];

/// What follows the word `unsafe` in code; elsewhere it is prose.
const AFTER_UNSAFE: [&str; 6] = [" {", " fn ", " impl", " trait ", " extern ", "("];

pub(super) fn violations(files: &[File]) -> Vec<String> {
    let sources: Vec<_> = files.iter().filter(|file| file.is_rust()).collect();
    [headers(&sources), lengths(&sources), unsafe_code(&sources)].concat()
}

fn headers(sources: &[&File]) -> Vec<String> {
    let in_src = |file: &&&File| file.path.split('/').any(|part| part == "src");
    // The facade opens with the README.
    let opens = |text: &str| text.starts_with("//!") || text.starts_with("#![doc = ");
    let without = sources.iter().filter(in_src).filter(|file| !opens(&file.text));
    without.map(|file| format!("{}: open with `//!` and what the file is", file.path)).collect()
}

fn lengths(sources: &[&File]) -> Vec<String> {
    let lines = sources.iter().map(|file| (file, file.text.lines().count())).filter(|(_, lines)| *lines > MAX_LINES);
    lines.map(|(file, lines)| format!("{}: {lines} lines, at most {MAX_LINES}", file.path)).collect()
}

fn unsafe_code(sources: &[&File]) -> Vec<String> {
    let mut violations = Vec::new();
    for file in sources.iter().filter(|file| !UNSAFE_ALLOWED.iter().any(|allowed| file.path.starts_with(allowed))) {
        for (number, line) in file.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if is_unsafe(code) {
                violations.push(format!("{}: `unsafe` doesn't belong here", file.at(Some(number))));
            }
        }
    }
    violations
}

fn is_unsafe(code: &str) -> bool {
    code.match_indices("unsafe").any(|(start, word)| {
        let (before, after) = (&code[..start], &code[start + word.len()..]);
        !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')
            && AFTER_UNSAFE.iter().any(|next| after.starts_with(next))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check, file};
    use super::*;

    #[test]
    fn sources_say_what_they_are() {
        let files = [file("a/src/x.rs", "use std;"), file("a/src/y.rs", "//! Y."), file("a/tests/z.rs", "")];
        check(&headers(&files.each_ref()), &["a/src/x.rs"]);
    }

    #[test]
    fn sources_are_short() {
        let files = [file("a.rs", &"\n".repeat(MAX_LINES)), file("b.rs", &"\n".repeat(MAX_LINES + 1))];
        check(&lengths(&files.each_ref()), &["b.rs: 601 lines"]);
    }

    #[test]
    fn unsafe_is_for_mapping_and_kernels() {
        let word = "unsafe";
        let prose = format!("// {word} {{}}\n\"an {word} name\"\nallow({word}_code)\nfn is_{word}() {{}}\n");
        let code = format!("{prose}let x = {word} {{ y }};\n");
        let files = [file("crates/gllm-quant/src/mapped.rs", &code), file("crates/gllm-hub/src/http.rs", &code)];
        check(&unsafe_code(&files.each_ref()), &["http.rs:5"]);
    }
}
