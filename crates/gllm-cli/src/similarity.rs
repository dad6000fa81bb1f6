//! `gllm similarity`: how alike a few texts are, as the cosine of their vectors.

use std::fmt::{self, Display};

use gllm::{Client, InvalidConfig, ModelType};
use serde::Serialize;

use crate::args::SimilarityArgs;
use crate::console::{Console, answer, answer_json};
use crate::exit::Failure;
use crate::place::{Cut, Place};
use crate::{client, line};

/// Longest piece of a text that is shown beside its row, in characters.
const SHOWN: usize = 40;

/// The texts and the cosine of each with each; the form of `--json`.
#[derive(Debug, Serialize)]
struct Comparison {
    model: String,
    texts: Vec<String>,
    similarity: Vec<Vec<f64>>,
}

pub(crate) fn run(args: SimilarityArgs, console: Console) -> Result<(), Failure> {
    let client = client::load(&args.model, console)?;
    check_dense(&client)?;
    let response = client.embeddings(args.texts.iter().map(String::as_str)).generate()?;
    let mut cut = Cut::default();
    response.truncated.iter().for_each(|truncated| cut.add(*truncated));
    cut.warn(&Place::default(), console);

    let vectors: Vec<_> = response.embeddings.iter().map(|embedding| unit(&embedding.embedding)).collect();
    let similarity = vectors.iter().map(|a| vectors.iter().map(|b| dot(a, b)).collect()).collect();
    let comparison = Comparison { model: client.info().alias.clone(), texts: args.texts, similarity };
    if args.json { answer_json(&comparison) } else { answer(comparison) }
}

/// Refuses a model whose texts have no cosine.
fn check_dense(client: &Client) -> Result<(), Failure> {
    let info = client.info();
    if info.dimensions.is_none() && info.model_type == ModelType::Embedding {
        let found = format!("`{}`, which has only sparse vectors", info.alias);
        return Err(InvalidConfig::new("model", "an embedding model with dense vectors", found).into());
    }
    Ok(())
}

/// The vector at length 1; one without a direction stays as it is.
fn unit(vector: &[f32]) -> Vec<f64> {
    let norm = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    let norm = if norm > 0.0 { norm } else { 1.0 };
    vector.iter().map(|x| f64::from(*x) / norm).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.texts.len().to_string().len();
        write!(f, "{:width$}", "")?;
        for column in 1..=self.texts.len() {
            write!(f, " {column:>6}")?;
        }
        for (row, (text, cosines)) in self.texts.iter().zip(&self.similarity).enumerate() {
            write!(f, "\n{:>width$}", row + 1)?;
            for cosine in cosines {
                write!(f, " {cosine:>6.3}")?;
            }
            write!(f, "  {}", line::shortened(text, SHOWN))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_ignores_length_and_survives_a_zero_vector() {
        let cosine = |a: &[f32], b: &[f32]| dot(&unit(a), &unit(b));
        assert!((cosine(&[3.0, 0.0], &[5.0, 0.0]) - 1.0).abs() < 1e-12);
        assert!((cosine(&[1.0, 0.0], &[-2.0, 0.0]) + 1.0).abs() < 1e-12);
        assert!(cosine(&[0.0, 0.0], &[1.0, 0.0]).abs() < 1e-12);
    }

    #[test]
    fn table_is_aligned() {
        let texts = vec!["one".to_owned(), "two".to_owned()];
        let comparison = Comparison { model: "m".into(), texts, similarity: vec![vec![1.0, -0.25], vec![-0.25, 1.0]] };
        assert_eq!(comparison.to_string(), "       1      2\n1  1.000 -0.250  one\n2 -0.250  1.000  two");
    }
}
