//! Times a model over a corpus: texts and tokens a second in bulk, latency of single texts, peak memory.
//!
//! `cargo xtask bench embed --model all-MiniLM-L6-v2 --corpus FILE [--json]`: a corpus is a text a line.

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use gllm::{Client, ClientConfig, Device, Precision};
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    /// Alias, `org/name` or folder.
    #[arg(long, default_value = "all-MiniLM-L6-v2")]
    model: String,
    /// File with a text a line; empty lines are left out.
    #[arg(long)]
    corpus: PathBuf,
    /// auto, cpu, gpu or gpu:N.
    #[arg(long, default_value = "cpu")]
    device: Device,
    /// auto, f32, bf16 or int8.
    #[arg(long, default_value = "auto")]
    precision: Precision,
    /// Longest input in tokens.
    #[arg(long)]
    max_length: Option<usize>,
    /// Most tokens computed at once.
    #[arg(long)]
    batch_tokens: Option<usize>,
    /// Times the whole corpus is embedded; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Texts that are timed one by one.
    #[arg(long, default_value_t = 200)]
    singles: usize,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let text = std::fs::read_to_string(&arguments.corpus)?;
    let texts: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let config = ClientConfig { device: arguments.device, precision: arguments.precision, ..ClientConfig::from_env()? };
    let start = Instant::now();
    let client = Client::with_config(&arguments.model, config)?;
    let load_seconds = start.elapsed().as_secs_f64();

    let embed = |texts: &[&str]| {
        let mut request = client.embeddings(texts.iter().copied());
        if let Some(tokens) = arguments.max_length {
            request = request.max_length(tokens);
        }
        if let Some(tokens) = arguments.batch_tokens {
            request = request.batch_tokens(tokens);
        }
        request.generate()
    };
    let timed = |texts: &[&str]| {
        let start = Instant::now();
        embed(texts).map(|response| (start.elapsed().as_secs_f64(), response.usage.total_tokens))
    };
    embed(&texts[..texts.len().min(32)])?;

    let rounds = (0..arguments.rounds.max(1)).map(|_| timed(&texts)).collect::<Result<Vec<_>, _>>()?;
    let tokens = rounds[0].1;
    let seconds = percentile(rounds.iter().map(|round| round.0).collect(), 50);
    let singles = texts.iter().take(arguments.singles.max(1)).map(|text| timed(&[text]));
    let singles: Vec<f64> = singles.map(|round| round.map(|(seconds, _)| seconds)).collect::<Result<_, _>>()?;

    let report = json!({
        "model": client.info().repo_id,
        "device": client.device(),
        "precision": arguments.precision,
        "texts": texts.len(),
        "tokens": tokens,
        "load_seconds": load_seconds,
        "texts_per_second": texts.len() as f64 / seconds,
        "tokens_per_second": tokens as f64 / seconds,
        "single_text_p50_ms": percentile(singles.clone(), 50) * 1e3,
        "single_text_p95_ms": percentile(singles, 95) * 1e3,
        "peak_memory_mb": peak_memory_mb(),
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

/// The smallest value that `percent` of the values don't exceed.
fn percentile(mut values: Vec<f64>, percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent).div_ceil(100).saturating_sub(1)]
}

/// The most memory that the process has had resident, where the system says.
fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}
