//! `gllm embed`: forms, inputs, options.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{
    DIMENSIONS, Home, MAX_LENGTH, MODEL, arg, assert_golden, embed_args, golden_lines, golden_texts, many_lines,
    read_npy, vector,
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
