//! Times a handle beside the client that it does the same work as: many callers with a text each against one batch, a lone
//! caller against a direct call, and how long 1,000 waiting futures keep a current-thread executor busy.
//!
//! `cargo xtask bench handles --corpus FILE [--json]`: a corpus is a text a line.

use std::cell::Cell;
use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use gllm::{AsyncEmbedderHandle, Client, ClientConfig, Device, EmbedderHandle, HandleConfig, QueueConfig, Result};
use serde_json::json;

/// Between two turns of the task that watches an executor.
const TICK: Duration = Duration::from_millis(1);

#[derive(Parser)]
struct Arguments {
    /// Alias, `org/name` or folder of an embedding model.
    #[arg(long, default_value = "all-MiniLM-L6-v2")]
    model: String,
    /// File with a text a line; empty lines are left out.
    #[arg(long)]
    corpus: PathBuf,
    /// auto, cpu, gpu or gpu:N.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// Threads that ask for a text each.
    #[arg(long, default_value_t = 16)]
    threads: usize,
    /// Times the whole corpus is embedded each way, in turns; the medians count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Texts that are timed one by one each way, in turns.
    #[arg(long, default_value_t = 200)]
    singles: usize,
    /// Most tokens of a pass.
    #[arg(long)]
    batch_tokens: Option<usize>,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let text = std::fs::read_to_string(&arguments.corpus)?;
    let texts: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let client = ClientConfig { device: arguments.device, ..ClientConfig::from_env()? };
    let queue = QueueConfig::default();
    let queue = QueueConfig { batch_tokens: arguments.batch_tokens.unwrap_or(queue.batch_tokens), ..queue };
    let direct = Arc::new(Client::with_config(&arguments.model, client.clone())?);
    let handle = EmbedderHandle::with_config(&arguments.model, HandleConfig { client, queue })?;

    direct.embeddings(texts.iter().take(32).copied()).generate()?;
    handle.embed_batch(&texts[..texts.len().min(32)])?;
    let (mut batch, mut callers) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds.max(1) {
        batch.push(timed(|| direct.embeddings(texts.iter().copied()).generate().map(drop))?);
        callers.push(timed(|| from_threads(&handle, &texts, arguments.threads))?);
    }
    let (mut alone, mut asked) = (Vec::new(), Vec::new());
    for text in texts.iter().take(arguments.singles.max(1)) {
        alone.push(timed(|| direct.embeddings([*text]).generate().map(drop))?);
        asked.push(timed(|| handle.embed(text).map(drop))?);
    }
    let turn = Rc::new(Cell::new(Duration::ZERO));
    let delay = worst_delay(a_thousand_futures(&handle.clone().into_async(), &texts, &turn))?;
    let delay_without = worst_delay(a_batch_elsewhere(&direct, &texts))?;

    let per_second = |seconds: f64| texts.len() as f64 / seconds;
    let (batch, callers) = (percentile(batch, 50), percentile(callers, 50));
    let report = json!({
        "model": direct.info().repo_id,
        "device": direct.device(),
        "texts": texts.len(),
        "threads": arguments.threads,
        "direct_texts_per_second": per_second(batch),
        "handle_texts_per_second": per_second(callers),
        "handle_over_direct": batch / callers,
        "direct_single_p50_ms": percentile(alone.clone(), 50) * 1e3,
        "handle_single_p50_ms": percentile(asked.clone(), 50) * 1e3,
        "direct_single_p95_ms": percentile(alone, 95) * 1e3,
        "handle_single_p95_ms": percentile(asked, 95) * 1e3,
        "futures_longest_turn_ms": turn.get().as_secs_f64() * 1e3,
        "executor_worst_delay_ms": delay.milliseconds(|time| time.whole),
        "executor_worst_delay_on_a_core_ms": delay.milliseconds(|time| time.on_a_core),
        "executor_worst_delay_without_futures_ms": delay_without.milliseconds(|time| time.whole),
        "executor_worst_delay_without_futures_on_a_core_ms": delay_without.milliseconds(|time| time.on_a_core),
    });
    if arguments.json {
        println!("{report:#}");
        return Ok(());
    }
    println!("| measure | value |\n|---|---|");
    for (measure, value) in report.as_object().into_iter().flatten() {
        match value.as_f64() {
            Some(number) if value.is_f64() => println!("| {measure} | {number:.2} |"),
            _ => println!("| {measure} | {value} |"),
        }
    }
    Ok(())
}

/// Embeds `texts` from as many threads, each with a text at a time.
fn from_threads(handle: &EmbedderHandle, texts: &[&str], threads: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let ask = || {
            while let Some(text) = texts.get(next.fetch_add(1, Ordering::Relaxed)) {
                handle.embed(text)?;
            }
            Ok(())
        };
        let callers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(ask)).collect();
        callers.into_iter().try_for_each(|caller| caller.join().unwrap_or(Ok(())))
    })
}

/// A time on one thread.
#[derive(Clone, Copy, Default)]
struct Span {
    /// By the clock.
    whole: Duration,
    /// Without the time in which the thread was ready and the system gave the cores to others. The same as the whole
    /// where the system doesn't tell (Linux does).
    on_a_core: Duration,
}

impl Span {
    fn beyond(self, allowed: Duration) -> Self {
        Self { whole: self.whole.saturating_sub(allowed), on_a_core: self.on_a_core.saturating_sub(allowed) }
    }
}

/// Measures a [`Span`].
struct Stopwatch {
    start: Instant,
    waited: Duration,
}

impl Stopwatch {
    fn start() -> Self {
        Self { waited: waited_for_a_core(), start: Instant::now() }
    }

    fn stop(self) -> Span {
        let whole = self.start.elapsed();
        Span { whole, on_a_core: whole.saturating_sub(waited_for_a_core().saturating_sub(self.waited)) }
    }
}

/// The time that this thread was ready and waited for a core, since it began (Documentation/scheduler/sched-stats).
fn waited_for_a_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').nth(1).and_then(|waited| waited.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
}

/// The longest of some spans, each way of measuring by itself.
#[derive(Clone, Default)]
struct Worst(Rc<Cell<Span>>);

impl Worst {
    fn see(&self, span: Span) {
        let Span { whole, on_a_core } = self.0.get();
        self.0.set(Span { whole: whole.max(span.whole), on_a_core: on_a_core.max(span.on_a_core) });
    }

    fn milliseconds(&self, of: fn(Span) -> Duration) -> f64 {
        of(self.0.get()).as_secs_f64() * 1e3
    }
}

/// How late a task that wakes after each [`TICK`] is at worst, on the same thread as `work`.
fn worst_delay(work: impl Future<Output = Result<()>>) -> Result<Worst> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let (worst, is_over) = (Worst::default(), Rc::new(Cell::new(false)));
    let tasks = tokio::task::LocalSet::new();
    tasks.spawn_local({
        let (worst, is_over) = (worst.clone(), Rc::clone(&is_over));
        async move {
            while !is_over.get() {
                let tick = Stopwatch::start();
                tokio::time::sleep(TICK).await;
                worst.see(tick.stop().beyond(TICK));
            }
        }
    });
    runtime.block_on(tasks.run_until(work))?;
    is_over.set(true);
    runtime.block_on(tasks);
    Ok(worst)
}

/// 1,000 futures that wait for an answer each. The longest turn that one has on the executor goes to `longest`.
async fn a_thousand_futures(handle: &AsyncEmbedderHandle, texts: &[&str], longest: &Rc<Cell<Duration>>) -> Result<()> {
    let futures = texts.iter().cycle().take(1000).map(|text| {
        let (handle, text, longest) = (handle.clone(), (*text).to_owned(), Rc::clone(longest));
        tokio::task::spawn_local(async move {
            let mut answer = pin!(handle.embed(&text));
            poll_fn(|context| {
                let start = Instant::now();
                let state = answer.as_mut().poll(context);
                longest.set(longest.get().max(start.elapsed()));
                state
            })
            .await
            .map(drop)
        })
    });
    for future in futures.collect::<Vec<_>>() {
        future.await.unwrap_or(Ok(()))?;
    }
    Ok(())
}

/// The same work on another thread, for which this one only waits: what the system alone keeps it from.
async fn a_batch_elsewhere(direct: &Arc<Client>, texts: &[&str]) -> Result<()> {
    let texts: Vec<String> = texts.iter().cycle().take(1000).map(|&text| text.to_owned()).collect();
    let (direct, (told, is_over)) = (Arc::clone(direct), tokio::sync::oneshot::channel());
    std::thread::spawn(move || told.send(direct.embeddings(texts).generate().map(drop)));
    is_over.await.unwrap_or(Ok(()))
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work().map(|()| start.elapsed().as_secs_f64())
}

/// The smallest value that `percent` of the values don't exceed.
fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100).saturating_sub(1)]
}
