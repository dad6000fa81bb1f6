//! `gllm rerank`: scores, order, forms, inputs, options.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Home, MAX_LENGTH, MODEL, RERANKER, Run, arg, many_lines, read_array, read_json};

/// Largest difference from the golden scores.
const TOLERANCE: f64 = 1e-4;

fn rerank_args<'a>(query: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["rerank", "--model", RERANKER, "--device", "cpu", "--query", query], args].concat()
}

fn rerank(home: &Home, query: &str, args: &[&str]) -> Run {
    home.run(&rerank_args(query, args))
}

/// The golden pairs of query and document.
fn pairs() -> Vec<[String; 2]> {
    let pairs = read_json(&Path::new(RERANKER).join("../../pairs.json"))["pairs"].take();
    serde_json::from_value(pairs).expect("pairs of texts")
}

/// A number for each golden pair.
fn golden(file: &str) -> Vec<f64> {
    read_array(&Path::new(RERANKER).join(file), 1).into_iter().map(|row| f64::from(row[0])).collect()
}

fn results(answer: &Value) -> &Vec<Value> {
    answer["results"].as_array().expect("a list")
}

fn score(result: &Value) -> f64 {
    result["relevance_score"].as_f64().expect("a number")
}

fn indices(answer: &Value) -> Vec<u64> {
    results(answer).iter().map(|result| result["index"].as_u64().expect("a place")).collect()
}

/// Ranks all golden documents for each golden query, and holds the score of its own document against the golden one.
fn assert_golden(args: &[&str], file: &str) {
    let home = Home::new();
    let (pairs, expected) = (pairs(), golden(file));
    assert_eq!(pairs.len(), expected.len());
    let documents: Vec<_> = pairs.iter().map(|[_, document]| document.as_str()).collect();
    let args = [args, &["--json", "--"], &documents].concat();
    for (index, ([query, _], expected)) in pairs.iter().zip(expected).enumerate() {
        let answer = rerank(&home, query, &args).json();
        let results = results(&answer);
        assert_eq!(results.len(), documents.len());
        assert!(results.is_sorted_by(|a, b| score(a) >= score(b)), "pair {index}: {results:?}");
        let own = results.iter().find(|result| result["index"] == index).expect("the document");
        assert!((score(own) - expected).abs() <= TOLERANCE, "pair {index}: {} instead of {expected}", score(own));
        for result in results {
            let place = result["index"].as_u64().expect("a place") as usize;
            assert_eq!(result["document"]["text"], documents[place]);
        }
    }
}

#[test]
fn scores_are_golden_and_the_best_comes_first() {
    assert_golden(&[], "scores.npy");
}

#[test]
fn raw_scores_are_golden_logits() {
    assert_golden(&["--raw-scores"], "logits.npy");
}

#[test]
fn json_is_the_answer_of_jina() {
    let home = Home::new();
    let answer = rerank(&home, "two years", &["--json", "the man", "a state"]).json();
    let keys: Vec<_> = answer.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["model", "object", "usage", "results"]);
    assert_eq!((&answer["model"], &answer["object"]), (&json!(RERANKER), &json!("list")));
    assert!(answer["usage"]["prompt_tokens"].as_u64() > Some(0));
    assert_eq!(answer["usage"]["prompt_tokens"], answer["usage"]["total_tokens"]);
    for result in results(&answer) {
        assert_eq!(result.as_object().expect("an object").len(), 3);
        let text = ["the man", "a state"][result["index"].as_u64().expect("a place") as usize];
        assert_eq!(result["document"], json!({ "text": text }));
    }
}

#[test]
fn text_has_score_place_and_document_on_a_line_each() {
    let home = Home::new();
    let documents = ["the man", "a\r\nstate\tof \x1b[31mlife", "-1"];
    let args = [&["--"], &documents[..]].concat();
    let answer = rerank(&home, "two years", &[&["--json"], &args[..]].concat()).json();
    let run = rerank(&home, "two years", &args);
    let lines: Vec<_> = run.text().lines().collect();
    assert_eq!(lines.len(), 3);
    for (line, result) in lines.iter().zip(results(&answer)) {
        let index = result["index"].as_u64().expect("a place") as usize;
        let document = ["the man", "a  state of  [31mlife", "-1"][index];
        assert_eq!(*line, format!("{:.6}  {}  {document}", score(result), index + 1));
    }

    // It isn't a terminal, so nothing is cut.
    let long = "word ".repeat(100);
    let run = rerank(&home, "two years", &["--quiet", &long]);
    assert!(run.text().ends_with(&format!("{long}\n")));
    assert_eq!(run.stderr, "");
}

#[test]
fn top_n_is_the_start_of_the_ranking() {
    let home = Home::new();
    let lines = many_lines(1100);
    let input = home.write("documents", &lines);
    let args = ["--json", "--input", arg(&input)];
    let all = rerank(&home, "the man", &args).json();
    let mut sorted = indices(&all);
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..1100));
    for n in [1, 700, 1100, 5000] {
        let best = rerank(&home, "the man", &[&args[..], &["--top-n", &n.to_string()]].concat()).json();
        assert_eq!(results(&best)[..], results(&all)[..n.min(1100)]);
        assert_eq!(best["usage"], all["usage"], "all documents are read");
    }
    assert!(rerank(&home, "q", &["--top-n", "0", "a"]).error(2).contains("top_n"));
}

#[test]
fn documents_come_from_lines_as_from_arguments() {
    let home = Home::new();
    let arguments = rerank(&home, "life", &["--json", "the man", "", "a state"]).json();
    let lines = b"\xef\xbb\xbfthe man\r\n\na state\n".to_vec();
    let input = home.write("documents", &lines);
    assert_eq!(rerank(&home, "life", &["--json", "--input", arg(&input)]).json(), arguments);
    for args in [&["--json"][..], &["--json", "--input", "-"]] {
        assert_eq!(home.run_piped(&rerank_args("life", args), lines.clone()).json(), arguments);
    }
}

#[test]
fn long_documents_are_cut_and_reported() {
    let home = Home::new();
    let long = "the man ".repeat(100);
    let run = rerank(&home, "life", &["--json", "short", &long]);
    let answer = run.json();
    assert_eq!(answer["truncated"].as_array().map(Vec::len), Some(1));
    assert_eq!((&answer["truncated"][0]["index"], &answer["truncated"][0]["kept"]), (&json!(1), &json!(MAX_LENGTH)));
    assert!(answer.get("query_truncated").is_none());
    assert!(run.stderr.starts_with("warning: document 2 was cut from "), "{}", run.stderr);
    assert!(run.stderr.ends_with(" to 48 tokens with the query\n"), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);

    let input = home.write("documents", format!("a\nb\n{long}\n{long}\n"));
    let run = rerank(&home, "life", &["--input", arg(&input)]);
    assert_eq!(run.text().lines().count(), 4);
    assert!(run.stderr.starts_with("warning: 2 documents were cut, the first is line 3 of `"), "{}", run.stderr);

    let run = rerank(&home, &long, &["--json", "short"]);
    assert_eq!(run.json()["query_truncated"], true);
    assert!(run.stderr.contains("\nwarning: the query was cut too"), "{}", run.stderr);
    assert_eq!(rerank(&home, &long, &["--quiet", "short"]).stderr, "");

    let run = rerank(&home, "life", &["--on-long", "error", "--input", arg(&input)]);
    let message = run.error(1);
    assert!(
        message.starts_with("error: line 3 of `") && message.contains("with the query, the limit is 48"),
        "{message}"
    );
}

#[test]
fn options_reach_the_model() {
    let home = Home::new();
    let text = "a b c d e f g h i";
    let answer = rerank(&home, "a", &["--json", "--max-length", "8", "--batch-tokens", "10", "b", text]).json();
    assert_eq!((&answer["truncated"][0]["index"], &answer["truncated"][0]["kept"]), (&json!(1), &json!(8)));
    assert!(rerank(&home, "a", &["--max-length", "100", "b"]).error(2).contains("max_length"));
    assert!(rerank(&home, "a", &["--batch-tokens", "0", "b"]).error(2).contains("batch_tokens"));
}

#[test]
fn nothing_to_rank_is_code_2() {
    let home = Home::new();
    let empty = home.write("empty", "");
    for args in [&[][..], &["--json"], &["--input", arg(&empty)], &["--input", "-"]] {
        let run = rerank(&home, "life", args);
        assert!(run.error(2).contains("at least one document"), "{}", run.stderr);
        assert!(run.stdout.is_empty());
    }
    assert!(home.run(&["rerank", "--model", RERANKER, "a"]).error(2).contains("--query"));
    rerank(&home, "life", &["--input", arg(&empty), "a"]).error(2);
}

#[test]
fn models_of_the_wrong_kind_are_code_2_and_named() {
    let home = Home::new();
    let run = home.run(&["rerank", "--model", MODEL, "--device", "cpu", "-q", "q", "a"]);
    let message = run.error(2);
    assert!(message.contains(MODEL) && message.contains("a reranker"), "{message}");
    for command in [&["embed"][..], &["similarity"]] {
        let run = home.run(&[command, &["--model", RERANKER, "--device", "cpu", "a", "b"]].concat());
        let message = run.error(2);
        assert!(message.contains(RERANKER) && message.contains("an embedding model"), "{message}");
    }
}

#[test]
fn default_model_is_a_reranker_of_the_registry() {
    let home = Home::new();
    let offline = home.run(&["rerank", "--device", "cpu", "-q", "q", "a"]);
    assert!(offline.error(4).contains("offline"), "{}", offline.stderr);
    let shown = home.run(&["show", "bge-reranker-v2", "--json"]).json();
    assert_eq!(shown["model_type"], "rerank");
    assert!(offline.stderr.contains(shown["repo_id"].as_str().expect("a name")), "{}", offline.stderr);
    assert!(home.run(&["rerank", "--help"]).text().contains("[default: bge-reranker-v2]"));
    assert!(home.run(&["embed", "--help"]).text().contains("[default: all-MiniLM-L6-v2]"));
}

#[test]
fn broken_input_is_named() {
    let home = Home::new();
    let input = home.write("bad.txt", b"a\nb \xff\n");
    let run = rerank(&home, "q", &["--input", arg(&input)]);
    assert!(run.error(1).contains("line 2 of `"), "{}", run.stderr);
    assert!(run.stdout.is_empty());
    assert!(rerank(&home, "q", &["--input", arg(&home.path("none"))]).error(1).contains("none"));
}

#[test]
fn reader_that_has_seen_enough_ends_the_program_quietly() {
    let home = Home::new();
    let input = home.write("documents", [many_lines(500), b"the man ".repeat(1 << 16)].concat());
    for form in [&[][..], &["--json"]] {
        let args = [form, &["--quiet", "--input", arg(&input)]].concat();
        let mut child = home.command(&rerank_args("q", &args)).stdin(Stdio::null()).spawn().expect("gllm starts");
        let mut start = [0; 2];
        child.stdout.take().expect("a pipe").read_exact(&mut start).expect("a start");
        let ended = child.wait_with_output().expect("gllm ends");
        assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
    }
}

#[cfg(unix)]
#[test]
fn interrupted_run_is_code_130() {
    use std::process::Command;
    use std::thread::sleep;
    use std::time::Duration;

    let home = Home::new();
    let mut child = home.command(&rerank_args("q", &[])).stdin(Stdio::piped()).spawn().expect("gllm starts");
    // Standard input stays open: the program waits for documents when the signal comes.
    let stdin = child.stdin.take().expect("a pipe");
    sleep(Duration::from_millis(800));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let ended = child.wait_with_output().expect("gllm ends");
    drop(stdin);
    assert_eq!(ended.status.code(), Some(130));
    assert_eq!((ended.stdout, String::from_utf8_lossy(&ended.stderr).as_ref()), (Vec::new(), "error: interrupted\n"));
}
