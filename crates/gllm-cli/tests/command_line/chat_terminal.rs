//! `gllm chat` on a terminal, as a person types.

use std::process::Stdio;

use rexpect::process::{Signal, WaitStatus};
use rexpect::session::{PtySession, spawn_command};

use crate::harness::{Home, chat_args, generate_args};

/// Longest wait for anything, in milliseconds.
const PATIENCE: u64 = 60_000;

/// What ends each answer.
const SPEED: &str = r"\d+ prompt tokens[^\r\n]*\r\n";

const UP: &str = "\x1b[A";

fn start(home: &Home, args: &[&str]) -> PtySession {
    let mut command = home.command(args);
    // The harness reads pipes; here, all three are the terminal.
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    command.env("TERM", "xterm").env_remove("NO_COLOR");
    spawn_command(command, Some(PATIENCE)).expect("gllm starts")
}

/// Waits until something can be typed.
fn prompt(terminal: &mut PtySession) {
    terminal.exp_string("> ").expect("a prompt");
}

fn say(terminal: &mut PtySession, text: &str) {
    terminal.send(text).expect("typed");
    terminal.send("\r").expect("typed");
    terminal.flush().expect("typed");
    // The editor echoes it.
    terminal.exp_string(text).expect("an echo");
    terminal.exp_string("\n").expect("the end of the line");
}

fn end(terminal: &mut PtySession) -> WaitStatus {
    terminal.exp_eof().expect("the end");
    terminal.process().wait().expect("a status")
}

/// The numbers in a text.
fn numbers(text: &str) -> Vec<usize> {
    let digits = |c: char| !c.is_ascii_digit();
    text.split(digits).filter_map(|number| number.parse().ok()).collect()
}

/// Waits for the end of an answer: tokens of the prompt, of these in the cache, and of the answer.
fn speed(terminal: &mut PtySession) -> [usize; 3] {
    let (_, line) = terminal.exp_regex(SPEED).expect("the speed");
    let numbers = numbers(&line);
    if line.contains(" cached)") { [numbers[0], numbers[1], numbers[2]] } else { [numbers[0], 0, numbers[1]] }
}

#[test]
fn conversation_goes_on_behind_an_answer_that_was_stopped() {
    let home = Home::new();
    let talker = home.talker(100_000);
    let mut terminal = start(&home, &chat_args(&talker, &["--stop", "me)"]));
    prompt(&mut terminal);
    say(&mut terminal, "who");
    terminal.exp_string("hi").expect("the answer");
    let [first_prompt, _, first] = speed(&mut terminal);

    // An answer without an end.
    prompt(&mut terminal);
    say(&mut terminal, "the man");
    terminal.exp_regex(".{5}").expect("an answer");
    terminal.send_control('c').expect("Ctrl-C");
    let [second_prompt, cached, second] = speed(&mut terminal);
    assert!(second_prompt > first_prompt + first && cached >= first_prompt && second > 1);

    // The next message is read behind what there is of it.
    prompt(&mut terminal);
    say(&mut terminal, "who");
    terminal.exp_regex(".").expect("an answer");
    terminal.send_control('c').expect("Ctrl-C");
    let [third_prompt, ..] = speed(&mut terminal);
    assert!(third_prompt > second_prompt + second / 2, "{third_prompt}, {second_prompt}, {second}");

    prompt(&mut terminal);
    say(&mut terminal, "/clear");
    terminal.exp_string("a new conversation").expect("a word");
    prompt(&mut terminal);
    // The line before the last.
    terminal.send(&format!("{UP}{UP}\r")).expect("typed");
    terminal.flush().expect("typed");
    terminal.exp_string("hi").expect("the answer to the first message");
    assert_eq!(speed(&mut terminal)[0], first_prompt);
    prompt(&mut terminal);
    terminal.send_control('d').expect("Ctrl-D");
    assert!(matches!(end(&mut terminal), WaitStatus::Exited(_, 0)));
}

#[test]
fn interrupt_clears_the_line_and_a_second_one_ends() {
    let home = Home::new();
    let talker = home.talker(1000);
    let mut terminal = start(&home, &chat_args(&talker, &["--stop", "me)"]));
    prompt(&mut terminal);
    terminal.send("the man").expect("typed");
    terminal.flush().expect("typed");
    terminal.exp_string("the man").expect("an echo");
    terminal.send_control('c').expect("Ctrl-C");
    terminal.exp_string("Ctrl-C again ends").expect("a hint");
    prompt(&mut terminal);
    say(&mut terminal, "who");
    terminal.exp_string("hi").expect("the answer");
    speed(&mut terminal);
    for _ in 0..2 {
        prompt(&mut terminal);
        terminal.send_control('c').expect("Ctrl-C");
    }
    assert!(matches!(end(&mut terminal), WaitStatus::Exited(_, 0)));
}

#[test]
fn signal_to_end_is_heard_at_the_prompt() {
    let home = Home::new();
    let talker = home.talker(1000);
    let mut terminal = start(&home, &chat_args(&talker, &[]));
    prompt(&mut terminal);
    terminal.process_mut().signal(Signal::SIGTERM).expect("a signal");
    terminal.exp_string("interrupted").expect("a message");
    assert!(matches!(end(&mut terminal), WaitStatus::Exited(_, 130)));
}

#[test]
fn message_of_several_lines_is_one_turn() {
    let home = Home::new();
    let talker = home.talker(1000);
    let args = ["-p", "who\nthe man", "--max-tokens", "4", "--json"];
    let tokens = home.run(&generate_args(&talker, &args)).json()["usage"]["prompt_tokens"].clone();
    for turn in ["who\\\rthe man\r", "\"\"\"\rwho\rthe man\r\"\"\"\r"] {
        let mut terminal = start(&home, &chat_args(&talker, &["--max-tokens", "4"]));
        prompt(&mut terminal);
        terminal.send(turn).expect("typed");
        terminal.flush().expect("typed");
        assert_eq!(speed(&mut terminal)[0], tokens, "{turn:?}");
        prompt(&mut terminal);
        say(&mut terminal, "/exit");
        assert!(matches!(end(&mut terminal), WaitStatus::Exited(_, 0)));
    }
}

#[test]
fn terminal_gets_whole_lines_no_control_characters_and_the_speed() {
    let home = Home::new();
    let talker = home.talker(1000);
    let args = generate_args(&talker, &["-p", "the man", "--max-tokens", "40", "--temperature", "0"]);
    let piped = home.run(&args);
    assert!(piped.text().contains('\u{1f}') && !piped.text().ends_with('\n'), "{:?}", piped.text());
    let mut terminal = start(&home, &args);
    let shown = terminal.exp_eof().expect("the end");
    let (text, rest) = shown.split_once("\r\n\x1b[2m").expect("a dimmed line by itself");
    assert!(!text.contains(|c: char| c.is_ascii_control() && !matches!(c, '\r' | '\n' | '\t')), "{text:?}");
    assert!(rest.contains("40 generated") && rest.ends_with("tokens/s\x1b[0m\r\n"), "{rest:?}");

    let mut command = home.command(&args);
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit()).env("NO_COLOR", "1");
    let shown = spawn_command(command, Some(PATIENCE)).expect("gllm starts").exp_eof().expect("the end");
    assert!(shown.ends_with("tokens/s\r\n") && !shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn person_is_not_left_waiting_for_a_prompt_that_was_forgotten() {
    let home = Home::new();
    let mut terminal = start(&home, &["generate"]);
    terminal.exp_string("no prompt: give it with --prompt").expect("a message");
    assert!(matches!(end(&mut terminal), WaitStatus::Exited(_, 2)));
}
