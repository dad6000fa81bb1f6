//! gllm as a measured program: `cargo xtask bench` starts it, as it starts the peers, and asks.
//!
//! `worker TASK MODEL [--tokens N] [--device DEVICE]`, where the task is `embed`, `rerank` or `generate`.

mod encode;
mod generate;
#[path = "../../../../benches/worker.rs"]
mod worker;

use clap::{Parser, ValueEnum};
use gllm::Device;
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    task: Task,
    /// Alias, `org/name`, folder or GGUF file.
    model: String,
    /// Longest input in tokens.
    #[arg(long)]
    tokens: Option<usize>,
    #[arg(long, default_value = "cpu")]
    device: Device,
}

#[derive(Clone, Copy, ValueEnum)]
enum Task {
    Embed,
    Rerank,
    Generate,
}

fn main() -> worker::Result<()> {
    // Cargo adds `--bench` where it starts this itself.
    let arguments = Arguments::parse_from(std::env::args().filter(|argument| argument != "--bench"));
    match arguments.task {
        Task::Embed | Task::Rerank => encode::serve(&arguments),
        Task::Generate => generate::serve(&arguments.model),
    }
}

/// What a loaded program says of itself.
fn hello(model: &std::path::Path, load_seconds: f64) -> serde_json::Value {
    json!({
        "program": concat!("gllm ", env!("CARGO_PKG_VERSION")),
        "model": model,
        "load_seconds": load_seconds,
        "features": features(),
    })
}

/// The instruction sets that kernels choose by, as this process finds them.
fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(target_arch = "aarch64")]
    let found = [
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: [(&str, bool); 0] = [];
    found.into_iter().filter_map(|(name, has)| has.then_some(name)).collect()
}
