//! Times candle over a corpus, as `cargo xtask bench embed` times gllm: float32 on the CPU, texts cut at 256
//! tokens, sorted by length, batches of 4096 tokens padded to their longest text, mean pooling, normalised.
//!
//! usage: `peer-candle MODEL_DIR CORPUS [ROUNDS=3]`

use std::cmp::Reverse;
use std::error::Error;
use std::fs;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{Tokenizer, TruncationParams};

const MAX_LENGTH: usize = 256;
const BATCH_TOKENS: usize = 4096;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, model_dir, corpus, rest @ ..] = arguments.as_slice() else {
        return Err("usage: peer-candle MODEL_DIR CORPUS [ROUNDS]".into());
    };
    let rounds: usize = rest.first().map_or(Ok(3), |n| n.parse())?;

    let config: Config = serde_json::from_str(&fs::read_to_string(format!("{model_dir}/config.json"))?)?;
    let bytes = fs::read(format!("{model_dir}/model.safetensors"))?;
    let weights = VarBuilder::from_buffered_safetensors(bytes, DType::F32, &Device::Cpu)?;
    let model = BertModel::load(weights, &config)?;
    let mut tokenizer = Tokenizer::from_file(format!("{model_dir}/tokenizer.json"))?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(Some(TruncationParams { max_length: MAX_LENGTH, ..Default::default() }))?;

    let text = fs::read_to_string(corpus)?;
    let texts: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    for _ in 0..rounds {
        let start = Instant::now();
        let mut sequences: Vec<Vec<u32>> =
            tokenizer.encode_batch(texts.clone(), true)?.iter().map(|encoding| encoding.get_ids().to_vec()).collect();
        sequences.sort_by_key(|ids| Reverse(ids.len()));
        let mut rest = sequences.as_slice();
        while let Some(longest) = rest.first() {
            let rows = (BATCH_TOKENS / longest.len()).clamp(1, rest.len());
            let (batch, later) = rest.split_at(rows);
            embed(&model, batch)?;
            rest = later;
        }
        println!("candle: {:.1} texts/s", texts.len() as f64 / start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn embed(model: &BertModel, batch: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
    let (rows, len) = (batch.len(), batch[0].len());
    let (mut ids, mut mask) = (vec![0u32; rows * len], vec![0f32; rows * len]);
    for (row, sequence) in batch.iter().enumerate() {
        ids[row * len..][..sequence.len()].copy_from_slice(sequence);
        mask[row * len..][..sequence.len()].fill(1.0);
    }
    let ids = Tensor::from_vec(ids, (rows, len), &Device::Cpu)?;
    let mask = Tensor::from_vec(mask, (rows, len), &Device::Cpu)?;
    let hidden = model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
    let mask = mask.unsqueeze(2)?;
    let mean = hidden.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?)?;
    Ok(mean.broadcast_div(&mean.sqr()?.sum_keepdim(1)?.sqrt()?)?.to_vec2()?)
}
