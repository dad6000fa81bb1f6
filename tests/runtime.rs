//! Handles to models on threads of their own: the same answers as from the models themselves, to the bit, whoever else
//! asks; asynchronously, on one thread, without blocking it; and what they tell those who watch.

use std::sync::Arc;

use gllm::{
    Client, ClientConfig, Device, EmbedOptions, EmbedderHandle, Error, GeneratorHandle, HandleConfig, QueueConfig,
    RequestOptions, RerankOptions, RerankerHandle, Shutdown,
};
use gllm_tests::{family_pairs, family_texts, golden};

const fn assert_handle<T: Send + Sync + Clone + 'static>() {}

const _: () = {
    assert_handle::<EmbedderHandle>();
    assert_handle::<RerankerHandle>();
    assert_handle::<GeneratorHandle>();
};

#[cfg(feature = "async")]
const _: () = {
    assert_handle::<gllm::AsyncEmbedderHandle>();
    assert_handle::<gllm::AsyncRerankerHandle>();
    assert_handle::<gllm::AsyncClient>();
};

fn config() -> HandleConfig {
    let client = ClientConfig { device: Device::Cpu, ..ClientConfig::default() };
    // Small passes, so that requests are torn apart and mixed.
    HandleConfig { client, queue: QueueConfig { batch_tokens: 64, capacity: 8, ..QueueConfig::default() } }
}

fn path(case: &str) -> String {
    golden().join(case).to_str().expect("UTF-8").to_owned()
}

fn direct(case: &str) -> Client {
    Client::with_config(&path(case), config().client).expect("a valid model")
}

#[test]
fn vectors_are_those_of_the_client_to_the_bit_whoever_else_asks() {
    for case in ["bert/mean", "bert/prompts-excluded", "families/qwen3/embedding"] {
        let handle = EmbedderHandle::with_config(&path(case), config()).expect("a valid model");
        let (client, texts) = (direct(case), family_texts());
        let prompt = client.prompts().keys().next().cloned();
        let options = [
            EmbedOptions::default(),
            EmbedOptions { dimensions: Some(8), ..EmbedOptions::default() },
            EmbedOptions { max_length: Some(9), batch_tokens: 20, ..EmbedOptions::default() },
            EmbedOptions { prompt_name: prompt.clone(), ..EmbedOptions::default() },
        ];
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (handle, client, options, texts, prompt) =
                    (handle.clone(), &client, options[thread % 4].clone(), &texts, prompt.as_ref());
                scope.spawn(move || {
                    for n in [1, texts.len(), 3, 2] {
                        let texts: Vec<String> = texts.iter().cycle().skip(thread + n).take(n).cloned().collect();
                        let found = handle.embed_with(texts.clone(), options.clone(), &RequestOptions::default());
                        let mut request = client.embeddings(texts).batch_tokens(options.batch_tokens);
                        if let Some(kept) = options.dimensions {
                            request = request.dimensions(kept);
                        }
                        if let Some(tokens) = options.max_length {
                            request = request.max_length(tokens);
                        }
                        if let (Some(_), Some(prompt)) = (&options.prompt_name, prompt) {
                            request = request.prompt_name(prompt);
                        }
                        assert_eq!(found.expect("an answer"), request.generate().expect("an answer"), "{case}");
                    }
                });
            }
        });
        handle.shutdown(Shutdown::Drain);
        let error = handle.embed("late").expect_err("it has ended").to_string();
        assert!(error.contains("has ended"), "{error}");
    }
}

#[test]
fn rankings_are_those_of_the_client_to_the_bit_whoever_else_asks() {
    for case in ["families/bert/reranker", "families/qwen3/reranker"] {
        let handle = RerankerHandle::with_config(&path(case), config()).expect("a valid model");
        let (client, pairs) = (direct(case), family_pairs());
        let documents: Vec<&str> = pairs.iter().map(|(_, document)| document.as_str()).collect();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (handle, client, pairs, documents) = (handle.clone(), &client, &pairs, &documents);
                scope.spawn(move || {
                    let query = &pairs[thread % pairs.len()].0;
                    let found = handle.rerank(query, documents).expect("a ranking");
                    let expected = client.rerank(query, documents.iter().copied()).generate();
                    assert_eq!(found, expected.expect("a ranking"), "{case}");

                    let options = RerankOptions { top_n: Some(2), return_documents: true, ..RerankOptions::default() };
                    let owned = documents.iter().map(|&text| text.into()).collect();
                    let found = handle.rerank_with(query.clone(), owned, options, &RequestOptions::default());
                    let request = client.rerank(query, documents.iter().copied()).top_n(2).return_documents(true);
                    assert_eq!(found.expect("a ranking"), request.generate().expect("a ranking"), "{case}");
                });
            }
        });
    }
}

#[test]
fn real_vectors_are_the_same_alone_and_among_others() {
    let Some(folder) = gllm_tests::minilm() else { return };
    let name = folder.to_str().expect("UTF-8");
    let client = Client::with_config(name, config().client).expect("a valid model");
    let handle = EmbedderHandle::with_config(name, config().client).expect("a valid model");
    let texts = gllm_tests::read_texts(&golden().join("minilm/texts.json"));
    let together = client.embeddings(&texts).generate().expect("vectors").embeddings;
    std::thread::scope(|scope| {
        for (text, expected) in texts.iter().zip(&together) {
            let handle = &handle;
            scope.spawn(move || assert_eq!(handle.embed(text).expect("a vector"), expected.embedding, "`{text}`"));
        }
    });
}

#[test]
fn a_handle_is_for_one_kind_of_model_and_says_what_is_wrong() {
    let error = EmbedderHandle::with_config(&path("families/bert/reranker"), config()).expect_err("a reranker");
    assert!(error.to_string().starts_with("invalid `model`: expected an embedding model"), "{error}");
    let queue = QueueConfig { capacity: 0, ..QueueConfig::default() };
    let error = RerankerHandle::with_config(&path("families/bert/reranker"), HandleConfig { queue, ..config() });
    assert_eq!(error.expect_err("no place").to_string(), "invalid `capacity`: expected at least 1, found 0");

    let handle = EmbedderHandle::with_config(&path("bert/mean"), config()).expect("a valid model");
    let none: [&str; 0] = [];
    let error = handle.embed_batch(&none).expect_err("no texts").to_string();
    assert_eq!(error, "invalid `input`: expected at least one text, found none");
}

#[cfg(feature = "async")]
mod asynchronous {
    //! On one thread, which only waits.

    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use gllm::{AsyncClient, AsyncEmbedderHandle, AsyncRerankerHandle, CancelToken, InferenceError, Priority};
    use tokio::runtime::{Builder, Runtime};
    use tokio::task::LocalSet;

    use super::*;

    const FUTURES: usize = 1000;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_time().build().expect("a runtime")
    }

    #[test]
    fn a_thousand_futures_wait_on_one_thread_and_leave_it_to_others() {
        let (runtime, tasks) = (runtime(), LocalSet::new());
        let texts = family_texts();
        let (client, case) = (direct("bert/mean"), path("bert/mean"));
        let expected: Vec<Vec<f32>> = (texts.iter())
            .map(|text| client.embeddings([text]).generate().expect("a vector").embeddings.remove(0).embedding)
            .collect();
        let answered = Rc::new(Cell::new(0));
        let (ticks, worst) = runtime.block_on(tasks.run_until(async {
            // Fewer places than futures: most of them wait for one.
            let handle = sent(AsyncEmbedderHandle::with_config(&case, config())).await.expect("a valid model");
            let futures = (0..FUTURES).map(|n| {
                let (handle, answered) = (handle.clone(), Rc::clone(&answered));
                let (text, expected) = (texts[n % texts.len()].clone(), expected[n % texts.len()].clone());
                tokio::task::spawn_local(async move {
                    assert_eq!(sent(handle.embed(&text)).await.expect("a vector"), expected, "`{text}`");
                    answered.set(answered.get() + 1);
                })
            });
            let futures: Vec<_> = futures.collect();
            let (mut ticks, mut worst, mut last) = (0, Duration::ZERO, Instant::now());
            while answered.get() < FUTURES && !futures.iter().all(tokio::task::JoinHandle::is_finished) {
                tokio::time::sleep(Duration::from_millis(1)).await;
                worst = worst.max(last.elapsed());
                last = Instant::now();
                ticks += 1;
            }
            for future in futures {
                future.await.expect("no panic");
            }
            sent(handle.shutdown(Shutdown::Drain)).await;
            (ticks, worst)
        }));
        println!("{ticks} ticks of 1 ms, {worst:?} between two of them at most");
        assert_eq!(answered.get(), FUTURES);
        assert!(ticks > 1, "nothing else ran");
    }

    #[test]
    fn a_future_that_is_dropped_and_one_that_is_called_back_leave_the_others_alone() {
        runtime().block_on(async {
            let (client, texts) = (direct("bert/mean"), family_texts());
            let handle = AsyncEmbedderHandle::with_config(&path("bert/mean"), config()).await.expect("a valid model");
            let long: Vec<String> = texts.iter().cycle().take(2000).cloned().collect();
            let options = EmbedOptions::default;
            let request = RequestOptions::default();
            let dropped = handle.embed_with(long.clone(), options(), &request);
            assert!(tokio::time::timeout(Duration::from_millis(1), dropped).await.is_err());

            let token = CancelToken::new();
            let cancel = RequestOptions { cancel: Some(token.clone()), ..RequestOptions::default() };
            let late = RequestOptions::default().within(Duration::from_millis(2));
            let urgent = RequestOptions { priority: Priority::High, ..RequestOptions::default() };
            let called_back = async {
                let cancelled = handle.embed_with(long.clone(), options(), &cancel);
                let (found, ()) = both(cancelled, async { token.cancel() }).await;
                found
            };
            let (called_back, (late, urgent)) = both(
                called_back,
                both(
                    handle.embed_with(long.clone(), options(), &late),
                    handle.embed_with(texts.clone(), options(), &urgent),
                ),
            )
            .await;
            let is = |error: Error, expected: fn(&InferenceError) -> bool| {
                assert!(matches!(&error, Error::InferenceError(found) if expected(found)), "{error}");
            };
            is(called_back.expect_err("cancelled"), |error| *error == InferenceError::Cancelled);
            is(late.expect_err("late"), |error| matches!(error, InferenceError::DeadlineExceeded { .. }));
            let expected = client.embeddings(&texts).generate().expect("vectors");
            assert_eq!(urgent.expect("vectors"), expected);
        });
    }

    /// Both results, side by side.
    async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
        let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
        let (mut found_a, mut found_b) = (None, None);
        std::future::poll_fn(move |context| {
            use std::task::Poll;
            if found_a.is_none()
                && let Poll::Ready(found) = a.as_mut().poll(context)
            {
                found_a = Some(found);
            }
            if found_b.is_none()
                && let Poll::Ready(found) = b.as_mut().poll(context)
            {
                found_b = Some(found);
            }
            match (found_a.take(), found_b.take()) {
                (Some(a), Some(b)) => Poll::Ready((a, b)),
                (a, b) => {
                    (found_a, found_b) = (a, b);
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Executors with several threads ask for that.
    fn sent<F: Future + Send>(future: F) -> F {
        future
    }

    #[test]
    fn asynchronous_handles_and_clients_answer_as_the_client_does() {
        runtime().block_on(async {
            let (case, pairs) = (path("families/bert/reranker"), family_pairs());
            let documents: Vec<&str> = pairs.iter().map(|(_, document)| document.as_str()).collect();
            let expected = direct("families/bert/reranker").rerank(&pairs[0].0, documents.iter().copied()).generate();
            let expected = expected.expect("a ranking");
            let handle = AsyncRerankerHandle::with_config(&case, config()).await.expect("a valid model");
            assert_eq!(sent(handle.rerank(&pairs[0].0, &documents)).await.expect("a ranking"), expected);

            let client = sent(AsyncClient::with_config(&case, config())).await.expect("a valid model");
            let request = client.rerank(&pairs[0].0, documents.iter().copied()).priority(Priority::Low);
            assert_eq!(sent(request.generate()).await.expect("a ranking"), expected);
            let error = client.embeddings(["x"]).generate().await.expect_err("a reranker").to_string();
            assert!(error.starts_with("invalid `model`: expected an embedding model"), "{error}");
        });
    }
}

mod watched {
    //! What the program's recorder of metrics and its subscriber hear.

    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString,
        Unit,
    };
    use tracing::span;

    use super::*;

    /// The values of each metric of one model, by name; of labels, those that aren't the model.
    #[derive(Clone, Default)]
    struct Heard {
        metrics: Arc<Mutex<BTreeMap<String, Vec<f64>>>>,
        spans: Arc<Mutex<BTreeMap<&'static str, usize>>>,
        model: String,
    }

    struct One {
        heard: Heard,
        name: String,
    }

    impl One {
        fn note(&self, value: f64) {
            self.heard.metrics.lock().expect("no panic").entry(self.name.clone()).or_default().push(value);
        }
    }

    impl CounterFn for One {
        fn increment(&self, value: u64) {
            self.note(value as f64);
        }

        fn absolute(&self, value: u64) {
            self.note(value as f64);
        }
    }

    impl GaugeFn for One {
        fn increment(&self, value: f64) {
            self.note(value);
        }

        fn decrement(&self, value: f64) {
            self.note(-value);
        }

        fn set(&self, value: f64) {
            self.note(value);
        }
    }

    impl HistogramFn for One {
        fn record(&self, value: f64) {
            self.note(value);
        }
    }

    impl Heard {
        fn one(&self, key: &Key) -> Option<Arc<One>> {
            let of_model = key.labels().any(|label| label.key() == "model" && label.value() == self.model);
            let labels = key.labels().filter(|label| label.key() != "model").map(|label| format!(" {}", label.value()));
            let name = key.name().to_owned() + &labels.collect::<String>();
            of_model.then(|| Arc::new(One { heard: self.clone(), name }))
        }
    }

    impl Recorder for Heard {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            self.one(key).map_or_else(Counter::noop, Counter::from_arc)
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.one(key).map_or_else(Gauge::noop, Gauge::from_arc)
        }

        fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
            self.one(key).map_or_else(Histogram::noop, Histogram::from_arc)
        }
    }

    impl tracing::Subscriber for Heard {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            metadata.target().starts_with("gllm_runtime") && metadata.is_span()
        }

        fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
            *self.spans.lock().expect("no panic").entry(span.metadata().name()).or_default() += 1;
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, _: &tracing::Event<'_>) {}

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[expect(clippy::cast_sign_loss, reason = "what is counted is whole")]
    #[test]
    fn queues_passes_and_answers_are_told() {
        let model = path("bert/plain");
        let heard = Heard { model: model.clone(), ..Heard::default() };
        metrics::set_global_recorder(heard.clone()).expect("the only recorder");
        tracing::subscriber::set_global_default(heard.clone()).expect("the only subscriber");
        let handle = EmbedderHandle::with_config(&model, config()).expect("a valid model");
        let response = handle.embed_with(family_texts(), EmbedOptions::default(), &RequestOptions::default());
        let tokens = response.expect("vectors").usage.total_tokens;
        let none: [&str; 0] = [];
        assert!(matches!(handle.embed_batch(&none), Err(Error::InvalidConfig(_))));
        handle.shutdown(Shutdown::Drain);

        let metrics = heard.metrics.lock().expect("no panic");
        let heard_of = |name: &str| metrics.get(name).unwrap_or_else(|| panic!("{name}: {metrics:?}"));
        let counts = |name: &str| heard_of(name).iter().map(|value| *value as usize).collect::<Vec<_>>();
        let sum = |name: &str| counts(name).iter().sum::<usize>();
        assert_eq!(sum("gllm_tokens_total embed"), tokens);
        assert_eq!(sum("gllm_pass_tokens embed"), tokens);
        assert_eq!(sum("gllm_pass_sequences embed"), family_texts().len());
        assert!(counts("gllm_pass_requests embed").iter().all(|requests| *requests == 1));
        assert_eq!(sum("gllm_requests_total embed ok"), 1);
        assert_eq!(sum("gllm_requests_total embed failed"), 1);
        assert_eq!(heard_of("gllm_queue_seconds embed").len(), 2);
        assert_eq!(heard_of("gllm_request_seconds embed").len(), 2);
        assert!(heard_of("gllm_pass_seconds embed").iter().all(|seconds| *seconds > 0.0));
        let depth = counts("gllm_queue_depth embed");
        assert!(depth.contains(&1) && depth.last() == Some(&0), "{depth:?}");
        drop(metrics);

        let spans = heard.spans.lock().expect("no panic");
        for name in ["queue", "tokenise", "forward"] {
            assert!(spans.get(name).is_some_and(|n| *n >= 2 || name == "forward"), "{name}: {spans:?}");
        }
    }
}
