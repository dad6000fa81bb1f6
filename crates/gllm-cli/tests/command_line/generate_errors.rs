//! What goes wrong with `gllm generate` and `gllm chat`, and the code and words for it.

use crate::harness::{Home, MODEL, WRITER, arg, generate_args};

/// The folder of a decoder without a tokenizer.
const NO_TOKENIZER: &str = "../../tests/golden/decoders/qwen2";

#[test]
fn options_out_of_range_are_named_before_a_model_is_fetched() {
    let home = Home::new();
    for (option, value, named) in [
        ("--temperature", "nan", "temperature"),
        ("--temperature", "-1", "temperature"),
        ("--max-tokens", "0", "--max-tokens"),
        ("--top-p", "2", "top_p"),
        ("--top-p", "0", "top_p"),
        ("--min-p", "-0.5", "min_p"),
        ("--repetition-penalty", "0", "repetition_penalty"),
        ("--frequency-penalty", "-3", "frequency_penalty"),
        ("--presence-penalty", "inf", "presence_penalty"),
    ] {
        for command in [&["generate", "-p", "a"][..], &["chat"]] {
            let run = home.run(&[command, &["--model", "none/such", option, value]].concat());
            assert!(run.error(2).contains(named), "{option} {value}: {}", run.stderr);
        }
    }
    assert!(home.generate(&["-p", "a", "--stop", ""]).error(2).contains("stop"));
    let run = home.generate(&["-p", "a", "--json", "--logprobs", "65"]);
    assert!(run.error(2).contains("at most 64"), "{}", run.stderr);
}

#[test]
fn arguments_that_do_not_go_together_are_code_2() {
    let home = Home::new();
    for args in [
        &["-p", "a", "--input", "x"][..],
        &["-p", "a", "--raw", "--system", "x"],
        &["-p", "a", "--regex", "x", "--schema", "y"],
        &["-p", "a", "--logprobs", "1"],
        &["a"],
    ] {
        assert_eq!(home.generate(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn prompt_without_text_is_refused() {
    let home = Home::new();
    for prompt in ["", "<|im_start|><|im_end|>"] {
        let run = home.generate(&["-p", prompt]);
        assert!(run.error(2).contains("some text"), "{}", run.stderr);
    }
    // Standard input is there, and empty.
    home.generate(&[]).error(2);
}

#[test]
fn prompt_that_is_no_text_or_not_there_is_named() {
    let home = Home::new();
    let input = home.write("bad.txt", b"a\nb \xff");
    let run = home.generate(&["--input", arg(&input)]);
    assert!(run.error(1).contains("bad.txt` is not valid UTF-8 at byte 5"), "{}", run.stderr);
    assert!(home.generate(&["--input", arg(&home.path("none.txt"))]).error(1).contains("none.txt"));
}

#[test]
fn prompt_that_fills_the_context_is_counted() {
    let home = Home::new();
    let run = home.generate(&["-p", &"the ".repeat(200)]);
    let message = run.error(1);
    assert!(message.contains("tokens, but the context holds 128"), "{message}");
    assert!(run.stdout.is_empty());
}

#[test]
fn text_that_fills_the_context_is_said_to_be_cut() {
    let home = Home::new();
    let talker = home.talker(30);
    let run = home.run(&generate_args(&talker, &["-p", "the man"]));
    assert!(!run.text().is_empty() && run.stderr.starts_with("warning: the text is cut"), "{}", run.stderr);
    let run = home.run(&generate_args(&talker, &["-p", "the man", "--max-tokens", "3"]));
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

#[test]
fn schema_that_is_malformed_or_cannot_be_fulfilled_is_refused() {
    let home = Home::new();
    let generate = |name: &str, schema: &str| {
        let schema = home.write(name, schema);
        home.generate(&["-p", "a", "--schema", arg(&schema)])
    };
    let run = generate("bad.json", "{\"type\":\n [\"object\",}");
    assert!(run.error(2).contains("line 2 of `") && run.stderr.contains("bad.json`, column 12"), "{}", run.stderr);
    assert_eq!(run.stderr.matches("line 2").count(), 1, "{}", run.stderr);
    let run = generate("no.json", r#"{"type": "string", "minLength": 5, "maxLength": 2}"#);
    assert!(run.error(2).contains("minLength"), "{}", run.stderr);
    let run = home.generate(&["-p", "a", "--schema", arg(&home.path("none.json"))]);
    assert!(run.error(1).contains("none.json"), "{}", run.stderr);
    let run = home.generate(&["-p", "a", "--regex", "("]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("invalid `regex`"), "{}", run.stderr);
}

#[test]
fn models_that_cannot_write_are_refused() {
    let home = Home::new();
    for command in [&generate_args(MODEL, &["-p", "a"])[..], &["chat", "--model", MODEL, "--device", "cpu"]] {
        let run = home.run(command);
        assert!(run.error(2).contains("a model that writes text"), "{}", run.stderr);
    }
    let run = home.run(&["embed", "--model", WRITER, "--device", "cpu", "a"]);
    assert!(run.error(2).contains("an embedding model"), "{}", run.stderr);
    let run = home.run(&generate_args(NO_TOKENIZER, &["-p", "a"]));
    assert!(run.error(1).contains("tokenizer.json"), "{}", run.stderr);
    let run = home.generate(&["-p", "a", "--system", "b"]);
    assert!(run.error(1).contains("chat template"), "{}", run.stderr);
}
