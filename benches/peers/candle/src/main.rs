//! candle as a measured program: `cargo xtask bench embed --against candle` compiles and starts it, and asks.
//!
//! Float32 on the CPU, texts sorted by length, batches of 4096 tokens padded to their longest text, pooled and
//! normalised as the model's own pooling says. BERT is the network that it knows.
//!
//! usage: `peer-candle embed MODEL_DIR [--threads N] [--tokens N]`

#[path = "../../../worker.rs"]
mod worker;

use std::cmp::Reverse;
use std::fs;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use serde_json::{Value, json};
use tokenizers::{Tokenizer, TruncationParams};

use worker::{Result, text, timed};

const BATCH_TOKENS: usize = 4096;

struct Encoder {
    model: BertModel,
    tokenizer: Tokenizer,
    takes_first: bool,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, _, folder, rest @ ..] = arguments.as_slice() else {
        return Err("usage: peer-candle embed MODEL_DIR [--threads N] [--tokens N]".into());
    };
    let config: Value = serde_json::from_str(&fs::read_to_string(format!("{folder}/config.json"))?)?;
    if config["model_type"] != "bert" {
        println!("{}", json!({ "skip": "its peer here knows BERT alone" }));
        return Ok(());
    }
    let (load_seconds, encoder) = timed(|| Encoder::load(folder, tokens(rest)?));
    let encoder = encoder?;
    worker::serve(&json!({ "program": "candle 0.11.1", "load_seconds": load_seconds }), |question| {
        match text(question, "task")? {
            "embed" => encoder.answer(question),
            "memory" => Ok(worker::memory()),
            other => Err(format!("there is no task `{other}`").into()),
        }
    })
}

/// The longest text, if it is said; threads are those of the environment.
fn tokens(arguments: &[String]) -> Result<Option<usize>> {
    let mut pairs = arguments.chunks_exact(2);
    let value = pairs.find(|pair| pair[0] == "--tokens").map(|pair| pair[1].parse());
    Ok(value.transpose()?)
}

impl Encoder {
    fn load(folder: &str, tokens: Option<usize>) -> Result<Self> {
        let config: Config = serde_json::from_str(&fs::read_to_string(format!("{folder}/config.json"))?)?;
        let bytes = fs::read(format!("{folder}/model.safetensors"))?;
        let weights = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)?;
        let mut tokenizer = Tokenizer::from_file(format!("{folder}/tokenizer.json"))?;
        tokenizer.with_padding(None);
        let truncation = tokens.map(|max_length| TruncationParams { max_length, ..Default::default() });
        tokenizer.with_truncation(truncation)?;
        let pooling = fs::read_to_string(format!("{folder}/1_Pooling/config.json")).unwrap_or_else(|_| "{}".into());
        let pooling: Value = serde_json::from_str(&pooling)?;
        let takes_first = pooling["pooling_mode_cls_token"] == true;
        Ok(Self { model: BertModel::load(weights, &config)?, tokenizer, takes_first })
    }

    fn answer(&self, question: &Value) -> Result<Value> {
        let all = fs::read_to_string(text(question, "input")?)?;
        let texts: Vec<&str> = all.lines().filter(|line| !line.trim().is_empty()).collect();
        let requests = if question["each"] == true { texts.chunks(1) } else { texts.chunks(texts.len()) };
        let (mut seconds, mut tokens, mut vectors) = (Vec::new(), 0, Vec::new());
        for texts in requests {
            let (taken, embedded) = timed(|| self.embed(texts));
            let (rows, used) = embedded?;
            seconds.push(taken);
            tokens += used;
            vectors.extend(rows);
        }
        if let Some(path) = question["output"].as_str() {
            fs::write(path, vectors.concat().into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())?;
        }
        Ok(json!({ "seconds": seconds, "tokens": tokens }))
    }

    /// The texts' vectors, and their tokens.
    fn embed(&self, texts: &[&str]) -> Result<(Vec<Vec<f32>>, usize)> {
        let encoded = self.tokenizer.encode_batch(texts.to_vec(), true)?;
        let mut sequences: Vec<(usize, &[u32])> = encoded.iter().map(|one| one.get_ids()).enumerate().collect();
        sequences.sort_by_key(|(_, ids)| Reverse(ids.len()));
        let mut vectors = vec![Vec::new(); texts.len()];
        let mut rest = sequences.as_slice();
        while let Some((_, longest)) = rest.first() {
            let (batch, later) = rest.split_at((BATCH_TOKENS / longest.len()).clamp(1, rest.len()));
            for ((place, _), vector) in batch.iter().zip(self.embed_batch(batch)?) {
                vectors[*place] = vector;
            }
            rest = later;
        }
        Ok((vectors, sequences.iter().map(|(_, ids)| ids.len()).sum()))
    }

    fn embed_batch(&self, batch: &[(usize, &[u32])]) -> Result<Vec<Vec<f32>>> {
        let (rows, len) = (batch.len(), batch[0].1.len());
        let (mut ids, mut mask) = (vec![0u32; rows * len], vec![0f32; rows * len]);
        for (row, (_, sequence)) in batch.iter().enumerate() {
            ids[row * len..][..sequence.len()].copy_from_slice(sequence);
            mask[row * len..][..sequence.len()].fill(1.0);
        }
        let ids = Tensor::from_vec(ids, (rows, len), &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, (rows, len), &Device::Cpu)?;
        let hidden = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let pooled = if self.takes_first {
            hidden.narrow(1, 0, 1)?.squeeze(1)?
        } else {
            let mask = mask.unsqueeze(2)?;
            hidden.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?
        };
        Ok(pooled.broadcast_div(&pooled.sqr()?.sum_keepdim(1)?.sqrt()?)?.to_vec2()?)
    }
}
