//! `gllm quantize`.

use crate::harness::{Home, MODEL};

#[test]
fn json_says_what_was_written() {
    let home = Home::new();
    let out = home.path("out.gguf");
    let out = out.to_str().expect("a path of UTF-8");
    let answer = home.run(&["quantize", MODEL, out, "--type", "q8_0", "--json"]).json();
    assert_eq!((&answer["type"], &answer["tensors"]), (&"Q8_0".into(), &37.into()));
    assert_eq!(answer["bytes"], std::fs::metadata(out).expect("a file").len());
    // Rows of 48 aren't whole blocks, rows of 96 are.
    let types: Vec<_> = answer["types"].as_array().expect("a list").iter().map(|total| &total["type"]).collect();
    assert_eq!(types, ["F16", "F32", "Q8_0"]);
}

#[test]
fn a_file_is_replaced_only_by_force() {
    let home = Home::new();
    let out = home.write("out.gguf", "before");
    let args = ["quantize", MODEL, out.to_str().expect("a path of UTF-8"), "--type", "F16"];
    let refused = home.run(&args);
    assert!(refused.error(2).contains("--force"), "{}", refused.stderr);
    assert_eq!(std::fs::read(&out).expect("a file"), b"before");
    let run = home.run(&[&args[..], &["--force"]].concat());
    assert!(run.code == Some(0) && run.stderr.contains("of F16"), "{}", run.stderr);
    assert!(std::fs::read(&out).expect("a file").starts_with(b"GGUF"));
}

#[test]
fn an_unknown_type_is_named_with_those_there_are() {
    let home = Home::new();
    let run = home.run(&["quantize", MODEL, "out.gguf", "--type", "Q9"]);
    let error = run.error(2);
    assert!(error.contains("Q9") && error.contains("Q4_K_M"), "{error}");
}
