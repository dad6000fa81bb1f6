//! Several models in one process: tiny ones of each kind, with memory for two of the three.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use gllm::{
    Client, ClientConfig, Device, EmbedderHandle, Error, GenerateOptions, GeneratorHandle, InferenceError,
    RequestOptions, Runtime, RuntimeConfig, Shutdown, TextRequest, WhenFull,
};
use gllm_tests::{Numbers, golden};

const EMBEDDER: &str = "families/mpnet/mean";
const RERANKER: &str = "families/bert/reranker";
const GENERATOR: &str = "decoders/qwen2.gguf";

fn path(case: &str) -> PathBuf {
    golden().join(case)
}

fn name(case: &str) -> String {
    path(case).to_str().expect("a path in UTF-8").to_owned()
}

fn on_the_cpu() -> ClientConfig {
    ClientConfig { device: Device::Cpu, ..ClientConfig::default() }
}

/// A runtime with the three models and a limit that is some bytes larger than two of them, whichever these are.
fn runtime() -> Runtime {
    let mut sizes =
        [EMBEDDER, RERANKER, GENERATOR].map(|case| gllm_models::weight_bytes(&path(case)).expect("weights"));
    sizes.sort_unstable();
    let limit = sizes[1] + sizes[2];
    assert!(limit < sizes.iter().sum());
    let config = RuntimeConfig { memory_limit: Some(limit), client: on_the_cpu(), ..RuntimeConfig::default() };
    let runtime = Runtime::new(config);
    for (name, case) in [("embedder", EMBEDDER), ("reranker", RERANKER), ("generator", GENERATOR)] {
        runtime.add(name, self::name(case)).expect("a free name");
    }
    runtime
}

fn loaded(runtime: &Runtime) -> Vec<String> {
    let models = runtime.models().into_iter();
    models.filter(|model| model.bytes.is_some()).map(|model| model.name).collect()
}

fn text(prompt: &str) -> TextRequest {
    let options = GenerateOptions { max_new_tokens: Some(12), ..GenerateOptions::default() };
    TextRequest { options, ..TextRequest::from(prompt) }
}

#[test]
fn models_come_and_go_by_use() {
    let runtime = runtime();
    assert_eq!((loaded(&runtime), runtime.bytes()), (vec![], 0));
    runtime.embedder("embedder").expect("a model").embed("the cat").expect("a vector");
    runtime.generator("generator").expect("a model").generate(text("the cat")).expect("a text");
    assert_eq!(loaded(&runtime), ["embedder", "generator"]);
    runtime.embedder("embedder").expect("a model").embed("the dog").expect("a vector");
    let rerank = runtime.reranker("reranker").expect("a model").rerank("the cat", &["a cat", "a dog"]);
    assert_eq!(rerank.expect("a ranking").results.len(), 2);
    assert_eq!(loaded(&runtime), ["embedder", "reranker"]);
    assert!(runtime.unload("embedder"));
    assert_eq!(loaded(&runtime), ["reranker"]);
    runtime.shutdown(Shutdown::Drain);
    assert_eq!((loaded(&runtime), runtime.bytes()), (vec![], 0));
    // They come again.
    runtime.embedder("embedder").expect("a model").embed("the cat").expect("a vector");
}

#[test]
fn a_program_that_keeps_rayons_threads_busy_keeps_no_model_waiting() {
    let (until, told) = (Arc::new(Barrier::new(rayon::current_num_threads() + 1)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..rayon::current_num_threads() {
        let (until, told) = (Arc::clone(&until), Arc::clone(&told));
        rayon::spawn(move || {
            told.fetch_add(1, Ordering::Relaxed);
            until.wait();
        });
    }
    while told.load(Ordering::Relaxed) < rayon::current_num_threads() {
        thread::yield_now();
    }
    let (tell, is_done) = mpsc::channel();
    let work = thread::spawn(move || {
        let texts = ["the cat", "the dog sat", "a mat", "the cat ran on the mat"];
        let client = Client::with_config(&name(EMBEDDER), on_the_cpu()).expect("a model");
        client.embeddings(texts).generate().expect("vectors");
        let runtime = runtime();
        let embedder = runtime.embedder("embedder").expect("a model");
        thread::scope(|scope| {
            for text in texts.iter().cycle().take(40) {
                scope.spawn(|| embedder.embed(text).expect("a vector"));
            }
        });
        drop(embedder);
        runtime.reranker("reranker").expect("a model").rerank("the cat", &texts).expect("a ranking");
        runtime.generator("generator").expect("a model").generate(text("the cat")).expect("a text");
        let folder = tempfile::tempdir().expect("a folder");
        let out = folder.path().join("out.gguf");
        gllm_models::export_gguf(&path(GENERATOR), &out, gllm_models::FileType::Q8_0, &mut ()).expect("a file");
        let _ = tell.send(());
    });
    let outcome = is_done.recv_timeout(Duration::from_mins(2));
    until.wait();
    assert_ne!(outcome, Err(RecvTimeoutError::Timeout), "something waits for rayon's own threads");
    work.join().expect("no panic");
}

#[test]
fn who_is_in_use_stays_and_others_wait_or_are_told() {
    let runtime = runtime();
    let embedder = runtime.embedder("embedder").expect("a model");
    let generator = runtime.generator("generator").expect("a model");
    let hurried = RequestOptions { when_full: WhenFull::Busy, ..RequestOptions::default() };
    let error = runtime.get::<gllm::RerankerHandle>("reranker", &hurried).expect_err("no room");
    assert!(matches!(&error, Error::Oom(_)) && error.to_string().contains("in use"), "{error}");
    let late = RequestOptions::default().within(Duration::from_millis(20));
    let error = runtime.get::<gllm::RerankerHandle>("reranker", &late).expect_err("no room");
    assert!(matches!(error, Error::InferenceError(InferenceError::DeadlineExceeded { .. })), "{error}");
    // Both were left as they were.
    assert_eq!(loaded(&runtime), ["embedder", "generator"]);
    assert!(!runtime.unload("embedder"));
    embedder.embed("the cat").expect("a vector");

    thread::scope(|scope| {
        let waiting = scope.spawn(|| runtime.reranker("reranker").expect("a model").rerank("a", &["b"]).map(drop));
        drop(generator);
        waiting.join().expect("no panic").expect("a ranking");
    });
    assert_eq!(loaded(&runtime), ["embedder", "reranker"]);
}

#[test]
fn what_was_asked_is_answered_before_a_model_goes() {
    let runtime = runtime();
    let stream = runtime.generator("generator").expect("a model").stream(text("the cat")).expect("a text");
    // Nobody has a lease any more, and both others come.
    runtime.embedder("embedder").expect("a model").embed("the cat").expect("a vector");
    runtime.reranker("reranker").expect("a model").rerank("a", &["b"]).expect("a ranking");
    assert_eq!(loaded(&runtime), ["embedder", "reranker"]);
    assert_eq!(stream.finish().expect("a text").tokens.len(), 12);
}

#[test]
fn names_and_kinds_are_checked() {
    let runtime = runtime();
    let error = runtime.embedder("embedders").expect_err("no such name").to_string();
    assert!(error.contains("did you mean `embedder`"), "{error}");
    let error = runtime.embedder("generator").expect_err("another kind").to_string();
    assert!(error.contains("an embedding model"), "{error}");
    assert_eq!(runtime.bytes(), 0);
    runtime.generator("generator").expect("a model");
    assert!(runtime.embedder("generator").expect_err("another kind").to_string().contains("an embedding model"));
    assert!(runtime.models().iter().all(|model| model.leases == 0));
    assert!(runtime.add("generator", name(EMBEDDER)).is_err());
    runtime.add("nothing", "/no/such/model").expect("a free name");
    for _ in 0..2 {
        let error = runtime.embedder("nothing").expect_err("no such model");
        assert!(matches!(error, Error::ModelNotFound(_)), "{error}");
    }
    let small =
        Runtime::new(RuntimeConfig { memory_limit: Some(10), client: on_the_cpu(), ..RuntimeConfig::default() });
    small.add("embedder", name(EMBEDDER)).expect("a free name");
    assert!(matches!(small.embedder("embedder").expect_err("too large"), Error::Oom(_)));
}

/// More threads than models may be loaded ask for all of them: each gets what a handle of its own gives.
#[test]
fn many_threads_share_models_that_do_not_fit_together() {
    let texts = ["the cat", "a dog ran", "on the mat", "the"];
    let alone = EmbedderHandle::with_config(&name(EMBEDDER), on_the_cpu()).expect("a model");
    let vectors: BTreeMap<_, _> = texts.map(|text| (text, alone.embed(text).expect("a vector"))).into();
    let alone = GeneratorHandle::with_config(&name(GENERATOR), on_the_cpu()).expect("a model");
    let written: BTreeMap<_, _> =
        texts.map(|prompt| (prompt, alone.generate(text(prompt)).expect("a text").text)).into();
    let (runtime, loads) = (runtime(), AtomicUsize::new(0));
    let limit = runtime.clone();
    thread::scope(|scope| {
        for seed in 0..6 {
            let (runtime, vectors, written, loads) = (&runtime, &vectors, &written, &loads);
            scope.spawn(move || {
                let mut random = Numbers::from_seed(seed);
                for _ in 0..30 {
                    let asked = texts[random.below(texts.len())];
                    match random.below(3) {
                        0 => {
                            let embedder = runtime.embedder("embedder").expect("a model");
                            assert_eq!(embedder.embed(asked).expect("a vector"), vectors[asked]);
                        }
                        1 => {
                            let generator = runtime.generator("generator").expect("a model");
                            assert_eq!(generator.generate(text(asked)).expect("a text").text, written[asked]);
                        }
                        _ => {
                            let reranker = runtime.reranker("reranker").expect("a model");
                            assert_eq!(reranker.rerank(asked, &texts).expect("a ranking").results.len(), texts.len());
                        }
                    }
                    loads.fetch_add(1, Ordering::Relaxed);
                    assert!(runtime.models().iter().filter(|model| model.bytes.is_some()).count() <= 2);
                }
            });
        }
    });
    assert_eq!(loads.into_inner(), 180);
    assert!(limit.models().iter().all(|model| model.leases == 0));
}

#[cfg(feature = "async")]
#[test]
fn asynchronous_callers_share_models_and_may_go_away() {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    let runtime = runtime();
    let any = RequestOptions::default();
    let executor = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    executor.block_on(async {
        // One that is dropped while it loads: the next one loads.
        {
            let mut left = pin!(runtime.get_async::<gllm::AsyncEmbedderHandle>("embedder", &any));
            assert!(left.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        let embedder = runtime.get_async::<gllm::AsyncEmbedderHandle>("embedder", &any).await.expect("a model");
        embedder.embed("the cat").await.expect("a vector");
        let generator = runtime.get_async::<gllm::AsyncGeneratorHandle>("generator", &any).await.expect("a model");
        assert_eq!(generator.generate(text("the cat")).await.expect("a text").tokens.len(), 12);
    });
    assert!(runtime.models().iter().all(|model| model.leases == 0));
}
