//! What came out: a row for each measure, with gllm's figures and, for each peer, its figures and the ratio.
//!
//! A ratio above 1 says that gllm does better, whatever is measured. What the machine can do at most is a peer too.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::spread::Spread;

/// The figures of a benchmark.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// What was measured, a sentence each.
    pub(crate) facts: Vec<String>,
    pub(crate) rows: Vec<Row>,
    /// How results agree.
    pub(crate) agreement: Vec<Agreement>,
    /// Who was left out, and why.
    pub(crate) left_out: Vec<String>,
}

/// A measure.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    /// Of each turn.
    pub(crate) gllm: Vec<f64>,
    pub(crate) peers: Vec<Comparison>,
}

/// What is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Better {
    More,
    Less,
}

/// A peer's figures for a measure.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) program: String,
    /// Of each turn; none for what it can't do.
    pub(crate) turns: Vec<f64>,
    /// Of each turn's figures.
    pub(crate) ratio: Option<Spread>,
}

/// A number that says how the results of two programs agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Agreement {
    pub(crate) program: String,
    pub(crate) with: String,
    pub(crate) measure: String,
    pub(crate) value: f64,
}

impl Row {
    /// A row with nobody to compare with.
    pub(crate) fn new(name: impl Into<String>, unit: impl Into<String>, better: Better, gllm: Vec<f64>) -> Self {
        Self { name: name.into(), unit: unit.into(), better, gllm, peers: Vec::new() }
    }

    /// The same, beside the figures of `program` in the same turns.
    pub(crate) fn against(mut self, program: &str, turns: Vec<f64>) -> Self {
        let ratio = |(gllm, peer): (&f64, &f64)| match self.better {
            Better::More => gllm / peer,
            Better::Less => peer / gllm,
        };
        let ratios: Vec<f64> = self.gllm.iter().zip(&turns).map(ratio).collect();
        self.peers.push(Comparison { program: program.into(), turns, ratio: Spread::of(&ratios) });
        self
    }

    /// Of gllm and then of each peer: the name, and the median of the figures.
    pub(crate) fn medians(&self) -> impl Iterator<Item = (&str, Option<f64>)> {
        let median = |turns: &[f64]| Spread::of(turns).map(|spread| spread.median);
        let peers = self.peers.iter().map(move |peer| (peer.program.as_str(), median(&peer.turns)));
        std::iter::once(("gllm", median(&self.gllm))).chain(peers)
    }
}

impl fmt::Display for Report {
    /// As Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fact in &self.facts {
            writeln!(f, "{fact}")?;
        }
        let mut programs: Vec<&str> = Vec::new();
        for comparison in self.rows.iter().flat_map(|row| &row.peers) {
            if !programs.contains(&comparison.program.as_str()) {
                programs.push(&comparison.program);
            }
        }
        write!(f, "\n| measure | unit | gllm |")?;
        programs.iter().try_for_each(|program| write!(f, " {program} | ratio | spread |"))?;
        writeln!(f)?;
        writeln!(f, "|---|---|---|{}", "---|---|---|".repeat(programs.len()))?;
        for row in &self.rows {
            let gllm = Spread::of(&row.gllm).map_or_else(String::new, |spread| shown(spread.median));
            write!(f, "| {} | {} | {gllm} |", row.name, row.unit)?;
            for program in &programs {
                let found = row.peers.iter().find(|comparison| comparison.program == *program);
                match found.and_then(|it| Some((Spread::of(&it.turns)?, it.ratio?))) {
                    Some((peer, Spread { median, least, greatest })) => {
                        write!(f, " {} | {median:.2} | {least:.2} to {greatest:.2} |", shown(peer.median))?;
                    }
                    None => write!(f, " | | |")?,
                }
            }
            writeln!(f)?;
        }
        if !programs.is_empty() {
            writeln!(f, "\nA ratio above 1 says that gllm does better.")?;
        }
        if !self.agreement.is_empty() {
            writeln!(f, "\n| results of | beside those of | measure | value |\n|---|---|---|---|")?;
        }
        for Agreement { program, with, measure, value } in &self.agreement {
            writeln!(f, "| {program} | {with} | {measure} | {value:.7} |")?;
        }
        self.left_out.iter().try_for_each(|left_out| write!(f, "\n{left_out}"))
    }
}

/// With three digits at least.
fn shown(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_above_one_says_that_gllm_does_better() {
        let ratio = |better| {
            let row = Row::new("x", "s", better, vec![2.0, 2.0, 4.0]).against("other", vec![1.0, 2.0, 1.0]);
            row.peers[0].ratio
        };
        assert_eq!(ratio(Better::More), Some(Spread { median: 2.0, least: 1.0, greatest: 4.0 }));
        assert_eq!(ratio(Better::Less), Some(Spread { median: 0.5, least: 0.25, greatest: 1.0 }));
    }

    #[test]
    fn the_table_has_a_gap_for_what_a_peer_cannot_do() {
        let report = Report {
            facts: vec!["Two rows.".into()],
            rows: vec![
                Row::new("a", "texts/s", Better::More, vec![150.0]).against("P", vec![100.0]).against("Q", vec![]),
                Row::new("b", "ms", Better::Less, vec![0.5]),
            ],
            agreement: vec![Agreement {
                program: "gllm".into(),
                with: "P".into(),
                measure: "cosine, worst".into(),
                value: 0.5,
            }],
            left_out: vec!["Not compared with R: no.".into()],
        };
        let expected = "\
Two rows.

| measure | unit | gllm | P | ratio | spread | Q | ratio | spread |
|---|---|---|---|---|---|---|---|---|
| a | texts/s | 150 | 100 | 1.50 | 1.50 to 1.50 | | | |
| b | ms | 0.500 | | | | | | |

A ratio above 1 says that gllm does better.

| results of | beside those of | measure | value |
|---|---|---|---|
| gllm | P | cosine, worst | 0.5000000 |

Not compared with R: no.";
        assert_eq!(report.to_string(), expected);
        let json = serde_json::to_string(&report).expect("JSON");
        assert_eq!(serde_json::from_str::<Report>(&json).expect("a report"), report);
    }
}
