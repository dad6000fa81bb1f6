//! `gllm embed`: forms, inputs, options.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{
    BGE_M3, DIMENSIONS, Home, MAX_LENGTH, MODEL, Run, SPLADE, arg, assert_golden, embed_args, golden_lines,
    golden_texts, many_lines, read_array, read_json, read_npy, vector,
};

fn jsonl_rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn json_is_the_openai_answer_with_golden_vectors() {
    let home = Home::new();
    let texts = golden_texts();
    let args: Vec<_> = ["--"].into_iter().chain(texts.iter().map(String::as_str)).collect();
    let run = home.embed(&args);
    let answer = run.json();
    assert_eq!(answer["object"], "list");
    assert_eq!(answer["model"], MODEL);
    assert_eq!(answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]);
    let items = answer["data"].as_array().expect("a list");
    for (index, item) in items.iter().enumerate() {
        assert_eq!((&item["object"], &item["index"]), (&json!("embedding"), &json!(index)));
    }
    assert_golden(&items.iter().map(vector).collect::<Vec<_>>());

    // The last golden text is longer than the model reads.
    assert_eq!(answer["truncated"][0]["index"], 11);
    assert_eq!(answer["truncated"][0]["kept"], MAX_LENGTH);
    assert!(run.stderr.starts_with("warning: text 12 was cut from "), "{}", run.stderr);
    let short = home.embed(&["--json", "a"]);
    assert!(short.json().get("truncated").is_none());
    assert_eq!(short.stderr, "");
}

#[test]
fn jsonl_and_text_have_golden_vectors_in_order() {
    let home = Home::new();
    let run = home.embed_piped(&["--format", "jsonl"], golden_lines());
    let rows = jsonl_rows(run.text());
    assert!(rows.iter().enumerate().all(|(index, row)| row["index"] == index));
    assert_golden(&rows.iter().map(vector).collect::<Vec<_>>());

    let run = home.embed_piped(&["--format", "text", "--input", "-"], golden_lines());
    let number = |text: &str| text.parse::<f32>().expect("a number");
    let vectors: Vec<Vec<_>> = run.text().lines().map(|line| line.split(' ').map(number).collect()).collect();
    assert_golden(&vectors);
}

#[test]
fn npy_has_golden_vectors_and_needs_a_file() {
    let home = Home::new();
    let (input, output) = (home.write("texts", golden_lines()), home.path("x.npy"));
    let run = home.embed(&["--format", "npy", "--input", arg(&input), "--output", arg(&output)]);
    assert_eq!(run.text(), "");
    assert_golden(&read_npy(&output));
    assert!(home.embed(&["--format", "npy", "a"]).error(2).contains("--output"));
}

#[test]
fn many_texts_come_in_the_order_of_the_lines() {
    let home = Home::new();
    let input = home.write("texts", many_lines(1300));
    let run = home.embed(&["--format", "jsonl", "--input", arg(&input)]);
    let rows = jsonl_rows(run.text());
    assert_eq!(rows.len(), 1300);
    assert!(rows.iter().enumerate().all(|(index, row)| row["index"] == index));
    let lines = fs::read_to_string(&input).expect("the input");
    for index in [0, 511, 512, 1299] {
        let one = home.embed(&["--json", lines.lines().nth(index).expect("a line")]).json();
        let (a, b) = (vector(&one["data"][0]), vector(&rows[index]));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "line {index}");
    }

    let document = home.embed(&["--input", arg(&input)]).json();
    let items = document["data"].as_array().expect("a list");
    assert!(items.len() == 1300 && items.iter().zip(&rows).all(|(item, row)| item["embedding"] == row["embedding"]));
}

#[test]
fn precision_is_that_of_the_option_then_of_the_environment() {
    let home = Home::new();
    let embed = |args: &[&str], of_environment: &str| {
        let run = home.command(&embed_args(args)).env("GLLM_PRECISION", of_environment).output().expect("a run");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let document: Value = serde_json::from_slice(&run.stdout).expect("JSON");
        vector(&document["data"][0])
    };
    let exact = embed(&["a text"], "f32");
    let narrow = embed(&["a text"], "int8");
    assert!(narrow != exact && narrow.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 0.05));
    assert_eq!(embed(&["--precision", "int8", "a text"], "f32"), narrow);
    assert_eq!(embed(&["--precision", "f32", "a text"], "int8"), exact);
    assert!(home.embed(&["--precision", "fp4", "a text"]).error(2).contains("f32, bf16 or int8"));
}

#[test]
fn lines_may_end_as_on_windows_and_empty_ones_are_texts() {
    let home = Home::new();
    let plain = home.embed_piped(&["--format", "text"], b"a\n\nthe man".to_vec());
    let windows = home.embed_piped(&["--format", "text"], b"\xef\xbb\xbfa\r\n\r\nthe man\r\n".to_vec());
    assert_eq!(plain.text().lines().count(), 3);
    assert_eq!(plain.text(), windows.text());
}

#[test]
fn options_reach_the_model() {
    let home = Home::new();
    let run = home.embed(&[
        "--json",
        "--dimensions",
        "16",
        "--batch-tokens",
        "100",
        "--max-length",
        "8",
        "a b c d e f g h i",
    ]);
    let answer = run.json();
    assert_eq!(vector(&answer["data"][0]).len(), 16);
    assert_eq!(answer["truncated"][0]["kept"], 8);
    assert!(home.embed(&["--dimensions", "100", "a"]).error(2).contains("dimensions"));
    assert!(home.embed(&["--prompt-name", "no-such-prompt", "a"]).error(2).contains("no-such-prompt"));
    let run = home.embed_piped(&["--on-long", "error"], [many_lines(600), b"the ".repeat(100)].concat());
    assert!(
        run.error(1).starts_with("error: line 601 of standard input has 102 tokens, the limit is 48"),
        "{}",
        run.stderr
    );
}

#[test]
fn existing_output_is_replaced_only_when_there_is_something_to_write() {
    let home = Home::new();
    let output = home.write("x", "precious");
    for format in ["json", "jsonl", "npy", "text"] {
        home.write("x", "precious");
        home.embed(&["--format", format, "--output", arg(&output), "--dimensions", "100", "a"]).error(2);
        assert_eq!(fs::read(&output).expect("the file"), b"precious");
        home.embed(&["--format", format, "--output", arg(&output), "a"]).text();
        assert_ne!(fs::read(&output).expect("the file"), b"precious");
    }
    let names: Vec<_> =
        fs::read_dir(home.path("")).expect("the folder").map(|e| e.expect("a file").file_name()).collect();
    assert_eq!(names, ["x"], "nothing else is left");

    assert!(home.embed(&["--input", arg(&output), "--output", arg(&output)]).error(2).contains("same file"));
    home.embed(&["--output", arg(&home.path("none/x")), "a"]).error(1);
    home.embed(&["--output", arg(&home.path("")), "a"]).error(1);
}

#[test]
fn text_of_ten_megabytes_is_cut_and_reported() {
    let home = Home::new();
    let input = home.write("texts", [b"the man ".repeat(10 << 17), b"\nlast\n".to_vec()].concat());
    let run = home.embed(&["--format", "text", "--input", arg(&input)]);
    assert_eq!(run.text().lines().count(), 2);
    assert!(run.stderr.starts_with("warning: line 1 of `") && run.stderr.contains(" to 48 tokens"), "{}", run.stderr);
    let quiet = home.embed(&["--quiet", "--format", "text", &"the ".repeat(100)]);
    assert_eq!((quiet.text().lines().count(), quiet.stderr.as_str()), (1, ""));
}

#[test]
fn reader_that_has_seen_enough_ends_the_program_quietly() {
    let home = Home::new();
    let input = home.write("texts", many_lines(5000));
    for format in ["json", "jsonl", "text"] {
        let args = ["--format", format, "--input", arg(&input)];
        let mut child = home.command(&embed_args(&args)).stdin(Stdio::null()).spawn().expect("gllm starts");
        let mut start = [0; 100];
        child.stdout.take().expect("a pipe").read_exact(&mut start).expect("a start");
        let ended = child.wait_with_output().expect("gllm ends");
        assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
    }
}

#[test]
fn numbers_read_back_as_the_same_floats() {
    let home = Home::new();
    let (input, output) = (home.write("texts", many_lines(20)), home.path("x.npy"));
    home.embed(&["--format", "npy", "--input", arg(&input), "--output", arg(&output)]).text();
    let exact = read_npy(&output);
    let run = home.embed(&["--format", "jsonl", "--input", arg(&input)]);
    let read: Vec<_> = jsonl_rows(run.text()).iter().map(vector).collect();
    assert_eq!(read, exact);
    assert_eq!(exact[0].len(), DIMENSIONS);
}

/// Largest difference from the golden numbers of vectors of other kinds.
const TOLERANCE: f32 = 1e-4;

fn embed_with(home: &Home, model: &str, args: &[&str]) -> Run {
    home.run(&[&["embed", "--model", model, "--device", "cpu"], args].concat())
}

/// The texts of the models of families.
fn family_texts() -> Vec<String> {
    let path = Path::new(SPLADE).join("../../texts.json");
    serde_json::from_value(read_json(&path)).expect("a list of texts")
}

fn assert_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= TOLERANCE), "{a:?} {b:?}");
}

/// Holds the sparse vectors of `items` against `{"token": weight, …}` for each.
fn assert_golden_sparse(items: &[Value], file: &Path) {
    let expected = read_json(file);
    assert_eq!(Some(items.len()), expected.as_array().map(Vec::len));
    for (row, (item, expected)) in items.iter().zip(expected.as_array().expect("a list")).enumerate() {
        let indices: Vec<u32> = serde_json::from_value(item["sparse"]["indices"].clone()).expect("tokens");
        let values: Vec<f32> = serde_json::from_value(item["sparse"]["values"].clone()).expect("weights");
        assert!(indices.is_sorted() && indices.len() == values.len(), "row {row}");
        let mut expected: Vec<(u32, f64)> = (expected.as_object().expect("an object").iter())
            .map(|(token, weight)| (token.parse().expect("a token"), weight.as_f64().expect("a weight")))
            .collect();
        expected.sort_by_key(|(token, _)| *token);
        let (tokens, weights): (Vec<_>, Vec<_>) =
            expected.into_iter().map(|(token, weight)| (token, weight as f32)).unzip();
        assert_eq!(indices, tokens, "row {row}");
        assert_close(&values, &weights);
    }
}

#[test]
fn bge_m3_has_golden_vectors_of_three_kinds() {
    let home = Home::new();
    let texts = family_texts();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let folder = Path::new(BGE_M3).parent().expect("a folder");
    let args = [&["--sparse", "--multi-vector", "--json", "--"], &texts[..]].concat();
    let answer = embed_with(&home, BGE_M3, &args).json();
    let items = answer["data"].as_array().expect("a list");

    let dense = read_array(&folder.join("dense.npy"), 24);
    assert_eq!(items.len(), dense.len());
    items.iter().zip(&dense).for_each(|(item, dense)| assert_close(&vector(item), dense));
    assert_golden_sparse(items, &folder.join("sparse.json"));
    for (row, item) in items.iter().enumerate() {
        let vectors: Vec<Vec<f32>> = serde_json::from_value(item["multi_vector"].clone()).expect("vectors");
        let expected = read_array(&folder.join(format!("colbert_{row:02}.npy")), 24);
        assert_eq!(vectors.len(), expected.len(), "row {row}");
        vectors.iter().zip(&expected).for_each(|(vector, expected)| assert_close(vector, expected));
    }

    // In lines, the same; and only what was asked for.
    let args = [&["--sparse", "--multi-vector", "--format", "jsonl", "--"], &texts[..]].concat();
    let rows = jsonl_rows(embed_with(&home, BGE_M3, &args).text());
    let kinds = ["embedding", "sparse", "multi_vector"];
    assert!(rows.iter().zip(items).all(|(row, item)| kinds.iter().all(|kind| row[kind] == item[kind])));
    for (flag, absent) in [("--sparse", "multi_vector"), ("--multi-vector", "sparse")] {
        let answer = embed_with(&home, BGE_M3, &[flag, "a"]).json();
        assert!(answer["data"][0].get(absent).is_none() && vector(&answer["data"][0]).len() == 24);
    }
    let plain = embed_with(&home, BGE_M3, &["--format", "jsonl", "a"]);
    assert!(plain.text().starts_with(r#"{"index":0,"embedding":["#) && !plain.text().contains("sparse"));
}

#[test]
fn splade_has_golden_sparse_vectors_and_no_embedding() {
    let home = Home::new();
    let texts = family_texts();
    let args: Vec<_> = ["--sparse", "--json", "--"].into_iter().chain(texts.iter().map(String::as_str)).collect();
    let answer = embed_with(&home, SPLADE, &args).json();
    let items = answer["data"].as_array().expect("a list");
    assert!(items.iter().all(|item| item.get("embedding").is_none()));
    assert_golden_sparse(items, &Path::new(SPLADE).join("sparse.json"));

    let line = embed_with(&home, SPLADE, &["--sparse", "--format", "jsonl", "the man"]);
    assert!(line.text().starts_with(r#"{"index":0,"sparse":{"indices":["#), "{}", line.text());
    assert!(embed_with(&home, SPLADE, &["a"]).error(2).contains("--sparse"));
    let run = home.run(&["similarity", "--model", SPLADE, "--device", "cpu", "a", "b"]);
    assert!(run.error(2).contains("only sparse vectors"), "{}", run.stderr);
}

#[test]
fn text_sums_up_vectors_of_several_kinds() {
    let home = Home::new();
    let run = embed_with(&home, BGE_M3, &["--sparse", "--multi-vector", "--format", "text", "the man", ""]);
    let lines: Vec<_> = run.text().lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("dense 24 [") && lines[0].contains("  sparse "), "{}", lines[0]);
    assert!(lines[0].contains("  multi-vector ") && lines[0].ends_with(" x 24"), "{}", lines[0]);
    let run = embed_with(&home, SPLADE, &["--sparse", "--format", "text", "the man"]);
    assert!(run.text().starts_with("sparse "), "{}", run.text());
}

#[test]
fn vectors_that_a_form_or_a_model_does_not_have_are_refused() {
    let home = Home::new();
    let output = home.write("x", "precious");
    for flag in ["--sparse", "--multi-vector"] {
        let run = embed_with(&home, BGE_M3, &["--format", "npy", "--output", arg(&output), flag, "a"]);
        assert!(run.error(2).contains("--format json or jsonl"), "{}", run.stderr);
        let run = embed_with(&home, BGE_M3, &["--format", "text", "--resume", "--output", arg(&output), flag, "a"]);
        assert!(run.error(2).contains("--format jsonl"), "{}", run.stderr);
        let run = home.embed(&["--output", arg(&output), flag, "a"]);
        assert!(run.error(2).contains(&flag[2..].replace('-', "_")), "{}", run.stderr);
    }
    embed_with(&home, SPLADE, &["--sparse", "--dimensions", "4", "--output", arg(&output), "a"]).error(2);
    assert_eq!(fs::read(&output).expect("the file"), b"precious");
}
