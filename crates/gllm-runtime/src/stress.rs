//! Many threads, many requests, and everything that can go wrong, on tiny real models: every request gets one answer, a
//! right one is what the model gives it alone, and nothing is left behind.
//!
//! It runs in a process of its own, since memory and threads are a process's.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gllm_core::{Device, EmbeddingResponse, Error, GenerationResponse, InferenceError, RerankResponse, Result};
use gllm_models::{
    EmbedOptions, EmbeddingEngine, GenerateOptions, GenerationEngine, Prompt, RerankEngine, RerankOptions,
    SamplingOptions, TextSequence, device,
};

use crate::engine::{EmbedRequest, Engine, RerankRequest};
use crate::fake::about;
use crate::generator::actor;
use crate::generator::engine::TextEngine;
use crate::handle::{Handle, loaded};
use crate::queue::wait::wait;
use crate::reload::{Load, Loaded, Place};
use crate::{
    CancelToken, GeneratorHandle, Priority, QueueConfig, RequestOptions, Shutdown, TextRequest, TextsConfig, WhenFull,
};

const THREADS: usize = 64;
const REQUESTS: usize = 2000;
/// Of so many passes one panics, and eight in a row have no memory, so that halves of halves fail, too.
const PANICS: usize = 211;
const OOMS: usize = 397;

/// A real model that fails now and then.
struct Faulty<E> {
    engine: E,
    passes: Arc<AtomicUsize>,
}

impl<E: Engine> Engine for Faulty<E> {
    const TASK: &str = E::TASK;

    type Request = E::Request;
    type Job = E::Job;
    type Kind = E::Kind;
    type Part = E::Part;
    type Response = E::Response;

    fn prepare(&self, request: &E::Request) -> Result<E::Job> {
        self.engine.prepare(request)
    }

    fn lengths(job: &E::Job) -> &[usize] {
        E::lengths(job)
    }

    fn kind(job: &E::Job) -> E::Kind {
        E::kind(job)
    }

    fn batch_tokens(job: &E::Job) -> usize {
        E::batch_tokens(job)
    }

    fn forward(&self, batch: &[(&E::Job, usize)]) -> Result<Vec<E::Part>> {
        self.fail_now_and_then()?;
        self.engine.forward(batch)
    }

    fn finish(&self, job: &E::Job, parts: Vec<E::Part>) -> Result<E::Response> {
        self.engine.finish(job, parts)
    }

    fn needed_bytes(&self, tokens: usize) -> u64 {
        self.engine.needed_bytes(tokens)
    }

    fn reclaim(&self) {
        self.engine.reclaim();
    }

    fn probe(&self) -> E::Request {
        self.engine.probe()
    }
}

impl<E> Faulty<E> {
    fn fail_now_and_then(&self) -> Result<()> {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed);
        assert!(pass % PANICS != PANICS - 1, "injected");
        if pass % OOMS >= OOMS - 8 {
            return Err(InferenceError::Device { reason: "injected: out of memory".into() }.into());
        }
        Ok(())
    }
}

impl TextEngine for Faulty<GenerationEngine> {
    type Text = TextSequence;

    fn begin(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<TextSequence> {
        self.engine.begin(prompt, options)
    }

    fn advance(&self, texts: &mut [&mut TextSequence], tokens: usize) -> Result<Vec<Result<()>>> {
        self.fail_now_and_then()?;
        self.engine.advance(texts, tokens)
    }

    fn keep(&self, text: &TextSequence) {
        self.engine.keep(text);
    }

    fn set_back(&self, text: &mut TextSequence) {
        self.engine.set_back(text);
    }

    fn forget(&self) {
        self.engine.forget();
    }
}

/// A handle to a model that fails now and then.
fn faulty<E: Engine>(cpu_fallback: bool, load: impl Fn() -> E + Send + 'static) -> Handle<Faulty<E>> {
    let passes = Arc::new(AtomicUsize::new(0));
    let start = move || {
        let mut load: Load<Faulty<E>> = Box::new(move |place| {
            let engine = Faulty { engine: load(), passes: Arc::clone(&passes) };
            Ok(Loaded { engine, device: "cpu".into(), is_cpu: place == Place::Cpu })
        });
        Ok((load(Place::Asked)?, about(), load))
    };
    let queue = QueueConfig { capacity: 48, batch_tokens: 512, cpu_fallback, ..QueueConfig::default() };
    let (handle, is_ready) = Handle::start_with(start, queue).expect("a thread");
    loaded(is_ready).expect("a model");
    handle
}

/// The same, of a model that writes texts.
fn faulty_generator() -> GeneratorHandle {
    let passes = Arc::new(AtomicUsize::new(0));
    let start = move || {
        let mut load: Load<Faulty<GenerationEngine>> = Box::new(move |_| {
            let engine = Faulty { engine: generator(), passes: Arc::clone(&passes) };
            Ok(Loaded { engine, device: "cpu".into(), is_cpu: true })
        });
        Ok((load(Place::Asked)?, about(), load))
    };
    let texts = TextsConfig { capacity: 24, max_texts: 12, read_tokens_beside: 8, ..TextsConfig::default() };
    let (inbox, is_ready) = actor::start_with(start, texts).expect("a thread");
    GeneratorHandle::to(inbox, loaded(is_ready).expect("a model"))
}

fn golden(name: &str) -> std::path::PathBuf {
    Path::new("../../tests/golden").join(name)
}

fn embedder() -> EmbeddingEngine {
    let device = device::open(Device::Cpu).expect("a CPU").device;
    EmbeddingEngine::load(&golden("bert/mean"), &device).expect("a model")
}

fn reranker() -> RerankEngine {
    let device = device::open(Device::Cpu).expect("a CPU").device;
    RerankEngine::load(&golden("families/bert/reranker"), &device).expect("a model")
}

fn generator() -> GenerationEngine {
    let device = device::open(Device::Cpu).expect("a CPU").device;
    GenerationEngine::load(&golden("decoders/qwen2.gguf"), &device).expect("a model")
}

/// The beginning of a text: the model has a short context.
fn prompt(text: &str) -> Prompt {
    Prompt::Raw(text.split(' ').take(15).collect::<Vec<_>>().join(" "))
}

/// What follows a prompt: the likeliest tokens, or others.
fn text_options(place: usize) -> GenerateOptions {
    let temperature = Some(if place.is_multiple_of(2) { 0.0 } else { 1.0 });
    let sampling = SamplingOptions { temperature, seed: Some(7), ..SamplingOptions::default() };
    GenerateOptions { max_new_tokens: Some(1 + place % 8), sampling, ..GenerateOptions::default() }
}

/// A stream of numbers: splitmix64, <https://doi.org/10.1145/2714064.2660195>.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What is asked, and what each of it gives alone.
struct Known {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
    query: String,
    scores: Vec<f32>,
    /// The tokens that follow each text.
    written: Vec<Vec<u32>>,
}

impl Known {
    fn new() -> Self {
        const WORDS: [&str; 12] =
            ["the", "first", "man", "said", "that", "life", "is", "good", "people", "never", "see", "it"];
        let mut numbers = Numbers(1);
        let text = |_| {
            let length = if numbers.chance(5) { 40 } else { 1 + numbers.below(10) };
            (0..length).map(|_| WORDS[numbers.below(WORDS.len())]).collect::<Vec<_>>().join(" ")
        };
        let texts: Vec<String> = (0..64).map(text).collect();
        let (embedder, reranker, query) = (embedder(), reranker(), String::from("what is good"));
        let vector = |text: &String| {
            let found = embedder.embed(&[text], &EmbedOptions::default()).expect("a vector");
            found.embeddings.into_iter().next().expect("one").embedding
        };
        let score = |text: &String| {
            let found = reranker.rerank(&query, &[text], &RerankOptions::default()).expect("a score");
            found.results[0].score
        };
        let (vectors, scores) = (texts.iter().map(vector).collect(), texts.iter().map(score).collect());
        let generator = generator();
        let write = |(place, text): (usize, &String)| {
            generator.generate(&prompt(text), &text_options(place)).expect("a text").tokens
        };
        let written = texts.iter().enumerate().map(write).collect();
        Self { texts, vectors, query, scores, written }
    }

    fn check_vectors(&self, places: &[usize], found: &EmbeddingResponse) {
        assert_eq!(found.embeddings.len(), places.len());
        for (place, embedding) in places.iter().zip(&found.embeddings) {
            assert_eq!(embedding.embedding, self.vectors[*place], "`{}`", self.texts[*place]);
        }
    }

    fn check_text(&self, place: usize, found: &GenerationResponse) {
        assert_eq!(found.tokens, self.written[place], "`{}`", self.texts[place]);
    }

    fn check_scores(&self, places: &[usize], found: &RerankResponse) {
        assert_eq!(found.results.len(), places.len());
        for result in &found.results {
            let place = places[result.index];
            assert_eq!(result.score.to_bits(), self.scores[place].to_bits(), "`{}`", self.texts[place]);
        }
    }
}

type Outcomes = Mutex<BTreeMap<&'static str, usize>>;

/// Counts an answer, and checks that a right one is right and a wrong one was to be expected.
fn count<T>(outcomes: &Outcomes, found: &Result<T>, check: impl FnOnce(&T)) {
    let outcome = match found {
        Ok(answer) => {
            check(answer);
            "right"
        }
        Err(Error::Busy(_)) => "busy",
        Err(Error::Oom(_)) => "out of memory",
        Err(Error::InferenceError(InferenceError::Panicked { reason })) if reason == "injected" => "panicked",
        Err(Error::InferenceError(InferenceError::Cancelled)) => "cancelled",
        Err(Error::InferenceError(InferenceError::DeadlineExceeded { .. })) => "late",
        Err(error) => panic!("{error}"),
    };
    *outcomes.lock().expect("no panic").entry(outcome).or_default() += 1;
}

fn options(numbers: &mut Numbers) -> RequestOptions {
    let priority = [Priority::Low, Priority::Normal, Priority::High][numbers.below(3)];
    let when_full = if numbers.chance(5) { WhenFull::Busy } else { WhenFull::Wait };
    let options = RequestOptions { priority, when_full, ..RequestOptions::default() };
    if numbers.chance(5) { options.within(Duration::from_micros(numbers.below(5000) as u64)) } else { options }
}

/// Asks, is called back now and then, or stops waiting; then counts.
fn ask<E: Engine>(
    handle: &Handle<E>,
    request: E::Request,
    numbers: &mut Numbers,
    outcomes: &Outcomes,
    check: impl FnOnce(&E::Response),
) {
    let mut options = options(numbers);
    let found = match numbers.below(100) {
        0..3 => {
            let (token, delay) = (CancelToken::new(), Duration::from_micros(numbers.below(2000) as u64));
            options.cancel = Some(token.clone());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(delay);
                    token.cancel();
                });
                handle.ask_and_wait(request, &options)
            })
        }
        3..6 => {
            // A future that is dropped, most often before its answer is there.
            let soon = Instant::now() + Duration::from_micros(numbers.below(2000) as u64);
            wait(handle.ask(request, &options), Some(soon)).unwrap_or(Err(InferenceError::Cancelled.into()))
        }
        _ => handle.ask_and_wait(request, &options),
    };
    count(outcomes, &found, check);
}

/// As [`ask`], for a text, which is left now and then.
fn ask_for_text(handle: &GeneratorHandle, request: TextRequest, numbers: &mut Numbers) -> Result<GenerationResponse> {
    let mut request = TextRequest { request: options(numbers), ..request };
    let token = CancelToken::new();
    request.request.cancel = Some(token.clone());
    let mut text = handle.stream(request)?;
    match numbers.below(100) {
        0..3 => token.cancel(),
        3..6 => {
            // Most often in its middle.
            let first = text.next().transpose()?;
            return if first.is_some() { Err(InferenceError::Cancelled.into()) } else { text.finish() };
        }
        _ => {}
    }
    text.finish()
}

struct Handles {
    embedder: Handle<Faulty<EmbeddingEngine>>,
    reranker: Handle<Faulty<RerankEngine>>,
    generator: GeneratorHandle,
}

fn run(known: &Known, Handles { embedder, reranker, generator }: &Handles, requests: usize, outcomes: &Outcomes) {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let mut numbers = Numbers(thread as u64);
                for _ in 0..requests {
                    let n = if numbers.chance(80) { 1 } else { 1 + numbers.below(8) };
                    let places: Vec<usize> = (0..n).map(|_| numbers.below(known.texts.len())).collect();
                    if numbers.chance(15) {
                        let place = places[0];
                        let prompt = prompt(&known.texts[place]);
                        let request = TextRequest { options: text_options(place), ..prompt.into() };
                        let found = ask_for_text(generator, request, &mut numbers);
                        count(outcomes, &found, |found| known.check_text(place, found));
                        continue;
                    }
                    let texts = places.iter().map(|place| known.texts[*place].clone()).collect();
                    if numbers.chance(75) {
                        let request = EmbedRequest { texts, options: EmbedOptions::default() };
                        let check = |found: &EmbeddingResponse| known.check_vectors(&places, found);
                        ask(embedder, request, &mut numbers, outcomes, check);
                    } else {
                        let (query, options) = (known.query.clone(), RerankOptions::default());
                        let request = RerankRequest { query, documents: texts, options };
                        let check = |found: &RerankResponse| known.check_scores(&places, found);
                        ask(reranker, request, &mut numbers, outcomes, check);
                    }
                }
            });
        }
    });
}

/// A line of `/proc/self/status`, as a number.
fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("on Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// In a process of its own, when the test asks for it.
fn stress() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some("injected") {
            hook(panic);
        }
    }));
    let (known, outcomes) = (Known::new(), Outcomes::default());
    let threads = status("Threads:");
    let handles =
        Handles { embedder: faulty(false, embedder), reranker: faulty(true, reranker), generator: faulty_generator() };
    // What threads and caches take once.
    run(&known, &handles, REQUESTS / 2, &outcomes);
    outcomes.lock().expect("no panic").clear();
    let before = status("VmRSS:");

    let start = Instant::now();
    run(&known, &handles, REQUESTS, &outcomes);
    let (took, after) = (start.elapsed(), status("VmRSS:"));
    let outcomes = outcomes.into_inner().expect("no panic");
    println!("{took:?}: {outcomes:?}; {before} kB before, {after} kB after");
    assert_eq!(outcomes.values().sum::<usize>(), THREADS * REQUESTS, "an answer each");
    for outcome in ["right", "busy", "out of memory", "panicked", "cancelled", "late"] {
        assert!(outcomes.contains_key(outcome), "it never happened: {outcome}");
    }
    assert!(outcomes["right"] > THREADS * REQUESTS / 2);
    assert!((after - before).abs() <= 0.05 * before, "{before} kB before, {after} kB after");

    handles.embedder.close_and_wait(Shutdown::Drain);
    handles.reranker.close_and_wait(Shutdown::Cancel);
    handles.generator.shutdown(Shutdown::Drain);
    // A thread that was joined may still be on its way out.
    let end = Instant::now() + Duration::from_secs(10);
    while status("Threads:") > threads {
        assert!(Instant::now() < end, "{} threads, {threads} before", status("Threads:"));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn many_threads_get_an_answer_each_whatever_goes_wrong() {
    const CHILD: &str = "GLLM_STRESS_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return stress();
    }
    let this = std::env::current_exe().expect("a path");
    let name = "stress::many_threads_get_an_answer_each_whatever_goes_wrong";
    let child = Command::new(this).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().expect("it runs");
    let said = [child.stdout, child.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    println!("{said}");
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}
