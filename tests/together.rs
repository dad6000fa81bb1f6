//! Texts that are written together, on tiny random decoders of several families: each is what it would be alone,
//! whenever others join and leave, and whatever parts of its prompt are read at once.

use burn::tensor::Device;
use gllm_core::{Error, FinishReason, InferenceError, TokenLogprob};
use gllm_models::{GenerateOptions, GenerationEngine, Prompt, SamplingOptions, TextFormat, TextSequence};
use gllm_tests::{Numbers, golden};

/// Decoders with a tokenizer: with biases and without, experts, stretched positions, normalised queries.
const FAMILIES: [&str; 7] = ["qwen2", "llama-yarn", "llama-biases", "mistral", "mixtral", "qwen3", "qwen3-moe"];

fn engine(family: &str) -> GenerationEngine {
    let path = golden().join(format!("decoders/{family}.gguf"));
    GenerationEngine::load(&path, &Device::flex()).unwrap_or_else(|e| panic!("{family}: {e}"))
}

/// A request, its prompt of up to forty words; log-probabilities tell logits apart to the last bit, nearly.
fn request(random: &mut Numbers) -> (Prompt, GenerateOptions) {
    const WORDS: [&str; 8] = ["the", "a", "cat", "dog", "ran", "sat", "on", "mat"];
    let length = if random.below(4) == 0 { 10 + random.below(30) } else { 1 + random.below(6) };
    let words: Vec<_> = (0..length).map(|_| WORDS[random.below(WORDS.len())]).collect();
    let greedy = random.below(2) == 0;
    let sampling = SamplingOptions {
        temperature: Some(if greedy { 0.0 } else { 1.2 }),
        top_k: Some(random.below(20)),
        seed: Some(random.below(1000) as u64),
        logprobs: Some(2),
        ..SamplingOptions::default()
    };
    let max_new_tokens = Some(1 + random.below(24));
    (Prompt::Raw(words.join(" ")), GenerateOptions { max_new_tokens, sampling, ..GenerateOptions::default() })
}

type Said = (String, Vec<u32>, FinishReason, Vec<TokenLogprob>);

fn said(text: &TextSequence) -> Said {
    let response = text.response();
    (response.text, response.tokens, response.finish_reason, response.logprobs)
}

fn alone(engine: &GenerationEngine, prompt: &Prompt, options: &GenerateOptions) -> Said {
    engine.forget();
    let response = engine.generate(prompt, options).expect("a text");
    (response.text, response.tokens, response.finish_reason, response.logprobs)
}

#[test]
fn texts_in_any_company_are_those_written_alone() {
    for (seed, family) in FAMILIES.iter().enumerate() {
        let (engine, lone) = (engine(family), engine(family));
        let mut random = Numbers::from_seed(seed as u64);
        let mut running: Vec<(TextSequence, (Prompt, GenerateOptions))> = Vec::new();
        let (mut finished, mut most) = (0, 0);
        while finished < 40 {
            while running.len() < 12 && random.below(3) == 0 {
                let request = request(&mut random);
                running.push((engine.begin(&request.0, &request.1).expect("a text"), request));
            }
            most = most.max(running.len());
            // One leaves before its end, another has to read all it has again.
            if !running.is_empty() && random.below(20) == 0 {
                let (text, _) = running.swap_remove(random.below(running.len()));
                engine.keep(&text);
            }
            if !running.is_empty() && random.below(20) == 0 {
                let place = random.below(running.len());
                engine.set_back(&mut running[place].0);
            }
            let mut texts: Vec<_> = running.iter_mut().map(|(text, _)| text).collect();
            for outcome in engine.advance(&mut texts, 1 + random.below(60)).expect("a step") {
                outcome.expect("a token");
            }
            for (text, (prompt, options)) in running.extract_if(.., |(text, _)| text.finish_reason().is_some()) {
                engine.keep(&text);
                assert_eq!(said(&text), alone(&lone, &prompt, &options), "{family}: {prompt:?}");
                finished += 1;
            }
        }
        println!("{family}: up to {most} together");
        assert!(most >= 6);
    }
}

#[test]
fn a_text_that_cannot_go_on_fails_alone() {
    let (engine, lone) = (engine("qwen2"), engine("qwen2"));
    let prompt = Prompt::Raw("the cat".into());
    let short = GenerateOptions { max_new_tokens: Some(12), ..GenerateOptions::default() };
    // Every token that the form allows is ruled out.
    let letters: Vec<u32> = lone.tokenizer().ids("b", false).expect("tokens");
    let sampling = SamplingOptions {
        logit_bias: letters.into_iter().map(|id| (id, f32::NEG_INFINITY)).collect(),
        ..SamplingOptions::default()
    };
    let stuck =
        GenerateOptions { format: Some(TextFormat::Regex("b{3}".into())), sampling, ..GenerateOptions::default() };
    let mut texts = [&short, &stuck, &short].map(|options| engine.begin(&prompt, options).expect("a text"));
    let mut failures = Vec::new();
    while texts.iter().enumerate().any(|(place, text)| place != 1 && text.finish_reason().is_none()) {
        let mut going: Vec<_> = texts.iter_mut().enumerate().filter(|(place, _)| !failures.contains(place)).collect();
        let places: Vec<_> = going.iter().map(|(place, _)| *place).collect();
        let mut going: Vec<_> = going.iter_mut().map(|(_, text)| &mut **text).collect();
        for (place, outcome) in places.into_iter().zip(engine.advance(&mut going, 64).expect("a step")) {
            if let Err(error) = outcome {
                assert!(matches!(error, Error::InferenceError(InferenceError::Constraint { .. })), "{error}");
                failures.push(place);
            }
        }
    }
    assert_eq!(failures, [1]);
    let expected = alone(&lone, &prompt, &short);
    assert_eq!([said(&texts[0]), said(&texts[2])], [expected.clone(), expected]);
}

/// Steps that read a part of a long prompt write a token of each short text.
#[test]
fn a_long_prompt_does_not_hold_up_short_texts() {
    let engine = engine("llama-yarn");
    let long = Prompt::Raw("the cat sat on a mat ".repeat(6));
    let options = |tokens| GenerateOptions { max_new_tokens: Some(tokens), ..GenerateOptions::default() };
    let mut long = engine.begin(&long, &options(4)).expect("a text");
    let mut short = engine.begin(&Prompt::Raw("a".into()), &options(40)).expect("a text");
    let (all, mut steps) = (long.unread(), 0);
    while long.response().tokens.is_empty() {
        let before = short.response().tokens.len();
        for outcome in engine.advance(&mut [&mut long, &mut short], 8).expect("a step") {
            outcome.expect("a token");
        }
        assert!(short.finish_reason().is_some() || short.response().tokens.len() == before + 1 || before == 0);
        steps += 1;
    }
    assert!(steps >= all / 8, "{all} tokens in {steps} steps");
}
