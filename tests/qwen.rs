//! The real Qwen2.5-Coder-0.5B-Instruct in 4 bits against llama.cpp: tokens, next tokens, perplexity; and what it answers.
//!
//! llama.cpp rounds activations to 8 bits of its own kind, so that what is computed is alike and not the same. The answers
//! are gllm's own, read and found sensible: `GLLM_BLESS=1` writes them anew, to be read again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use burn::tensor::{Device, Tensor};
use gllm_core::Message;
use gllm_models::text::Tokenizer;
use gllm_models::{GenerateOptions, GenerationEngine, GeneratorModel, Prompt, SamplingOptions, Step};
use gllm_quant::WeightFiles;
use gllm_tests::{golden, read_texts};
use serde::{Deserialize, Serialize};

const WINDOW: usize = 512;

/// Most tokens of an answer.
const ANSWER: usize = 48;

/// By how much the likeliest token must lead the second, in logarithms, all along an answer: less could turn on another
/// machine.
const LEAD: f32 = 0.05;

/// `expected.json`.
#[derive(Deserialize)]
struct Expected {
    perplexity: f64,
    prompts: Vec<NextToken>,
}

/// What follows the first tokens of a window.
#[derive(Deserialize)]
struct NextToken {
    window: usize,
    tokens: usize,
    next: usize,
    logprob: f64,
    /// Of the likeliest token over the second.
    lead: f64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    prompt: String,
    answer: String,
}

/// The model's file; one download for all tests.
fn model() -> Option<&'static Path> {
    static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    PATH.get_or_init(gllm_tests::qwen).as_deref()
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn tokens_match_llama_cpp() {
    let Some(path) = model() else { return };
    let tokenizer = Tokenizer::of(&WeightFiles::open(path).expect("a file in GGUF")).expect("a tokenizer");
    let texts = read_texts(&golden().join("qwen/texts.json"));
    let expected: Vec<Vec<u32>> = read(&golden().join("qwen/tokens.json"));
    assert_eq!((texts.len(), expected.len()), (200, 200));
    let differs = |(text, expected): (&String, &Vec<u32>)| {
        let found = tokenizer.ids(text, true).expect("tokens");
        (found != *expected).then(|| format!("{text:?}: {found:?}, expected {expected:?}"))
    };
    let wrong: Vec<_> = texts.iter().zip(&expected).filter_map(differs).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn next_tokens_and_perplexity_match_llama_cpp() {
    let Some(path) = model() else { return };
    let model = GeneratorModel::load(path, &Device::flex()).expect("a valid model");
    let expected: Expected = read(&golden().join("qwen/expected.json"));
    let bytes = fs::read(golden().join("qwen/ids.bin")).expect("the ids");
    let ids: Vec<u32> = bytes.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect();

    let (mut losses, mut agreeing, mut turned, mut difference) = (Vec::new(), 0, Vec::new(), 0.0);
    for (number, window) in ids.chunks_exact(WINDOW).enumerate() {
        let hidden = model.forward(&mut [Step { tokens: window, cache: &mut model.new_cache() }]).expect("hidden");
        let scored: Vec<_> = (WINDOW / 2..WINDOW).map(|place| (place - 1, window[place] as usize)).collect();
        losses.extend(Distributions::of(&model, &hidden, WINDOW / 2 - 1..WINDOW - 1).logarithms(&scored));

        for prompt in expected.prompts.iter().filter(|prompt| prompt.window == number) {
            let last = prompt.tokens - 1;
            let row = Distributions::of(&model, &hidden, last..last + 1);
            let found = row.likeliest();
            agreeing += usize::from(found == prompt.next);
            if found != prompt.next {
                turned.push(prompt.lead);
            }
            difference += (row.logarithms(&[(last, prompt.next)])[0] - prompt.logprob).abs();
        }
    }
    let perplexity = (-losses.iter().sum::<f64>() / losses.len() as f64).exp();
    let count = expected.prompts.len();
    let (agreement, difference) = (agreeing as f64 / count as f64, difference / count as f64);
    let summary = format!(
        "perplexity {perplexity:.4}, of llama.cpp {:.4}; {agreeing} of {count} next tokens, the others led by \
         {turned:.3?}; logarithms differ by {difference:.4}",
        expected.perplexity
    );
    println!("{summary}");
    assert!((count, losses.len()) == (200, ids.len() / 2), "{summary}");
    assert!((perplexity / expected.perplexity - 1.0).abs() <= 0.005, "{summary}");
    assert!(agreement >= 0.98 && difference <= 0.05, "{summary}");
}

/// Logits of some places in a window.
struct Distributions {
    first: usize,
    vocab: usize,
    logits: Vec<f32>,
}

impl Distributions {
    fn of(model: &GeneratorModel, hidden: &Tensor<2>, places: std::ops::Range<usize>) -> Self {
        let width = hidden.dims()[1];
        let rows = hidden.clone().slice([places.clone(), 0..width]);
        let logits = model.logits(rows).try_into_vec_as::<f32>().expect("logits");
        Self { first: places.start, vocab: model.config().vocab_size, logits }
    }

    fn row(&self, place: usize) -> &[f32] {
        &self.logits[(place - self.first) * self.vocab..][..self.vocab]
    }

    /// The token of the first place.
    fn likeliest(&self) -> usize {
        let row = self.row(self.first);
        (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).expect("a vocabulary")
    }

    /// The logarithms of the probabilities of tokens, each at its place.
    fn logarithms(&self, wanted: &[(usize, usize)]) -> Vec<f64> {
        let logarithm = |(place, token): &(usize, usize)| {
            let row = self.row(*place);
            let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = row.iter().map(|logit| f64::from((logit - top).exp())).sum();
            f64::from(row[*token] - top) - sum.ln()
        };
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let parts = wanted.chunks(wanted.len().div_ceil(threads).max(1));
            let parts: Vec<_> =
                parts.map(|part| scope.spawn(move || part.iter().map(logarithm).collect::<Vec<_>>())).collect();
            parts.into_iter().flat_map(|part| part.join().expect("a thread")).collect()
        })
    }
}

#[test]
fn answers_are_as_they_were_read() {
    let Some(model) = model() else { return };
    let engine = GenerationEngine::load(model, &Device::flex()).expect("a valid model");
    let path = Path::new("snapshots/qwen_answers.json");
    let expected: Vec<Answer> = read(path);
    assert_eq!(expected.len(), 20);
    let sampling = SamplingOptions {
        temperature: Some(0.0),
        repetition_penalty: Some(1.0),
        logprobs: Some(2),
        ..SamplingOptions::default()
    };
    let options = GenerateOptions { max_new_tokens: Some(ANSWER), sampling, ..GenerateOptions::default() };
    let mut narrow = Vec::new();
    let found: Vec<_> = expected
        .iter()
        .map(|Answer { prompt, .. }| {
            let chat = Prompt::Chat(vec![Message::user(prompt.clone())]);
            let response = engine.generate(&chat, &options).expect("an answer");
            let leads = response.logprobs.iter().map(|token| token.top[0].logprob - token.top[1].logprob);
            let lead = leads.fold(f32::INFINITY, f32::min);
            if lead < LEAD {
                narrow.push((prompt.clone(), lead));
            }
            Answer { prompt: prompt.clone(), answer: response.text }
        })
        .collect();
    if std::env::var_os("GLLM_BLESS").is_some() {
        let text = serde_json::to_string_pretty(&found).expect("JSON");
        fs::write(path, text + "\n").expect("the answers");
    } else {
        assert_eq!(found, expected);
    }
    assert!(narrow.is_empty(), "too close to call: {narrow:?}");
}

/// All twenty in one batch: what is written is what each would be alone.
#[test]
fn answers_written_together_are_the_same() {
    let Some(model) = model() else { return };
    let engine = GenerationEngine::load(model, &Device::flex()).expect("a valid model");
    let expected: Vec<Answer> = read(Path::new("snapshots/qwen_answers.json"));
    let sampling =
        SamplingOptions { temperature: Some(0.0), repetition_penalty: Some(1.0), ..SamplingOptions::default() };
    let options = GenerateOptions { max_new_tokens: Some(ANSWER), sampling, ..GenerateOptions::default() };
    let begin = |Answer { prompt, .. }: &Answer| {
        engine.begin(&Prompt::Chat(vec![Message::user(prompt.clone())]), &options).expect("a text")
    };
    let mut texts: Vec<_> = expected.iter().map(begin).collect();
    loop {
        let mut going: Vec<_> = texts.iter_mut().filter(|text| text.finish_reason().is_none()).collect();
        if going.is_empty() {
            break;
        }
        for outcome in engine.advance(&mut going, 64).expect("a step") {
            outcome.expect("a token");
        }
    }
    let answers = texts.iter().map(|text| text.response().text);
    assert!(answers.eq(expected.into_iter().map(|answer| answer.answer)));
}
