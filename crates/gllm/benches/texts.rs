//! Times texts that are written together, beside one alone: requests of as many callers to one handle, as a service has
//! it. `cargo xtask bench texts [--concurrent N]`.

use std::thread;
use std::time::Instant;

use clap::Parser;
use gllm::hub::{HubConfig, ModelId, Store};
use gllm::weights::WeightFiles;
use gllm::{ClientConfig, Device, GenerateOptions, GeneratorHandle, Message, Prompt, SamplingOptions, TextRequest};
use gllm_models::GenerationDefaults;
use gllm_models::text::Tokenizer;
use serde_json::json;

/// Tokens of each text.
const WRITTEN: usize = 128;

#[derive(Parser)]
struct Arguments {
    /// Alias, `org/name:file.gguf` or the absolute path of a GGUF file.
    #[arg(long, default_value = "qwen2.5-coder-0.5b-instruct")]
    model: String,
    /// Texts that are written together.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    concurrent: u32,
    /// Times it is measured, in turns, after once for nothing; the median counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    turns: u32,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let texts = arguments.concurrent as usize;
    let path = Store::new(HubConfig::from_env()?).fetch(&ModelId::parse(&arguments.model)?, &mut ())?;
    let files = WeightFiles::open(&path)?;
    let options = options(GenerationDefaults::of(&files, &Tokenizer::of(&files)?)?.eos);
    let config = ClientConfig { device: Device::Cpu, ..ClientConfig::from_env()? };
    let handle = GeneratorHandle::with_config(path.to_str().ok_or("a path that isn't UTF-8")?, config)?;

    written(&handle, &requests(0, texts, &options))?;
    let (mut alone, mut together, mut first, mut last) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for turn in 1..=arguments.turns {
        let requests = requests(turn, texts + 1, &options);
        let (speed, first_token_ms, found) = written(&handle, &requests[..texts])?;
        together.push(speed);
        first.push(first_token_ms);
        alone.push(written(&handle, &requests[texts..])?.0);
        last = found;
    }
    let each = requests(arguments.turns, texts, &options);
    let each =
        each.chunks(1).map(|one| Ok(written(&handle, one)?.2.concat())).collect::<gllm::Result<Vec<String>>>()?;
    let are_equal = each == last;
    let ratio = median(together.iter().zip(&alone).map(|(together, alone)| together / alone).collect());
    let [alone, together, first] = [alone, together, first].map(median);
    if arguments.json {
        let figures = json!({
            "texts": texts, "tokens_per_second": together, "tokens_per_second_alone": alone, "ratio": ratio,
            "first_token_ms": first, "are_equal": are_equal,
        });
        println!("{figures:#}");
    } else {
        println!("| measure | one text | {texts} together | ratio |\n|---|---|---|---|");
        println!("| writing {WRITTEN} tokens each, tokens/s | {alone:.1} | {together:.1} | {ratio:.2} |");
        println!("| the last text's first token, ms | | {first:.0} | |");
        println!("\nThe texts are {}those that are written alone.", if are_equal { "" } else { "not " });
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
fn requests(round: u32, texts: usize, options: &GenerateOptions) -> Vec<TextRequest> {
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
