//! `gllm generate`: prompts, forms, options.

use std::io::Read;

use serde_json::Value;

use crate::harness::{Home, WRITER, arg, generate_args};

/// The keys of a JSON object.
fn keys(object: &Value) -> Vec<&str> {
    object.as_object().expect("an object").keys().map(String::as_str).collect()
}

fn text(document: &Value) -> &str {
    document["text"].as_str().expect("a text")
}

fn prompt_tokens(document: &Value) -> u64 {
    document["usage"]["prompt_tokens"].as_u64().expect("a number")
}

#[test]
fn text_is_the_same_each_time_and_nothing_is_said_beside_it() {
    let home = Home::new();
    let args = ["--prompt", "the man", "--max-tokens", "40"];
    let run = home.generate(&args);
    assert!(run.text().len() > 40 && !run.text().ends_with('\n'), "{}", run.text());
    assert_eq!(run.stderr, "");
    assert_eq!(home.generate(&args).text(), run.text());
    let document = home.generate(&[&args[..], &["--json"]].concat()).json();
    assert_eq!(text(&document), run.text());
}

#[test]
fn json_has_the_text_its_tokens_and_how_it_came_about() {
    let home = Home::new();
    let document = home.generate(&["-p", "the man", "--max-tokens", "12", "--json"]).json();
    assert_eq!(keys(&document), ["text", "tokens", "finish_reason", "usage", "timings"]);
    assert_eq!(document["tokens"].as_array().expect("a list").len(), 12);
    assert_eq!(document["finish_reason"], "length");
    let usage = &document["usage"];
    assert_eq!(keys(usage), ["prompt_tokens", "completion_tokens", "total_tokens"]);
    assert_eq!(usage["completion_tokens"], 12);
    assert_eq!(usage["total_tokens"], prompt_tokens(&document) + 12);
    let timings = &document["timings"];
    let names = ["first_token_ms", "decode_ms", "cached_tokens", "prompt_tokens_per_second", "tokens_per_second"];
    assert_eq!(keys(timings), names);
    assert_eq!(timings["cached_tokens"], 0);
    for name in ["first_token_ms", "decode_ms", "prompt_tokens_per_second", "tokens_per_second"] {
        assert!(timings[name].as_f64().expect("a number") > 0.0, "{timings}");
    }
    // Of a single token there is no rate.
    let document = home.generate(&["-p", "the man", "--max-tokens", "1", "--json"]).json();
    assert_eq!(document["timings"]["tokens_per_second"], Value::Null);
}

#[test]
fn logprobs_are_of_each_token_and_of_the_most_likely_ones() {
    let home = Home::new();
    let args = ["-p", "the man", "--max-tokens", "9", "--json", "--logprobs"];
    let document = home.generate(&[&args[..], &["3"]].concat()).json();
    let logprobs = document["logprobs"].as_array().expect("a list");
    assert_eq!(logprobs.len(), 9);
    let mut text_of_tokens = String::new();
    for (token, id) in logprobs.iter().zip(document["tokens"].as_array().expect("a list")) {
        assert_eq!(keys(token), ["id", "token", "logprob", "top"]);
        assert_eq!(&token["id"], id);
        text_of_tokens.push_str(token["token"].as_str().expect("a text"));
        let top = token["top"].as_array().expect("a list");
        let values: Vec<_> = top.iter().map(|token| token["logprob"].as_f64().expect("a number")).collect();
        assert!(values.len() == 3 && values.is_sorted_by(|a, b| a >= b) && values[0] < 0.0, "{values:?}");
        // The most likely token was taken.
        assert_eq!((&top[0]["id"], &top[0]["logprob"]), (&token["id"], &token["logprob"]));
    }
    assert_eq!(text_of_tokens, text(&document));
    let document = home.generate(&[&args[..], &["0"]].concat()).json();
    assert_eq!(document["logprobs"][0]["top"], Value::Array(Vec::new()));
}

#[test]
fn template_wraps_the_prompt_unless_it_is_raw() {
    let home = Home::new();
    let talker = home.talker(100);
    let document = |args: &[&str]| {
        let args = [&["-p", "the man", "--max-tokens", "8", "--json", "--temperature", "0"], args].concat();
        home.run(&generate_args(&talker, &args)).json()
    };
    let [raw, wrapped] = [document(&["--raw"]), document(&[])];
    let with_system = document(&["--system", "the sea"]);
    assert!(prompt_tokens(&raw) < prompt_tokens(&wrapped) && prompt_tokens(&wrapped) < prompt_tokens(&with_system));
    assert_ne!(text(&raw), text(&wrapped));
    let args = ["-p", "user: the man\n", "--max-tokens", "8", "--json", "--temperature", "0", "--raw"];
    let by_hand = home.run(&generate_args(&talker, &args)).json();
    assert_eq!((&by_hand["tokens"], &by_hand["usage"]), (&wrapped["tokens"], &wrapped["usage"]));
}

#[test]
fn stop_string_ends_the_text_before_it() {
    let home = Home::new();
    let whole = home.generate(&["-p", "the man", "--max-tokens", "40"]);
    let (before, _) = whole.text().split_once(" thef").expect("the text has it");
    let args = ["-p", "the man", "--max-tokens", "40", "--stop", "no such text", "--stop", " thef"];
    assert_eq!(home.generate(&args).text(), before);
    let document = home.generate(&[&args[..], &["--json"]].concat()).json();
    assert_eq!((text(&document), &document["finish_reason"]), (before, &"stop".into()));
}

#[test]
fn seed_gives_the_same_text_again() {
    let home = Home::new();
    let with_seed = |seed: &str| {
        let args = ["-p", "the man", "--max-tokens", "40", "--temperature", "1.5", "--top-k", "50", "--seed", seed];
        home.generate(&args).text().to_owned()
    };
    assert_eq!(with_seed("1"), with_seed("1"));
    assert_ne!(with_seed("1"), with_seed("2"));
    let greedy = home.generate(&["-p", "the man", "--max-tokens", "40"]);
    let args = ["-p", "the man", "--max-tokens", "40", "--temperature", "1.5", "--top-k", "1"];
    assert_eq!(home.generate(&args).text(), greedy.text(), "one to choose among");
    let args = ["-p", "the man", "--max-tokens", "40", "--frequency-penalty", "2", "--presence-penalty", "-2"];
    assert_ne!(home.generate(&args).text(), greedy.text());
}

#[test]
fn prompt_is_an_argument_or_a_file_or_piped_in() {
    let home = Home::new();
    let args = |more: &[&'static str]| generate_args(WRITER, &[&["--max-tokens", "30"], more].concat());
    let expected = home.run(&args(&["-p", "the man\nbe"]));
    let file = home.write("prompt.txt", "\u{feff}the man\nbe\r\n");
    let from_file = [&args(&[])[..], &["--input", arg(&file)]].concat();
    assert_eq!(home.run(&from_file).text(), expected.text());
    for more in [&[][..], &["-p", "-"], &["--input", "-"]] {
        let piped = home.run_piped(&args(more), b"the man\nbe\n".to_vec());
        assert_eq!(piped.text(), expected.text(), "{more:?}");
    }
    assert_ne!(home.run_piped(&args(&[]), b"the man".to_vec()).text(), expected.text());
}

#[test]
fn text_keeps_to_a_schema_or_an_expression() {
    let home = Home::new();
    let talker = home.talker(100);
    let schema = home.write("schema.json", r#"{"enum": ["yes", "no", 12]}"#);
    let run = home.run(&generate_args(&talker, &["-p", "the man", "--schema", arg(&schema)]));
    let value: Value = serde_json::from_str(run.text()).expect("JSON");
    assert!(["\"yes\"", "\"no\"", "12"].contains(&value.to_string().as_str()), "{value}");
    let run = home.run(&generate_args(&talker, &["-p", "the man", "--regex", "[ab]{3}c"]));
    let text = run.text();
    assert!(text.len() == 4 && text.ends_with('c') && text[..3].bytes().all(|b| b == b'a' || b == b'b'), "{text}");
}

#[test]
fn reader_that_has_seen_enough_ends_the_text_quietly() {
    let home = Home::new();
    let talker = home.talker(100_000);
    let mut child = home.command(&generate_args(&talker, &["-p", "the man"])).spawn().expect("gllm starts");
    let mut start = [0; 20];
    child.stdout.take().expect("a pipe").read_exact(&mut start).expect("a start");
    let ended = child.wait_with_output().expect("gllm ends");
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
}

#[cfg(unix)]
#[test]
fn interrupted_text_stays_as_far_as_it_is() {
    use std::process::Command;

    let home = Home::new();
    let talker = home.talker(100_000);
    let mut child = home.command(&generate_args(&talker, &["-p", "the man"])).spawn().expect("gllm starts");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut start = [0; 20];
    // The text is being written.
    stdout.read_exact(&mut start).expect("a start");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).expect("the rest");
    let ended = child.wait_with_output().expect("gllm ends");
    assert_eq!(
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr)),
        (Some(130), "error: interrupted\n".into())
    );
    let shown = String::from_utf8([&start[..], &rest].concat()).expect("whole characters");
    assert!(shown.len() < 100_000, "{}", shown.len());
}

#[test]
fn help_says_the_model_that_writes() {
    let home = Home::new();
    for command in ["generate", "chat"] {
        assert!(home.run(&[command, "--help"]).text().contains("[default: qwen2.5-coder-0.5b-instruct]"));
    }
}
