//! Reading prompts and writing behind them, as `benches/peers/llama_generate.py` does it for llama.cpp.
//!
//! Tokens are read and computed as an engine does it, but chosen by nobody: no sampler and no tokenizer is timed.

use gllm::hub::{HubConfig, ModelId, Store};
use gllm_models::device::open;
use gllm_models::{GeneratorModel, KvCache, Step};
use serde_json::{Value, json};

use crate::hello;
use crate::worker::{self, Result, text, timed};

/// Tokens that an engine reads at once.
const READ_TOKENS: usize = 256;

/// Loads the model, and answers.
pub(crate) fn serve(model: &str) -> Result<()> {
    let path = Store::new(HubConfig::from_env()?).fetch(&ModelId::parse(model)?, &mut ())?;
    let device = open("cpu".parse()?)?;
    let (load_seconds, model) = timed(|| GeneratorModel::load(&path, &device.device));
    let model = model?;
    worker::serve(&hello(&path, load_seconds), |question| match text(question, "task")? {
        "write" => write(&model, question),
        "memory" => Ok(worker::memory()),
        other => Err(format!("there is no task `{other}`").into()),
    })
}

/// Seconds to read `prompt` tokens, and to write as many as `written` behind them: `times`, after once for nothing.
fn write(model: &GeneratorModel, question: &Value) -> Result<Value> {
    let number = |field: &str| question[field].as_u64().unwrap_or_default() as usize;
    let (prompt, written) = (number("prompt"), number("written"));
    let vocabulary = model.config().vocab_size;
    let ids: Vec<u32> =
        (0..prompt + written).map(|index| ((index * 7919 + 13) % vocabulary.min(30_000)) as u32).collect();
    let (mut read_seconds, mut seconds) = (Vec::new(), Vec::new());
    for time in 0..=number("times") {
        let mut cache = model.new_cache();
        let (taken, outcome) = timed(|| read(model, &mut cache, &ids[..prompt]));
        outcome?;
        let (taken_to_write, outcome) =
            timed(|| ids[prompt..].iter().try_for_each(|id| read(model, &mut cache, &[*id])));
        outcome?;
        if time > 0 {
            read_seconds.push(taken);
            seconds.push(taken_to_write);
        }
    }
    Ok(json!({ "read_seconds": read_seconds, "seconds": seconds }))
}

/// Reads tokens, and has the logits behind the last.
fn read(model: &GeneratorModel, cache: &mut KvCache, tokens: &[u32]) -> Result<()> {
    let last = tokens.len().saturating_sub(1) / READ_TOKENS * READ_TOKENS;
    for tokens in tokens[..last].chunks(READ_TOKENS) {
        model.forward(&mut [Step { tokens, cache }])?;
    }
    let hidden = model.forward(&mut [Step { tokens: &tokens[last..], cache }])?;
    let [rows, width] = hidden.dims();
    model.logits(hidden.slice([rows - 1..rows, 0..width])).try_into_data()?;
    Ok(())
}
