//! What each kernel is measured with, by `cargo xtask bench kernels`, beside what the machine can do.
//!
//! A kernel is a row of [`kernels`]. As a test, each runs once on little work; they are measured where `GLLM_ROOFLINE`
//! names a file for the figures.

use std::hint::black_box;
use std::io::Write;
use std::time::Instant;

use gllm_core::Precision;

use super::attention::WholeAttention;
use super::float_linear::FloatLinear;
use super::gate::{Gate, gate};
use super::layer_norm::{Norm, layer_norm};
use super::map::map;
use super::rms_norm::rms_norm;
use super::share::Then;
use crate::Wanted;

/// Floats that no cache holds.
const UNCACHED: usize = 32 << 20;

/// Floats of a row that is normalised or gated.
const WIDTH: usize = 1024;

/// Seconds that a turn takes at least: short work is repeated.
const TURN: f64 = 0.05;

/// What limits a kernel: reading memory, or arithmetic on a kind of numbers.
#[derive(Clone, Copy)]
enum Limit {
    Read,
    F32,
    Bf16,
    Int8,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

/// A kernel at work.
struct Case {
    name: String,
    limit: Limit,
    /// Operations, a product and a sum being two; or bytes.
    work: usize,
    run: Box<dyn FnMut() + Send>,
}

/// All kernels, one after the other; with `scale` times less work than is measured.
fn kernels(scale: usize) -> impl Iterator<Item = Case> {
    let products = [
        (1024, 384, 1152, Then::Nothing),
        (1024, 384, 1536, Then::Gelu),
        (1024, 1536, 384, Then::Nothing),
        (1024, 768, 3072, Then::Gelu),
        (1024, 1024, 4096, Then::Gelu),
        (1024, 4096, 1024, Then::Nothing),
        (16, 384, 1536, Then::Gelu),
        (16, 1024, 4096, Then::Gelu),
    ];
    let products = [Precision::F32, Precision::Bf16, Precision::Int8].into_iter().flat_map(move |precision| {
        products.map(|(rows, inputs, outputs, then)| product(precision, [rows, inputs, outputs], scale, then))
    });
    let attentions = [(1, 16, 12, 32), (32, 128, 12, 32), (32, 128, 12, 64), (8, 512, 16, 64)];
    let attentions =
        attentions.into_iter().map(move |(texts, len, heads, width)| attention([texts, len, heads, width], scale));
    let elements: [fn(usize) -> Case; 4] = [norm, rms, gelu, silu_gate];
    products
        .chain([one_row(scale)])
        .chain(attentions)
        .chain(elements.into_iter().map(move |case| case(UNCACHED / scale)))
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// Runs a kernel in the memory of the last time, as it is in a model.
fn reuse(memory: &mut Vec<f32>, kernel: impl FnOnce(Vec<f32>) -> Vec<f32>) {
    *memory = black_box(kernel(std::mem::take(memory)));
}

fn product(precision: Precision, [rows, inputs, outputs]: [usize; 3], scale: usize, then: Then) -> Case {
    let outputs = outputs / scale;
    let layer = FloatLinear::new((precision, usize::MAX), &numbers(inputs * outputs), Some(&numbers(outputs)), inputs);
    let limit = match layer {
        FloatLinear::F32(_) => Limit::F32,
        FloatLinear::Bf16(_) => Limit::Bf16,
        FloatLinear::Int8(_) => Limit::Int8,
    };
    let x = numbers(rows * inputs);
    let mut y = Vec::new();
    let and = if then == Then::Nothing { "" } else { ", GELU" };
    Case {
        name: format!("{} product, {rows} × {inputs} to {outputs}{and}", limit.name()),
        limit,
        work: 2 * rows * inputs * outputs,
        run: Box::new(move || reuse(&mut y, |y| layer.forward(black_box(&x), then, y))),
    }
}

/// As many layers as no cache holds.
fn one_row(scale: usize) -> Case {
    const SIDE: usize = 2048;
    let outputs = SIDE / scale;
    let layer = FloatLinear::new((Precision::F32, usize::MAX), &numbers(SIDE * outputs), None, SIDE);
    let layers = vec![layer; (2 * UNCACHED / (SIDE * SIDE)).max(1)];
    let x = numbers(SIDE);
    Case {
        name: format!("product, one row, {SIDE} to {outputs}"),
        limit: Limit::Read,
        work: layers.len() * SIDE * outputs * size_of::<f32>(),
        run: Box::new(move || {
            for layer in &layers {
                black_box(layer.forward(black_box(&x), Then::Nothing, Vec::new()));
            }
        }),
    }
}

fn attention([texts, len, n_heads, head_dim]: [usize; 4], scale: usize) -> Case {
    let len = (len / scale).max(1);
    let (width, lengths) = (n_heads * head_dim, vec![len; texts]);
    let qkv = numbers(texts * len * 3 * width);
    let mut out = Vec::new();
    Case {
        name: format!("attention, {texts} × {len} tokens, {n_heads} heads of {head_dim}"),
        limit: Limit::F32,
        work: 4 * texts * len * len * width,
        run: Box::new(move || {
            let (lengths, wanted) = (&lengths[..], Wanted::All);
            let attention =
                WholeAttention { n_heads, head_dim, rotation: None, lengths, reach: None, bias: None, wanted };
            reuse(&mut out, |out| attention.forward(black_box(&qkv), out));
        }),
    }
}

/// A kernel that reads and writes so many arrays of `len` floats.
fn pass(name: &str, arrays: usize, len: usize, run: impl FnMut() + Send + 'static) -> Case {
    Case { name: name.into(), limit: Limit::Read, work: arrays * len * size_of::<f32>(), run: Box::new(run) }
}

fn norm(len: usize) -> Case {
    let (mut x, residual, weight, bias) = (numbers(len), numbers(len), numbers(WIDTH), numbers(WIDTH));
    pass("layer normalisation of a sum", 3, len, move || {
        layer_norm(black_box(&mut x), Some(&residual), Norm { weight: &weight, bias: Some(&bias), eps: 1e-5 });
    })
}

fn rms(len: usize) -> Case {
    let (mut x, weight) = (numbers(len), numbers(WIDTH));
    pass("RMS normalisation", 2, len, move || rms_norm(black_box(&mut x), &weight, 1e-5))
}

fn gelu(len: usize) -> Case {
    let mut x = numbers(len);
    pass("GELU", 2, len, move || map(black_box(&mut x), Then::Gelu))
}

fn silu_gate(len: usize) -> Case {
    let both = numbers(len);
    let mut out = Vec::new();
    pass("SiLU and gate", 1, len + len / 2, move || {
        reuse(&mut out, |out| gate(black_box(&both), WIDTH, Gate::Silu, out));
    })
}

#[test]
fn every_kernel_runs() {
    let Some(path) = std::env::var_os("GLLM_ROOFLINE") else {
        return kernels(16).for_each(|mut case| (case.run)());
    };
    let turns = std::env::var("GLLM_ROOFLINE_TURNS").ok().and_then(|turns| turns.parse().ok()).unwrap_or(1);
    let mut file = std::fs::File::create(path).expect("a file");
    for Case { name, limit, work, mut run } in kernels(1) {
        let mut turn = || {
            let (start, mut times) = (Instant::now(), 0);
            // On a thread of the pool, as a model's layers run one after the other: none waits for a thread to wake.
            rayon::scope(|_| {
                while times == 0 || start.elapsed().as_secs_f64() < TURN {
                    run();
                    times += 1;
                }
            });
            start.elapsed().as_secs_f64() / f64::from(times)
        };
        // The first touches the memory.
        turn();
        let seconds: Vec<f64> = (0..turns).map(|_| turn()).collect();
        let figures = serde_json::json!({
            "name": name, "limit": limit.name(), "work": 1e-9 * work as f64, "seconds": seconds,
        });
        writeln!(file, "{figures}").expect("room for the figures");
    }
}
