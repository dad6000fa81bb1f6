//! The thread of a model that writes texts, with a model that fails when it is told to. A text repeats its prompt, a
//! letter a token.

use std::cell::RefCell;
#[cfg(feature = "async")]
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use gllm_core::{Error, FinishReason, GenerationTimings, InferenceError, InvalidConfig, OutOfMemory, Usage};
use gllm_models::{GenerateOptions, Prompt};
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::actor::start_with;
use super::engine::{Text, TextEngine};
use super::*;
use crate::fake::about;
use crate::reload::{Load, Loaded, Place};
use crate::{CancelToken, Priority, RequestOptions, WhenFull};

/// Bytes of a token.
const BYTES: usize = 10;

struct Letters {
    prompt: Vec<char>,
    most: usize,
    read: usize,
    written: String,
    taken: usize,
}

/// What a step does before its texts go on: nothing, fail, or panic. Is told the number of the step and the prompts.
type Plan = Box<dyn FnMut(usize, &[String]) -> Result<()> + Send>;

/// The texts of each step, and the bytes that they take.
type Steps = Arc<Mutex<Vec<(Vec<String>, usize)>>>;

struct Fake {
    plan: RefCell<Plan>,
    steps: Steps,
}

/// How often the metrics say that a text has left the queue.
#[derive(Default)]
struct Queued {
    times: AtomicUsize,
}

#[derive(Default)]
struct QueueRecorder {
    queued: Arc<Queued>,
}

impl HistogramFn for Queued {
    fn record(&self, _: f64) {
        self.times.fetch_add(1, Ordering::Relaxed);
    }
}

impl Recorder for QueueRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match key.name() {
            "gllm_queue_seconds" => Histogram::from_arc(Arc::clone(&self.queued)),
            _ => Histogram::noop(),
        }
    }
}

impl Letters {
    fn unread(&self) -> usize {
        self.tokens() - self.read
    }
}

impl Text for Letters {
    fn tokens(&self) -> usize {
        self.prompt.len() + self.written.len()
    }

    fn written(&self) -> usize {
        self.written.len()
    }

    fn bytes(&self) -> usize {
        self.tokens() * BYTES
    }

    fn finish_reason(&self) -> Option<FinishReason> {
        (self.written.len() == self.most).then_some(FinishReason::Length)
    }

    fn take_piece(&mut self) -> String {
        let piece = self.written[self.taken..].to_owned();
        self.taken = self.written.len();
        piece
    }

    fn response(&self) -> GenerationResponse {
        GenerationResponse {
            text: self.written.clone(),
            tokens: self.written.bytes().map(u32::from).collect(),
            finish_reason: FinishReason::Length,
            usage: Usage::default(),
            logprobs: Vec::new(),
            timings: GenerationTimings::default(),
        }
    }
}

impl TextEngine for Fake {
    type Text = Letters;

    fn begin(&self, prompt: &Prompt, options: &GenerateOptions) -> Result<Letters> {
        let Prompt::Raw(prompt) = prompt else { panic!("no conversations") };
        match prompt.as_str() {
            "bad" => Err(InvalidConfig::new("prompt", "a good one", "bad").into()),
            "worse" => panic!("worse"),
            _ => Ok(Letters {
                prompt: prompt.chars().collect(),
                most: options.max_new_tokens.unwrap_or(12),
                read: 0,
                written: String::new(),
                taken: 0,
            }),
        }
    }

    fn advance(&self, texts: &mut [&mut Letters], tokens: usize) -> Result<Vec<Result<()>>> {
        let prompts: Vec<String> = texts.iter().map(|text| text.prompt.iter().collect()).collect();
        let number = {
            let mut steps = self.steps.lock().expect("steps");
            steps.push((prompts.clone(), texts.iter().map(|text| text.bytes()).sum()));
            steps.len() - 1
        };
        (self.plan.borrow_mut())(number, &prompts)?;
        let share = (tokens / texts.len()).max(1);
        let advance = |text: &mut Letters| -> Result<()> {
            text.read += text.unread().min(share);
            if text.unread() == 0 {
                let next = text.prompt[text.written.len() % text.prompt.len()];
                if next == '!' {
                    return Err(InferenceError::Constraint { reason: "nothing may follow".into() }.into());
                }
                text.written.push(next);
            }
            Ok(())
        };
        Ok(texts.iter_mut().map(|text| advance(text)).collect())
    }

    fn keep(&self, _: &Letters) {}

    fn set_back(&self, text: &mut Letters) {
        text.read = 0;
    }

    fn forget(&self) {}
}

/// A handle, what loads the model again is told where to, and the steps.
type Started = (GeneratorHandle, Receiver<Place>, Steps);

fn start(config: TextsConfig, plan: impl FnMut(usize, &[String]) -> Result<()> + Send + 'static) -> Started {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let (loading, is_loaded): (Sender<_>, _) = channel();
    let fake = |plan: Plan, steps| Loaded {
        engine: Fake { plan: RefCell::new(plan), steps },
        device: "a test".into(),
        is_cpu: false,
    };
    let (first, again) = (Arc::clone(&steps), Arc::clone(&steps));
    let load: Load<Fake> = Box::new(move |place| {
        loading.send(place).expect("heard");
        Ok(fake(Box::new(|_, _| Ok(())), Arc::clone(&again)))
    });
    let start = move || Ok((fake(Box::new(plan), first), about(), load));
    let (inbox, is_ready) = start_with(start, config).expect("a thread");
    let about = Arc::new(wait(is_ready, None).expect("no deadline").expect("a model"));
    (GeneratorHandle { inbox, about }, is_loaded, steps)
}

#[expect(clippy::unnecessary_wraps, reason = "others fail")]
fn sound(_: usize, _: &[String]) -> Result<()> {
    Ok(())
}

/// Every step takes a while, so that texts meet.
#[expect(clippy::unnecessary_wraps, reason = "others fail")]
fn slow(_: usize, _: &[String]) -> Result<()> {
    thread::sleep(Duration::from_millis(1));
    Ok(())
}

fn request(prompt: &str, tokens: usize) -> TextRequest {
    let options = GenerateOptions { max_new_tokens: Some(tokens), ..GenerateOptions::default() };
    TextRequest { options, ..TextRequest::from(prompt) }
}

fn expected(prompt: &str, tokens: usize) -> String {
    prompt.chars().cycle().take(tokens).collect()
}

/// What came of ten texts that were asked for at once.
fn ten(handle: &GeneratorHandle) -> Vec<(String, Result<GenerationResponse>)> {
    let prompts = (0..10).map(|number| expected("abcdefghij", number + 3));
    let streams: Vec<_> =
        prompts.map(|prompt| (handle.stream(request(&prompt, 12)).expect("a place"), prompt)).collect();
    streams.into_iter().map(|(stream, prompt)| (prompt, stream.finish())).collect()
}

fn all_are_right(found: Vec<(String, Result<GenerationResponse>)>) {
    for (prompt, found) in found {
        assert_eq!(found.unwrap_or_else(|e| panic!("{prompt}: {e}")).text, expected(&prompt, 12));
    }
}

fn is_stopped(error: &Error) -> bool {
    matches!(error, Error::InferenceError(InferenceError::Stopped { .. }))
}

#[test]
fn handles_may_go_to_any_thread() {
    fn check<T: Send + Sync + Clone>() {}
    check::<GeneratorHandle>();
    #[cfg(feature = "async")]
    check::<AsyncGeneratorHandle>();
}

#[test]
fn texts_that_meet_are_written_together() {
    let (handle, _, steps) = start(TextsConfig { max_texts: 4, ..TextsConfig::default() }, slow);
    all_are_right(ten(&handle));
    let together = steps.lock().expect("steps").iter().map(|(texts, _)| texts.len()).max();
    assert_eq!(together, Some(4));
}

#[test]
fn prompts_are_read_in_parts_beside_texts_that_are_written() {
    let (handle, _, steps) = start(TextsConfig { read_tokens_beside: 6, ..TextsConfig::default() }, slow);
    let mut short = handle.stream(request("ab", 300)).expect("a place");
    short.next().expect("a piece").expect("a piece");
    let long = "xyz".repeat(30);
    assert_eq!(handle.generate(request(&long, 2)).expect("a text").text, "xy");
    let with_long = steps.lock().expect("steps").iter().filter(|(texts, _)| texts.contains(&long)).count();
    // A share of half of seven tokens.
    assert!(with_long >= 90 / 4, "{with_long} steps");
    drop(short);
}

#[test]
fn a_panic_fails_the_texts_of_its_step_and_later_ones_are_written() {
    let (handle, loaded, steps) = start(TextsConfig { max_texts: 3, ..TextsConfig::default() }, |number, _| {
        assert!(number != 6, "step six");
        slow(number, &[])
    });
    let found = ten(&handle);
    let of_step: Vec<String> = steps.lock().expect("steps")[6].0.clone();
    assert!(!of_step.is_empty());
    for (prompt, found) in found {
        match found {
            Ok(found) => assert_eq!(found.text, expected(&prompt, 12)),
            Err(Error::InferenceError(InferenceError::Panicked { reason })) => {
                assert_eq!((reason.as_str(), of_step.contains(&prompt)), ("step six", true));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(loaded.try_recv().is_err(), "the model was sound");
}

#[test]
fn a_model_that_stays_unsound_is_loaded_again() {
    let fails = |number, _: &[String]| match number {
        0..4 => slow(number, &[]),
        _ => Err(InferenceError::Device { reason: "gone".into() }.into()),
    };
    let (handle, loaded, _) = start(TextsConfig { max_texts: 3, ..TextsConfig::default() }, fails);
    let found = ten(&handle);
    let failed = found.iter().filter(|(_, found)| found.is_err()).count();
    assert!((1..=3).contains(&failed), "{failed} texts failed");
    all_are_right(found.into_iter().filter(|(_, found)| found.is_ok()).collect());
    assert_eq!(loaded.try_iter().count(), 1);
}

#[test]
fn where_memory_runs_out_fewer_texts_are_written_together() {
    let short = |_, texts: &[String]| {
        thread::sleep(Duration::from_millis(1));
        match texts.len() {
            0..3 => Ok(()),
            _ => Err(InferenceError::Device { reason: "out of memory".into() }.into()),
        }
    };
    let (handle, loaded, _) = start(TextsConfig::default(), short);
    all_are_right(ten(&handle));
    assert!(loaded.try_recv().is_err());

    let never = |_, _: &[String]| Err(InferenceError::Device { reason: "out of memory".into() }.into());
    let (handle, ..) = start(TextsConfig::default(), never);
    let error = handle.generate("abc").expect_err("no memory");
    assert!(matches!(error, Error::Oom(_)), "{error}");
}

#[test]
fn each_text_leaves_the_queue_once() {
    let recorder: &'static QueueRecorder = Box::leak(Box::<QueueRecorder>::default());
    let short = move |number, texts: &[String]| {
        if number == 0 {
            // For what the thread does from now on.
            std::mem::forget(metrics::set_default_local_recorder(recorder));
        }
        thread::sleep(Duration::from_millis(1));
        match texts.len() {
            0..3 => Ok(()),
            _ => Err(InferenceError::Device { reason: "out of memory".into() }.into()),
        }
    };
    let (handle, _, steps) = start(TextsConfig::default(), short);
    handle.generate(request("a", 1)).expect("a text");
    all_are_right(ten(&handle));
    assert!(steps.lock().expect("steps").iter().any(|(texts, _)| texts.len() > 2), "none was set back");
    assert_eq!(recorder.queued.times.load(Ordering::Relaxed), 10);
}

#[test]
fn texts_wait_where_keys_and_values_would_be_too_large() {
    let limit = 60 * BYTES as u64;
    let config = TextsConfig { memory_limit: Some(limit), ..TextsConfig::default() };
    let (handle, _, steps) = start(config, slow);
    all_are_right(ten(&handle));
    let steps = steps.lock().expect("steps").clone();
    assert!(steps.iter().all(|(_, bytes)| *bytes <= 60 * BYTES));
    assert!(steps.iter().any(|(texts, _)| texts.len() > 1));

    for text in [request("abc", 100), request(&"abc".repeat(30), 1)] {
        let error = handle.generate(text).expect_err("too large");
        let Error::Oom(OutOfMemory { needed_bytes, limit_bytes, .. }) = error else { panic!("{error}") };
        assert!(needed_bytes > limit_bytes && limit_bytes == Some(limit));
    }
}

#[test]
fn what_is_wrong_with_a_text_fails_it_alone() {
    let (handle, ..) = start(TextsConfig::default(), slow);
    let wrong = ["bad", "worse", "ab!"].map(|prompt| handle.stream(request(prompt, 12)).expect("a place"));
    all_are_right(ten(&handle));
    let [bad, worse, no_token] = wrong.map(|stream| stream.finish().expect_err("wrong"));
    assert!(matches!(&bad, Error::InvalidConfig(error) if error.expected == "a good one"), "{bad}");
    let is = |error: &Error, expected| matches!(error, Error::InferenceError(error) if *error == expected);
    assert!(is(&worse, InferenceError::Panicked { reason: "worse".into() }), "{worse}");
    assert!(is(&no_token, InferenceError::Constraint { reason: "nothing may follow".into() }), "{no_token}");
}

#[test]
fn texts_that_are_not_wanted_any_more_leave() {
    let (handle, _, steps) = start(TextsConfig { max_texts: 1, ..TextsConfig::default() }, slow);
    let mut endless = handle.stream(request("ab", usize::MAX)).expect("a place");
    endless.next().expect("a piece").expect("a piece");

    let late = RequestOptions::default().within(Duration::from_millis(5));
    let error = handle.generate(TextRequest { request: late, ..request("cd", 5) }).expect_err("late");
    assert!(matches!(error, Error::InferenceError(InferenceError::DeadlineExceeded { .. })), "{error}");

    let token = CancelToken::new();
    let cancelled = RequestOptions { cancel: Some(token.clone()), ..RequestOptions::default() };
    let waiting = handle.stream(TextRequest { request: cancelled, ..request("ef", 5) }).expect("a place");
    token.cancel();
    let error = waiting.finish().expect_err("cancelled");
    assert!(matches!(error, Error::InferenceError(InferenceError::Cancelled)), "{error}");

    drop(endless);
    assert_eq!(handle.generate(request("gh", 5)).expect("a text").text, "ghghg");
    assert!(!steps.lock().expect("steps").iter().any(|(texts, _)| texts.contains(&"ef".into())));
}

#[test]
fn a_full_queue_says_so_to_who_does_not_wait() {
    let config = TextsConfig { capacity: 2, max_texts: 1, ..TextsConfig::default() };
    let (handle, ..) = start(config, slow);
    let running = handle.stream(request("ab", usize::MAX)).expect("a place");
    let waiting = handle.stream(request("cd", 5)).expect("a place");
    let hurried = RequestOptions { when_full: WhenFull::Busy, ..RequestOptions::default() };
    let error = handle.stream(TextRequest { request: hurried, ..request("ef", 5) }).expect_err("full");
    assert!(matches!(error, Error::Busy(_)), "{error}");
    drop(running);
    assert_eq!(waiting.finish().expect("a text").text, "cdcdc");
}

#[test]
fn the_urgent_go_first_and_nobody_waits_for_ever() {
    let config = TextsConfig { max_texts: 1, max_wait: Duration::from_millis(500), ..TextsConfig::default() };
    let (handle, _, steps) = start(config, slow);
    let mut running = handle.stream(request("ab", 50)).expect("a place");
    running.next().expect("a piece").expect("a piece");
    let ask = |prompt, priority| {
        let urgency = RequestOptions { priority, ..RequestOptions::default() };
        handle.stream(TextRequest { request: urgency, ..request(prompt, 3) }).expect("a place")
    };
    let texts = [("l", Priority::Low), ("n", Priority::Normal), ("h", Priority::High)]
        .map(|(prompt, priority)| ask(prompt, priority));
    for text in texts.into_iter().chain([running]) {
        text.finish().expect("a text");
    }
    let mut order: Vec<String> = steps.lock().expect("steps").iter().map(|(texts, _)| texts[0].clone()).collect();
    order.dedup();
    assert_eq!(order, ["ab", "h", "n", "l"]);
}

#[test]
fn a_slow_reader_holds_up_nobody_and_loses_nothing() {
    let (handle, ..) = start(TextsConfig::default(), sound);
    let mut slow = handle.stream(request("abc", 1000)).expect("a place");
    let first = slow.next().expect("a piece").expect("a piece");
    all_are_right(ten(&handle));
    let rest: Vec<String> = slow.by_ref().map(|piece| piece.expect("a piece")).collect();
    assert_eq!(first + &rest.concat(), expected("abc", 1000));
    assert_eq!(slow.response().map(|response| response.tokens.len()), Some(1000));
}

#[test]
fn a_thread_that_is_shut_down_answers_what_it_has_or_stops_it() {
    for how in [Shutdown::Drain, Shutdown::Cancel] {
        let (handle, ..) = start(TextsConfig { max_texts: 2, ..TextsConfig::default() }, slow);
        let texts: Vec<_> = (0..6).map(|_| handle.stream(request("abc", 30)).expect("a place")).collect();
        handle.shutdown(how);
        for text in texts {
            match text.finish() {
                Ok(text) => assert_eq!(text.text, expected("abc", 30)),
                Err(error) => assert!(how == Shutdown::Cancel && is_stopped(&error), "{error}"),
            }
        }
        assert!(is_stopped(&handle.generate("abc").expect_err("no thread")));
    }
}

#[test]
fn a_text_outlives_the_handles() {
    let (handle, ..) = start(TextsConfig::default(), slow);
    let text = handle.stream(request("abc", 30)).expect("a place");
    drop(handle);
    assert_eq!(text.finish().expect("a text").text, expected("abc", 30));
}

#[cfg(feature = "async")]
#[test]
fn asynchronous_texts_are_the_same_and_end_when_they_are_dropped() {
    let (handle, ..) = start(TextsConfig { max_texts: 2, ..TextsConfig::default() }, slow);
    let handle = handle.into_async();
    let endless = handle.stream(request("ab", usize::MAX));
    let mut endless = endless;
    let piece =
        wait(std::future::poll_fn(|context| futures_core::Stream::poll_next(Pin::new(&mut endless), context)), None);
    assert!(piece.flatten().expect("a piece").is_ok());
    drop(endless);
    let text = wait(handle.generate(request("abc", 30)), None).expect("no deadline").expect("a text");
    assert_eq!(text.text, expected("abc", 30));
    let error = wait(handle.generate(request("bad", 30)), None).expect("no deadline").expect_err("bad");
    assert!(matches!(&error, Error::InvalidConfig(error) if error.expected == "a good one"), "{error}");
    let _ = wait(handle.shutdown(Shutdown::Drain), None);
}
