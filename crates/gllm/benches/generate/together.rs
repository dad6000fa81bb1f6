//! How fast texts are written together, beside one alone: requests of as many callers to one handle, as a service has it.

use std::path::Path;
use std::thread;
use std::time::Instant;

use gllm::weights::WeightFiles;
use gllm::{ClientConfig, Device, GenerateOptions, GeneratorHandle, Message, Prompt, SamplingOptions, TextRequest};
use gllm_models::GenerationDefaults;
use gllm_models::text::Tokenizer;
use serde::{Deserialize, Serialize};

/// Tokens of each text.
const WRITTEN: usize = 128;

/// Each is measured so often, in turns, after once for nothing; the median counts.
const TIMES: usize = 3;

/// The figures of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Together {
    pub(crate) texts: usize,
    /// Tokens a second.
    pub(crate) alone: f64,
    /// Tokens a second, of all texts.
    pub(crate) all: f64,
    /// Until the first token of a text, the last one's, in milliseconds.
    pub(crate) first_token_ms: f64,
    /// Whether each text, the last time, is the one that is written alone.
    pub(crate) are_equal: bool,
}

impl Together {
    /// Measures the model at `path`, on the CPU.
    pub(crate) fn of(path: &Path, texts: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let files = WeightFiles::open(path)?;
        let ends = GenerationDefaults::of(&files, &Tokenizer::of(&files)?)?.eos;
        let options = options(ends);
        let config = ClientConfig { device: Device::Cpu, ..ClientConfig::from_env()? };
        let handle = GeneratorHandle::with_config(path.to_str().ok_or("a path that isn't UTF-8")?, config)?;
        let written = |requests: &[TextRequest]| written(&handle, requests);

        written(&requests(0, texts, &options))?;
        let (mut alone, mut together, mut first, mut last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 1..=TIMES {
            let requests = requests(round, texts + 1, &options);
            let (speed, first_token_ms, found) = written(&requests[..texts])?;
            together.push(speed);
            first.push(first_token_ms);
            alone.push(written(&requests[texts..])?.0);
            last = found;
        }
        let each = requests(TIMES, texts, &options);
        let each = each.chunks(1).map(|one| Ok(written(one)?.2.concat())).collect::<gllm::Result<Vec<String>>>()?;
        let are_equal = each == last;
        let [alone, together, first_token_ms] = [alone, together, first].map(|values| super::median(&values));
        Ok(Self { texts, alone, all: together, first_token_ms, are_equal })
    }
}

/// The likeliest tokens, and no end before so many.
fn options(ends: impl IntoIterator<Item = u32>) -> GenerateOptions {
    let sampling = SamplingOptions {
        temperature: Some(0.0),
        repetition_penalty: Some(1.0),
        logit_bias: ends.into_iter().map(|id| (id, f32::NEG_INFINITY)).collect(),
        ..SamplingOptions::default()
    };
    GenerateOptions { max_new_tokens: Some(WRITTEN), sampling, ..GenerateOptions::default() }
}

/// What callers ask for, each something else, and something else in each round.
fn requests(round: usize, texts: usize, options: &GenerateOptions) -> Vec<TextRequest> {
    const THINGS: [&str; 8] = [
        "reverses a linked list",
        "parses a date",
        "sorts by two keys",
        "counts words in a file",
        "finds primes",
        "merges two sorted lists",
        "checks brackets",
        "computes a moving average",
    ];
    let ask = |index: usize| {
        let text = format!("Write function {index} of module {round} in Rust. It {}.", THINGS[index % THINGS.len()]);
        TextRequest { options: options.clone(), ..Prompt::Chat(vec![Message::user(text)]).into() }
    };
    (0..texts).map(ask).collect()
}

/// Asks for all at once. Returns tokens a second, the first token of the last text in milliseconds, and the texts.
fn written(handle: &GeneratorHandle, requests: &[TextRequest]) -> gllm::Result<(f64, f64, Vec<String>)> {
    let start = Instant::now();
    let responses = thread::scope(|scope| {
        let ask = |request: &TextRequest| {
            let request = request.clone();
            scope.spawn(move || handle.generate(request))
        };
        let asked: Vec<_> = requests.iter().map(ask).collect();
        asked.into_iter().map(|text| text.join().expect("no panic")).collect::<gllm::Result<Vec<_>>>()
    })?;
    let seconds = start.elapsed().as_secs_f64();
    let first = responses.iter().map(|response| response.timings.first_token_ms).fold(0.0, f64::max);
    let tokens: usize = responses.iter().map(|response| response.tokens.len()).sum();
    Ok((tokens as f64 / seconds, first, responses.into_iter().map(|response| response.text).collect()))
}
