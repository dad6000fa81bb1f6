//! What is encoded, and with which model: a real one, or one of random weights in a real one's sizes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::{Args, ValueEnum};

use super::Options;
use crate::{Result, process, workspace};

/// Tokens of all texts together that are made for a random model.
const TOKENS: usize = 4096;

/// Words that texts for random models are made of, those of `benches/shapes.py`.
const WORDS: usize = 20_000;

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Embed,
    Rerank,
}

impl Task {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Rerank => "rerank",
        }
    }
}

/// Sizes of real models.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shape {
    Minilm,
    BgeBase,
    XlmRLarge,
}

/// The model and the texts.
#[derive(Args)]
pub(crate) struct Choice {
    /// Alias, `org/name` or folder
    #[arg(long, conflicts_with = "shape")]
    model: Option<String>,
    /// Random weights in these sizes instead, with texts that all have as many tokens as `--tokens` says
    #[arg(long, value_enum)]
    shape: Option<Shape>,
    /// A text a line [default: docstrings of Python's standard library]
    #[arg(long, value_name = "FILE", conflicts_with = "shape")]
    corpus: Option<PathBuf>,
    /// Longest text or pair
    #[arg(long, default_value_t = 256)]
    tokens: usize,
    /// The first so many texts only
    #[arg(long)]
    texts: Option<usize>,
    /// auto, cpu, gpu or gpu:N, for gllm
    #[arg(long, default_value = "cpu")]
    device: String,
}

/// What programs are given.
pub(crate) struct Material {
    pub(crate) task: Task,
    pub(crate) model: String,
    pub(crate) device: String,
    /// The longest text or pair.
    pub(crate) tokens: usize,
    /// Texts, a line each.
    pub(crate) texts: PathBuf,
    pub(crate) n_texts: usize,
}

impl Choice {
    /// Makes what isn't there; `default` is the model if none is chosen.
    pub(crate) fn prepare(&self, task: Task, default: &str, options: &Options) -> Result<Material> {
        let texts = match (self.shape, &self.corpus) {
            (Some(_), _) => random_texts(self.tokens),
            (None, Some(path)) => fs::read_to_string(path)?,
            (None, None) => {
                let path = folder("texts")?.join("corpus.txt");
                let mut make = Command::new(&options.python);
                process::run(make.arg(workspace::root().join("benches/corpus.py")).arg(&path))?;
                fs::read_to_string(path)?
            }
        };
        let texts = texts.lines().filter(|line| !line.trim().is_empty()).take(self.texts.unwrap_or(usize::MAX));
        let texts: Vec<&str> = texts.collect();
        let path = folder("texts")?.join(format!("{}.txt", task.name()));
        fs::write(&path, texts.join("\n"))?;
        let model = match self.shape {
            Some(shape) => random_model(shape, task, options)?.display().to_string(),
            None => self.model.clone().unwrap_or_else(|| default.into()),
        };
        let n_texts = texts.len();
        Ok(Material { task, model, device: self.device.clone(), tokens: self.tokens, texts: path, n_texts })
    }
}

/// A folder below cargo's target folder, for what a benchmark makes.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let folder = workspace::target()?.join("bench").join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Texts of at least `tokens` tokens, the same on every run.
fn random_texts(tokens: usize) -> String {
    let n_texts = (TOKENS / tokens).max(1);
    let word = |index: usize| format!("w{}", (index * 7919 + 13) % WORDS);
    let text = |text: usize| (text * tokens..(text + 1) * tokens).map(word).collect::<Vec<_>>().join(" ");
    (0..n_texts).map(text).collect::<Vec<_>>().join("\n")
}

fn random_model(shape: Shape, task: Task, options: &Options) -> Result<PathBuf> {
    let shape = shape.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
    let folder = folder("shapes")?.join(format!("{shape}-{}", task.name()));
    if !folder.join("model.safetensors").exists() {
        eprintln!("writing random weights to {}", folder.display());
        let mut make = Command::new(&options.python);
        make.arg(workspace::root().join("benches/shapes.py")).args([&shape, task.name()]).arg(&folder);
        process::run(&mut make)?;
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::random_texts;

    #[test]
    fn random_texts_have_as_many_words_as_tokens() {
        let texts = random_texts(512);
        assert_eq!(texts.lines().count(), 8);
        assert!(texts.lines().all(|text| text.split(' ').count() == 512));
        assert!(texts.starts_with("w13 w7932 w15851 w3770 "), "{}", &texts[..40]);
    }
}
