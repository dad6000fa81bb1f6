//! A measured program: a process that stays loaded, and answers a line of JSON with a line of JSON.
//!
//! The other side is `benches/worker.rs`, and `benches/peers/protocol.py`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::{Result, process};

/// A program that is loaded.
pub(crate) struct Worker {
    /// As it calls itself, with its version.
    pub(crate) program: String,
    /// What it said when it was loaded.
    pub(crate) hello: Value,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What became of a start.
pub(crate) enum Started {
    Ready(Worker),
    /// It isn't installed, or can't do this; the reason is for people.
    Skipped(String),
}

/// The first line of a program.
#[derive(Debug, PartialEq)]
enum Hello {
    Program(String),
    Skip(String),
}

impl Worker {
    /// Starts `command`, and waits until the program is loaded.
    pub(crate) fn start(command: &mut Command) -> Result<Started> {
        let name = process::name(command);
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.map_err(|error| format!("cannot start {name}: {error}"))?;
        let (input, output) = (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
        let mut worker =
            Self { program: String::new(), hello: Value::Null, child, input, output: BufReader::new(output) };
        let line = worker.line().map_err(|error| format!("{name}: {error}"))?;
        worker.hello = serde_json::from_str(&line).unwrap_or_default();
        match parse_hello(&line).map_err(|error| format!("{name}: {error}"))? {
            Hello::Program(program) => {
                worker.program = program;
                Ok(Started::Ready(worker))
            }
            Hello::Skip(why) => Ok(Started::Skipped(why)),
        }
    }

    /// The same, of a program that must be there.
    pub(crate) fn start_own(command: &mut Command) -> Result<Self> {
        match Self::start(command)? {
            Started::Ready(worker) => Ok(worker),
            Started::Skipped(why) => Err(why.into()),
        }
    }

    /// The answer to a question.
    pub(crate) fn ask(&mut self, question: &Value) -> Result<Value> {
        writeln!(self.input, "{question}")?;
        let line = self.line().map_err(|error| format!("{}: {error}", self.program))?;
        parse_answer(&line).map_err(|error| format!("{}: {error}", self.program).into())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        if line.is_empty() { Err("the process ended".into()) } else { Ok(line) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The seconds of an answer.
pub(crate) fn seconds(answer: &Value) -> Vec<f64> {
    numbers(answer, "seconds")
}

/// The numbers of a field of an answer.
pub(crate) fn numbers(answer: &Value, field: &str) -> Vec<f64> {
    answer[field].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn parse_hello(line: &str) -> Result<Hello> {
    let hello = parse_answer(line)?;
    match (hello["program"].as_str(), hello["skip"].as_str()) {
        (Some(program), None) => Ok(Hello::Program(program.into())),
        (None, Some(why)) => Ok(Hello::Skip(why.into())),
        _ => Err(format!("not a first line: {line}").into()),
    }
}

fn parse_answer(line: &str) -> Result<Value> {
    let answer: Value = serde_json::from_str(line).map_err(|error| format!("`{}`: {error}", line.trim()))?;
    match answer["error"].as_str() {
        Some(error) => Err(error.into()),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_program_says_its_name_or_why_not() {
        let hello = |line| parse_hello(line).map_err(|error| error.to_string());
        assert_eq!(hello(r#"{"program": "P 1", "load_seconds": 1}"#), Ok(Hello::Program("P 1".into())));
        assert_eq!(hello(r#"{"skip": "no P"}"#), Ok(Hello::Skip("no P".into())));
        assert_eq!(hello(r#"{"error": "no model"}"#), Err("no model".into()));
        assert!(hello("{}").is_err_and(|error| error.contains("not a first line")));
        assert!(hello("Traceback").is_err_and(|error| error.contains("`Traceback`")));
    }

    #[test]
    fn an_answer_has_seconds_or_an_error() {
        let answer = parse_answer(r#"{"seconds": [0.5, 2]}"#).expect("an answer");
        assert_eq!(seconds(&answer), [0.5, 2.0]);
        assert_eq!(seconds(&json!({})), [0.0; 0]);
        assert_eq!(parse_answer(r#"{"error": "too long"}"#).expect_err("an error").to_string(), "too long");
    }

    #[cfg(unix)]
    #[test]
    fn a_process_is_asked_until_it_ends() {
        let program = r#"echo '{"program": "P"}'; read line; echo "{\"seconds\": [1], \"asked\": $line}""#;
        let mut worker = Worker::start_own(Command::new("sh").args(["-c", program])).expect("a shell");
        assert_eq!(worker.program, "P");
        assert_eq!(worker.ask(&json!({ "task": "x" })).expect("an answer")["asked"]["task"], "x");
        assert!(worker.ask(&json!({})).is_err());
    }
}
