//! Times products on packed weights, beside what the machine could do at most and beside llama.cpp.
//!
//! `cargo xtask bench matmul [--against llama.cpp] [--json] [--chart FILE.svg]`. One row is a step of a decoder: there
//! are as many copies of a matrix as keep it out of the caches, and bytes count as they are in the file. Rounds of the
//! two programs take turns.

mod chart;
mod limits;
mod peer;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use gllm_quant::{BlockType, QLinear, QTensor, blocks};
use serde::Serialize;

use peer::LlamaCpp;

/// Bytes that no cache holds.
const CACHES: usize = 256 << 20;

#[derive(Parser)]
struct Arguments {
    /// Block types, such as `Q4_K,Q8_0`.
    #[arg(long, value_delimiter = ',', default_values = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"])]
    types: Vec<String>,
    /// Shapes of weights, outputs × inputs.
    #[arg(long, value_delimiter = ',', default_values = ["896x896", "4864x896", "896x4864", "4096x4096", "11008x4096", "4096x11008"])]
    shapes: Vec<String>,
    /// Rows of activations.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 512])]
    rows: Vec<usize>,
    /// The median of so many rounds counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A program to compare with.
    #[arg(long, value_enum)]
    against: Option<Against>,
    /// The Python that has `llama-cpp-python` and `numpy`.
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Print JSON only.
    #[arg(long)]
    json: bool,
    /// Draw the figures.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Against {
    #[value(name = "llama.cpp")]
    LlamaCpp,
}

/// What the machine can do, with all threads.
#[derive(Serialize)]
struct Limits {
    threads: usize,
    read_gb_per_second: f64,
    /// `None` on a processor whose peak isn't known how to measure.
    int8_gop_per_second: Option<f64>,
}

/// A product's figures.
#[derive(Serialize)]
struct Figures {
    of: String,
    outputs: usize,
    inputs: usize,
    rows: usize,
    gop_per_second: f64,
    gb_per_second: f64,
    /// Of what limits it: reading for one row, arithmetic for many.
    share_of_limit: Option<f64>,
    llama_cpp_gop_per_second: Option<f64>,
    /// gllm's speed divided by llama.cpp's: the median of the rounds' ratios.
    ratio: Option<f64>,
}

#[derive(Serialize)]
struct Report {
    limits: Limits,
    products: Vec<Figures>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let threads = std::thread::available_parallelism()?.get();
    let mut peer = match arguments.against {
        Some(Against::LlamaCpp) => Some(LlamaCpp::start(&arguments.python, threads)?),
        None => None,
    };
    let limits =
        Limits { threads, read_gb_per_second: limits::read(threads), int8_gop_per_second: limits::int8(threads) };
    let mut report = Report { limits, products: Vec::new() };
    for of in &arguments.types {
        let of = BlockType::from_name(of).ok_or_else(|| format!("`{of}` is no block type"))?;
        for shape in &arguments.shapes {
            let [outputs, inputs] = parse_shape(shape)?;
            if !inputs.is_multiple_of(of.block_len()) {
                continue;
            }
            for &rows in &arguments.rows {
                let figures = measure(&arguments, &report.limits, peer.as_mut(), of, [outputs, inputs, rows])?;
                eprintln!("{of} {outputs} × {inputs}, {rows} rows: {:.0} Gop/s", figures.gop_per_second);
                report.products.push(figures);
            }
        }
    }
    if let Some(path) = &arguments.chart {
        std::fs::write(path, chart::draw(&report)?)?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_table(&report);
    }
    Ok(())
}

fn parse_shape(shape: &str) -> Result<[usize; 2], Box<dyn std::error::Error>> {
    let (outputs, inputs) = shape.split_once('x').ok_or_else(|| format!("`{shape}` is not OUTPUTSxINPUTS"))?;
    Ok([outputs.parse()?, inputs.parse()?])
}

fn measure(
    arguments: &Arguments,
    limits: &Limits,
    mut peer: Option<&mut LlamaCpp>,
    of: BlockType,
    [outputs, inputs, rows]: [usize; 3],
) -> Result<Figures, Box<dyn std::error::Error>> {
    let values: Vec<f32> = (0..outputs * inputs).map(|i| noise(i as u32)).collect();
    let bytes = blocks::quantize(of, &values)?;
    let size = bytes.len();
    let tensor = QTensor::new(of, [outputs, inputs], bytes.into())?;
    let layer = QLinear::new(&tensor, None).ok_or_else(|| format!("{of} has no kernel"))?;
    let copies = if rows == 1 { CACHES.div_ceil(size) } else { 1 };
    let layers = vec![layer; copies];
    let x: Vec<f32> = (0..rows * inputs).map(|i| noise(i as u32 ^ 0x5555)).collect();
    // On a thread of the pool, as a model's layers run one after the other: none waits for a thread to wake.
    let ours = || {
        let start = Instant::now();
        rayon::scope(|_| {
            for layer in &layers {
                std::hint::black_box(layer.forward(std::hint::black_box(&x)));
            }
        });
        start.elapsed().as_secs_f64() / layers.len() as f64
    };
    let (mut seconds, mut others, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..arguments.rounds.max(1) {
        // Each program's turn begins with a product that doesn't count: the caches were the other's.
        ours();
        let ours = ours();
        seconds.push(ours);
        if let Some(other) = peer.as_mut().map(|peer| peer.seconds(of, [outputs, inputs, rows])).transpose()?.flatten()
        {
            others.push(other);
            ratios.push(other / ours);
        }
    }
    let seconds = median(seconds).ok_or("no round")?;
    let gop = 2e-9 * (outputs * inputs * rows) as f64;
    let gb_per_second = 1e-9 * size as f64 / seconds;
    let share_of_limit = if rows == 1 {
        Some(gb_per_second / limits.read_gb_per_second)
    } else {
        limits.int8_gop_per_second.map(|limit| gop / seconds / limit)
    };
    Ok(Figures {
        of: of.to_string(),
        outputs,
        inputs,
        rows,
        gop_per_second: gop / seconds,
        gb_per_second,
        share_of_limit,
        llama_cpp_gop_per_second: median(others).map(|seconds| gop / seconds),
        ratio: median(ratios),
    })
}

/// Between -1 and 1, the same on every run.
fn noise(i: u32) -> f32 {
    let mixed = (i ^ (i >> 15)).wrapping_mul(0x2c1b_3c6d);
    let mixed = (mixed ^ (mixed >> 12)).wrapping_mul(0x297a_2d39);
    (mixed >> 8) as f32 / (1_u32 << 23) as f32 - 1.0
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn print_table(report: &Report) {
    let Limits { threads, read_gb_per_second, int8_gop_per_second } = &report.limits;
    let int8 = int8_gop_per_second.map_or_else(|| "not measured".to_owned(), |limit| format!("{limit:.0} Gop/s"));
    println!("{threads} threads; limits: reading {read_gb_per_second:.1} GB/s, int8 {int8}\n");
    println!("| type | outputs × inputs | rows | Gop/s | GB/s | of the limit | llama.cpp, Gop/s | ratio |");
    println!("|---|---|---|---|---|---|---|---|");
    let shown = |value: Option<f64>, digits: usize| value.map_or_else(String::new, |value| format!("{value:.digits$}"));
    for figures in &report.products {
        let share = figures.share_of_limit.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0));
        println!(
            "| {} | {} × {} | {} | {:.0} | {:.1} | {share} | {} | {} |",
            figures.of,
            figures.outputs,
            figures.inputs,
            figures.rows,
            figures.gop_per_second,
            figures.gb_per_second,
            shown(figures.llama_cpp_gop_per_second, 0),
            shown(figures.ratio, 2),
        );
    }
}
