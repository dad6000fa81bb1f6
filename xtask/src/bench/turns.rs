//! gllm and its peers, asked one after the other: A B A B.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::report::{Better, Row};
use super::worker::Worker;
use crate::Result;

/// Long enough for idle threads of the program before to fall asleep.
const REST: Duration = Duration::from_millis(100);

/// Programs that are loaded, gllm first.
pub(crate) struct Programs {
    pub(crate) all: Vec<Worker>,
}

impl Programs {
    /// Each program's answer to its question: `question(place, program)`.
    pub(crate) fn ask_each(&mut self, question: impl Fn(usize) -> Value) -> Result<Vec<Value>> {
        let ask = |(place, worker): (usize, &mut Worker)| {
            let answer = worker.ask(&question(place));
            thread::sleep(REST);
            answer
        };
        self.all.iter_mut().enumerate().map(ask).collect()
    }

    /// The answers of each program to the same question in so many turns.
    pub(crate) fn turns(&mut self, turns: u32, question: &Value) -> Result<Vec<Vec<Value>>> {
        self.turns_after(turns, question, |_| Ok(()))
    }

    /// The same, with something `before` each turn.
    pub(crate) fn turns_after(
        &mut self,
        turns: u32,
        question: &Value,
        mut before: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<Vec<Vec<Value>>> {
        let mut answers = vec![Vec::new(); self.all.len()];
        for _ in 0..turns {
            before(self)?;
            for (answers, answer) in answers.iter_mut().zip(self.ask_each(|_| question.clone())?) {
                answers.push(answer);
            }
        }
        Ok(answers)
    }

    /// A row with a figure of each answer.
    pub(crate) fn row(
        &self,
        [name, unit]: [&str; 2],
        better: Better,
        answers: &[Vec<Value>],
        figure: impl Fn(&Value) -> Option<f64>,
    ) -> Row {
        let mut figures = answers.iter().map(|answers| answers.iter().filter_map(&figure).collect::<Vec<f64>>());
        let row = Row::new(name, unit, better, figures.next().unwrap_or_default());
        let peers = self.all.iter().skip(1).zip(figures);
        peers.fold(row, |row, (peer, figures)| row.against(&peer.program, figures))
    }

    /// A row with the most memory that each program has had resident.
    pub(crate) fn memory(&mut self) -> Result<Row> {
        let answers = self.turns(1, &serde_json::json!({ "task": "memory" }))?;
        Ok(self.row(["peak memory", "MB"], Better::Less, &answers, |answer| answer["peak_memory_mb"].as_f64()))
    }
}
