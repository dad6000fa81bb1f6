//! Products on packed weights as a measured program, and what the machine can do at most: `cargo xtask bench` asks.
//!
//! One row is a step of a decoder: there are as many copies of a matrix as keep it out of the caches.

mod limits;
#[path = "../../../../benches/worker.rs"]
mod worker;

use std::hint::black_box;

use gllm_quant::{BlockType, QLinear, QTensor, blocks};
use serde_json::{Value, json};

use worker::{Result, text, timed};

/// Bytes that no cache holds.
const CACHES: usize = 256 << 20;

/// Seconds that a turn takes at least: others use the memory, too, from one moment to the next.
const TURN: f64 = 0.1;

fn main() -> Result<()> {
    // A case is a few hundred megabytes: the last one alone is kept.
    let mut last: Option<Case> = None;
    worker::serve(&json!({ "program": concat!("gllm ", env!("CARGO_PKG_VERSION")) }), |question| {
        match text(question, "task")? {
            "limits" => limits::all(rayon::current_num_threads()),
            "limit" => Ok(json!({ "limit": limits::one(text(question, "of")?, rayon::current_num_threads())? })),
            "product" => {
                let case = match last.take() {
                    Some(case) if case.question == *question => case,
                    _ => Case::new(question)?,
                };
                let case = last.insert(case);
                Ok(json!({ "seconds": [case.seconds()], "bytes": case.bytes }))
            }
            other => Err(format!("there is no task `{other}`").into()),
        }
    })
}

/// A layer, and rows for it.
struct Case {
    question: Value,
    layers: Vec<QLinear>,
    x: Vec<f32>,
    /// Memory of the results, which a model keeps from step to step.
    y: Vec<f32>,
    /// Of the layer's blocks.
    bytes: usize,
}

impl Case {
    fn new(question: &Value) -> Result<Self> {
        let number = |field: &str| question[field].as_u64().map(|number| number as usize).ok_or("no size");
        let (outputs, inputs, rows) = (number("outputs")?, number("inputs")?, number("rows")?);
        let name = text(question, "of")?;
        let of = BlockType::from_name(name).ok_or_else(|| format!("`{name}` is no block type"))?;
        let values: Vec<f32> = (0..outputs * inputs).map(|i| noise(i as u32)).collect();
        let blocks = blocks::quantize(of, &values)?;
        let bytes = blocks.len();
        let tensor = QTensor::new(of, [outputs, inputs], blocks.into())?;
        let layer = QLinear::new(&tensor, None).ok_or_else(|| format!("{of} has no kernel"))?;
        let copies = if rows == 1 { CACHES.div_ceil(bytes) } else { 1 };
        let x = (0..rows * inputs).map(|i| noise(i as u32 ^ 0x5555)).collect();
        Ok(Self { question: question.clone(), layers: vec![layer; copies], x, y: Vec::new(), bytes })
    }

    /// Seconds of one product.
    fn seconds(&mut self) -> f64 {
        // On a thread of the pool, as a model's layers run one after the other: none waits for a thread to wake.
        let seconds = mean(|| {
            rayon::scope(|_| {
                for layer in &self.layers {
                    let y = std::mem::take(&mut self.y);
                    self.y = black_box(QLinear::forward_together(&[layer], black_box(&self.x), y));
                }
            });
        });
        seconds / self.layers.len() as f64
    }
}

/// Seconds of `work`, done again and again for a turn.
fn mean(mut work: impl FnMut()) -> f64 {
    let (mut seconds, mut times) = (0.0, 0);
    while seconds < TURN {
        seconds += timed(&mut work).0;
        times += 1;
    }
    seconds / f64::from(times)
}

/// Between -1 and 1, the same on every run.
fn noise(i: u32) -> f32 {
    let mixed = (i ^ (i >> 15)).wrapping_mul(0x2c1b_3c6d);
    let mixed = (mixed ^ (mixed >> 12)).wrapping_mul(0x297a_2d39);
    (mixed >> 8) as f32 / (1_u32 << 23) as f32 - 1.0
}
