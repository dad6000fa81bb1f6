//! `gllm chat` with its turns on standard input.

use crate::harness::{Home, Run, WRITER, chat_args, generate_args};

/// Answers of a few tokens each.
const SHORT: [&str; 2] = ["--max-tokens", "6"];

fn chat(home: &Home, talker: &str, args: &[&str], turns: &str) -> Run {
    home.run_piped(&chat_args(talker, &[&SHORT, args].concat()), turns.as_bytes().to_vec())
}

/// The answer to a prompt by itself.
fn answer(home: &Home, talker: &str, args: &[&str]) -> String {
    let args = [&SHORT, &["--temperature", "0"], args].concat();
    home.run(&generate_args(talker, &args)).text().to_owned()
}

/// Answers one after the other, each with an end to its last line.
fn shown(answers: &[&str]) -> String {
    let lines: Vec<_> = answers.iter().map(|answer| answer.strip_suffix('\n').unwrap_or(answer)).collect();
    lines.join("\n") + "\n"
}

#[test]
fn turns_are_answered_in_order_and_the_model_sees_those_before() {
    let home = Home::new();
    let talker = home.talker(200);
    let first = answer(&home, &talker, &["-p", "who"]);
    let raw = format!("user: who\nassistant: {first}\nuser: the man\n");
    let second = answer(&home, &talker, &["--raw", "-p", &raw]);
    assert_ne!(second, answer(&home, &talker, &["-p", "the man"]), "it depends on the turn before");
    let run = chat(&home, &talker, &[], "who\n\nthe man\n");
    assert_eq!(run.text(), shown(&[&first, &second]));
    assert_eq!(run.stderr, "");
    let run = chat(&home, &talker, &[], "who\n/clear\nwho\n/exit\nthe man\n");
    assert_eq!(run.text(), shown(&[&first, &first]));
}

#[test]
fn system_message_is_set_at_the_start_or_on_the_way() {
    let home = Home::new();
    let talker = home.talker(200);
    let plain = answer(&home, &talker, &["-p", "who"]);
    let told = answer(&home, &talker, &["-p", "who", "--system", "the sea"]);
    assert_ne!(plain, told);
    let run = chat(&home, &talker, &["--system", "the sea"], "who\n/clear\nwho\n/clear\n/system\nwho\n");
    assert_eq!(run.text(), shown(&[&told, &told, &plain]));
    assert_eq!(chat(&home, &talker, &[], "/system the sea\nwho").text(), shown(&[&told]));
}

#[test]
fn messages_have_several_lines_behind_backslashes_or_between_quotes() {
    let home = Home::new();
    let talker = home.talker(200);
    let lines = answer(&home, &talker, &["-p", "who\nthe man"]);
    assert_ne!(lines, answer(&home, &talker, &["-p", "who"]));
    let turns = "who\\\nthe man\n/clear\n\"\"\"\nwho\nthe man\n\"\"\"\n/clear\n\"\"\"who\nthe man";
    assert_eq!(chat(&home, &talker, &[], turns).text(), shown(&[&lines, &lines, &lines]));
    let slash = answer(&home, &talker, &["-p", "/clear"]);
    assert_eq!(chat(&home, &talker, &[], "\"\"\"/clear\"\"\"").text(), shown(&[&slash]));
}

#[test]
fn answer_without_a_text_is_a_line_too() {
    let home = Home::new();
    let talker = home.talker(200);
    let first = answer(&home, &talker, &["-p", "who"]);
    // A text that ends before its first character.
    let stop: String = first.chars().take(1).collect();
    let run = chat(&home, &talker, &["--stop", &stop], "who\n/clear\nwho\n");
    assert_eq!(run.text(), "\n\n");
}

#[test]
fn what_fails_is_said_and_the_conversation_goes_on() {
    let home = Home::new();
    let talker = home.talker(40);
    let first = answer(&home, &talker, &["-p", "who"]);
    let run = chat(&home, &talker, &[], &format!("{}\n\nwho\n/no\n<|im_end|>\n", "the ".repeat(60)));
    assert_eq!(run.code, Some(1));
    assert_eq!(String::from_utf8_lossy(&run.stdout), shown(&[&first]), "the message that was too long is forgotten");
    let errors: Vec<_> = run.stderr.lines().collect();
    assert!(errors[0].contains("the context holds 40") && errors[0].contains("/clear"), "{errors:?}");
    assert!(errors[1].contains("`/no`") && errors[1].contains("/help"), "{errors:?}");
    assert!(errors[2].contains("some text"), "{errors:?}");
    assert_eq!(errors[3..], ["error: 3 of 4 turns failed"]);
}

#[test]
fn full_context_is_said_with_the_way_out() {
    let home = Home::new();
    let talker = home.talker(40);
    let run = home.run_piped(&chat_args(&talker, &[]), b"who\nwho\n/clear\nwho\n".to_vec());
    assert_eq!(run.code, Some(1));
    let said: Vec<_> = run.stderr.lines().collect();
    assert!(said[0].starts_with("warning: ") && said[0].contains("/clear"), "{said:?}");
    assert!(said[1].starts_with("error: the conversation has ") && said[1].contains("/clear"), "{said:?}");
    assert_eq!(said[0], said[2]);
}

#[test]
fn help_is_answered_and_a_model_without_a_template_says_so() {
    let home = Home::new();
    let talker = home.talker(40);
    let run = chat(&home, &talker, &[], "/help\n");
    assert!(["/clear", "/system", "/exit", "\"\"\""].iter().all(|word| run.text().contains(word)), "{}", run.text());
    let run = chat(&home, WRITER, &[], "the man\n");
    assert!(run.error(2).contains("chat template"), "{}", run.stderr);
    let run = home.run_piped(&chat_args(&talker, &[]), b"\xff\n".to_vec());
    assert!(run.error(1).contains("line 1 of standard input"), "{}", run.stderr);
}
