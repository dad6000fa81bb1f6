//! What is measured in one process, as `benches/peers/llama_generate.py` does it for llama.cpp.

use std::path::Path;
use std::time::Instant;

use gllm_models::device::open;
use gllm_models::{GeneratorModel, KvCache, Step};
use serde::{Deserialize, Serialize};

/// Tokens of the prompt that is read, and behind which tokens are written.
const PROMPT: usize = 512;
/// Tokens that an engine reads at once.
const READ_TOKENS: usize = 256;

/// Tokens that are written.
const WRITTEN: usize = 64;

/// Tokens of the prompt whose first answer is waited for.
const SHORT_PROMPT: usize = 16;

/// Tokens in the context when the memory is taken.
const CONTEXT: usize = 1024;

/// Each is measured so often, after once for nothing; the median counts.
const TIMES: usize = 3;

/// The figures of one process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measures {
    load_seconds: f64,
    /// Tokens a second.
    prefill: f64,
    /// Tokens a second.
    decode: f64,
    first_token_ms: f64,
    peak_memory_mb: f64,
}

/// A row of the table.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) of: fn(&Measures) -> f64,
    pub(crate) decimals: usize,
    pub(crate) more_is_better: bool,
}

pub(crate) const MEASURES: [Measure; 5] = [
    Measure { name: "reading 512 tokens, tokens/s", of: |m| m.prefill, decimals: 1, more_is_better: true },
    Measure { name: "writing 64 tokens behind 512, tokens/s", of: |m| m.decode, decimals: 1, more_is_better: true },
    Measure { name: "first token behind 16, ms", of: |m| m.first_token_ms, decimals: 1, more_is_better: false },
    Measure { name: "loading, s", of: |m| m.load_seconds, decimals: 2, more_is_better: false },
    Measure { name: "peak memory at 1024 tokens, MB", of: |m| m.peak_memory_mb, decimals: 0, more_is_better: false },
];

impl Measures {
    /// Measures gllm with the model at `path`, on the CPU.
    pub(crate) fn of_gllm(path: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let device = open("cpu".parse()?)?;
        let start = Instant::now();
        let model = GeneratorModel::load(path, &device.device)?;
        let load_seconds = start.elapsed().as_secs_f64();
        let ids: Vec<u32> = (0..CONTEXT).map(|index| ((index * 7919 + 13) % 30_000) as u32).collect();

        let read = |cache: &mut KvCache, tokens: &[u32]| -> Result<(), Box<dyn std::error::Error>> {
            let last = tokens.len().saturating_sub(1) / READ_TOKENS * READ_TOKENS;
            for tokens in tokens[..last].chunks(READ_TOKENS) {
                model.forward(&mut [Step { tokens, cache }])?;
            }
            let hidden = model.forward(&mut [Step { tokens: &tokens[last..], cache }])?;
            let [rows, width] = hidden.dims();
            model.logits(hidden.slice([rows - 1..rows, 0..width])).try_into_data()?;
            Ok(())
        };
        let measured = |prompt: &[u32], written: &[u32]| -> Result<(f64, f64), Box<dyn std::error::Error>> {
            let mut cache = model.new_cache();
            let start = Instant::now();
            read(&mut cache, prompt)?;
            let prompt_seconds = start.elapsed().as_secs_f64();
            for id in written {
                read(&mut cache, &[*id])?;
            }
            Ok((prompt_seconds, start.elapsed().as_secs_f64() - prompt_seconds))
        };
        let median = |prompt: &[u32], written: &[u32]| -> Result<(f64, f64), Box<dyn std::error::Error>> {
            measured(prompt, written)?;
            let times = (0..TIMES).map(|_| measured(prompt, written)).collect::<Result<Vec<_>, _>>()?;
            let (prompts, rests): (Vec<f64>, Vec<f64>) = times.into_iter().unzip();
            Ok((super::median(&prompts), super::median(&rests)))
        };
        let (first_token, _) = median(&ids[..SHORT_PROMPT], &[])?;
        let (prefill, decode) = median(&ids[..PROMPT], &ids[PROMPT..PROMPT + WRITTEN])?;
        let mut cache = model.new_cache();
        for tokens in ids.chunks(PROMPT) {
            read(&mut cache, tokens)?;
        }
        Ok(Self {
            load_seconds,
            prefill: PROMPT as f64 / prefill,
            decode: WRITTEN as f64 / decode,
            first_token_ms: first_token * 1e3,
            peak_memory_mb: peak_memory_mb().ok_or("this system doesn't say how much memory a process has had")?,
        })
    }
}

/// The most memory that the process has had resident, where the system says.
fn peak_memory_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok().map(|kib| kib / 1024.0)
}
