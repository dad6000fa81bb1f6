//! `gllm inspect` on files of each format that other programs wrote.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{BGE_M3, Home, MODEL, arg};

fn golden(name: &str) -> PathBuf {
    Path::new("../../tests/golden").join(name)
}

fn inspect(name: &str) -> Value {
    Home::new().run(&["inspect", arg(&golden(name)), "--json"]).json()
}

fn expected_gguf(name: &str) -> Value {
    let text = fs::read_to_string(golden("gguf/expected.json")).expect("readable");
    serde_json::from_str::<Value>(&text).expect("JSON")[name].take()
}

#[test]
fn gguf_is_shown_whole_in_json() {
    for name in ["little.gguf", "big.gguf"] {
        let report = inspect(&format!("gguf/{name}"));
        let expected = expected_gguf(name);
        let [file] = report["files"].as_array().expect("a list").as_slice() else { panic!("one file") };
        assert_eq!((&file["format"], &file["version"], &file["alignment"]), (&json!("GGUF"), &json!(3), &json!(32)));
        let order = if name == "big.gguf" { "big-endian" } else { "little-endian" };
        assert_eq!(file["byte_order"], order);
        assert_eq!(file["bytes"], fs::metadata(golden("gguf").join(name)).expect("a file").len());

        let entries = file["metadata"].as_array().expect("a list");
        assert_eq!(entries.len(), expected["metadata"].as_object().expect("an object").len());
        assert_eq!(entries[0], json!({"key": "general.architecture", "type": "STRING", "value": "tiny"}));
        for entry in entries {
            let expected = &expected["metadata"][entry["key"].as_str().expect("a key")];
            assert_eq!(entry["type"], expected["type"], "{entry}");
            // The bits of floats are compared where the file is read.
            if !entry["type"].as_str().expect("a type").starts_with("FLOAT") {
                let value = if entry["value"].is_array() { "array" } else { "value" };
                assert_eq!(entry["value"], expected[value], "{entry}");
            }
        }
        let tensors = file["tensors"].as_array().expect("a list");
        assert_eq!(tensors.len(), expected["tensors"].as_object().expect("an object").len());
        for tensor in tensors {
            let expected = &expected["tensors"][tensor["name"].as_str().expect("a name")];
            assert_eq!((&tensor["type"], &tensor["shape"]), (&expected["type"], &expected["shape"]), "{tensor}");
            let bytes = expected["bytes"].as_str().expect("hex digits").len() / 2;
            assert_eq!(tensor["bytes"], bytes, "{tensor}");
        }
    }
}

#[test]
fn gguf_is_shown_short_in_text() {
    let run = Home::new().run(&["inspect", arg(&golden("gguf/little.gguf"))]);
    let text = run.text();
    assert!(text.contains("\nformat  GGUF 3, little-endian, aligned to 32 bytes\n"), "{text}");
    let row = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {text}"));
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("scalar.uint64.1 "), "scalar.uint64.1 UINT64 18446744073709551615");
    // A string is whole, and its control characters are escaped.
    assert_eq!(row("scalar.string.2 "), r#"scalar.string.2 STRING "Straße 猫 🐈\n\0""#);
    assert_eq!(row("scalar.string.3 "), format!("scalar.string.3 STRING \"{}\"", "x".repeat(300)));
    assert_eq!(row("array.int8.2 "), "array.int8.2 INT8[2] [-128,127]");
    let list = row("array.string.4 ");
    assert!(list.starts_with("array.string.4 STRING[4] [\"\",\"plain\",") && list.ends_with('…'), "{list}");
    assert_eq!(row("bf16 "), "bf16 BF16 2 x 1 x 3 x 2 24");
    assert_eq!(row("F64 "), "F64 1 12 96 B");
    // 6 F32, 5 F16, 12 F64, 12 BF16, and 7 integers of each width.
    assert_eq!(row("total "), "total 8 63 259 B");
}

#[test]
fn all_shards_are_shown() {
    let folder = Home::new();
    for number in 1..=3 {
        let name = format!("sharded-0000{number}-of-00003.gguf");
        fs::copy(golden("gguf").join(&name), folder.path(&name)).expect("a copy");
    }
    let shard = folder.path("sharded-00002-of-00003.gguf");
    for path in [folder.path(""), shard] {
        let report = folder.run(&["inspect", arg(&path), "--json"]).json();
        assert_eq!(report["files"].as_array().map(Vec::len), Some(3));
        assert_eq!(report["total"], json!({"tensors": 5, "elements": 20, "bytes": 80}));
        assert_eq!(report["types"], json!([{"type": "F32", "tensors": 5, "elements": 20, "bytes": 80}]));
    }
}

#[test]
fn safetensors_are_shown_with_their_texts() {
    let report = Home::new().run(&["inspect", MODEL, "--json"]).json();
    let [file] = report["files"].as_array().expect("a list").as_slice() else { panic!("one file") };
    assert_eq!((&file["format"], file.get("version")), (&json!("safetensors"), None));
    assert_eq!(file["metadata"], json!([{"key": "format", "type": "STRING", "value": "pt"}]));
    let name = "embeddings.word_embeddings.weight";
    let tensors = file["tensors"].as_array().expect("a list");
    let words = tensors.iter().find(|tensor| tensor["name"] == name).expect("word embeddings");
    assert_eq!((&words["type"], &words["shape"][1]), (&json!("F32"), &json!(48)));

    let path = Path::new(MODEL).join("model.safetensors");
    let run = Home::new().run(&["inspect", arg(&path)]);
    assert!(run.text().contains("\nformat  safetensors\n") && run.text().contains(name), "{}", run.text());
}

#[test]
fn checkpoints_are_shown() {
    let report = inspect("pytorch/types.bin");
    let file = &report["files"][0];
    assert_eq!((&file["format"], &file["metadata"]), (&json!("PyTorch"), &json!([])));
    let expected = json!({"name": "BF16", "type": "BF16", "shape": [2, 3], "bytes": 12});
    assert!(file["tensors"].as_array().expect("a list").contains(&expected), "{file}");
    let report = Home::new().run(&["inspect", BGE_M3, "--json"]).json();
    assert_eq!(report["files"][0]["format"], "PyTorch");
}

#[test]
fn what_steers_a_terminal_is_not_shown() {
    let home = Home::new();
    let header =
        r#"{"__metadata__":{"a\u001b[31m":"b\u009b1m"},"t\u001b[2J":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), b"\0"].concat();
    let run = home.run(&["inspect", arg(&home.write("model.safetensors", bytes))]);
    assert!(run.text().contains("t [2J") && run.text().contains(r#""b\u{9b}1m""#), "{}", run.text());
    assert!(!run.text().contains(['\u{1b}', '\u{9b}']));
}

#[test]
fn what_is_not_weights_is_an_error_that_names_it() {
    let home = Home::new();
    let path = home.write("weights", "not weights at all");
    assert!(home.run(&["inspect", arg(&path)]).error(1).contains("weights"));
    assert!(home.run(&["inspect", arg(&home.path("none"))]).error(1).contains("none"));
    home.run(&["inspect", arg(&home.path(""))]).error(1);
    home.run(&["inspect"]).error(2);
    let cut = fs::read(golden("gguf/little.gguf")).expect("readable");
    let path = home.write("cut.gguf", &cut[..cut.len() - 100]);
    assert!(home.run(&["inspect", arg(&path)]).error(1).contains("bytes are missing"));
}
