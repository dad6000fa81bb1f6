//! What a model's files say of how it writes: the settings it was tried with, and the tokens that end its texts.
//!
//! In a folder that is `generation_config.json`, `config.json` and `tokenizer_config.json`; in a GGUF file, its metadata.
//! As in transformers, temperature and the filters of `generation_config.json` count only where `do_sample` is true.
//! (Its `top_k` of 50, where a file says none, isn't taken over: no model's authors chose it.)
//!
//! Files differ in which of a model's ends they name: an instruct model's turn may end with a token that its
//! `config.json` doesn't know. All that are named anywhere count. GGUF files name one or two, so tokens that are known to
//! end a turn count by their names, as in llama.cpp; but only if the file says that they stand for no text.
//!
//! Source: `GenerationConfig` of transformers; `general.sampling` of the `gguf` package; `special_eog_ids` in
//! `llama-vocab.cpp` of llama.cpp.

use std::collections::BTreeSet;
use std::path::Path;

use gllm_core::{LoadError, LoadProblem, Result};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::Metadata;
use serde_json::Value;

use crate::config::{bad_field, read_json};
use crate::sampling::SamplingOptions;
use crate::text::Tokenizer;

/// Tokens that end a turn or a text, in whatever model they are.
const ENDS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// What holds where a request says nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationDefaults {
    /// How tokens are chosen.
    pub sampling: SamplingOptions,
    /// Tokens that end a text.
    pub eos: BTreeSet<u32>,
}

/// A JSON file, for errors about its fields.
struct Fields<'a> {
    path: &'a Path,
    object: Value,
}

impl GenerationDefaults {
    /// Reads what the files of a model say; `tokenizer` is the model's.
    ///
    /// # Errors
    /// [`LoadError`] that names the file and the field that is malformed or out of range.
    pub fn of(files: &WeightFiles, tokenizer: &Tokenizer) -> Result<Self> {
        let mut defaults = match files.metadata() {
            Some(metadata) => Self::from_gguf(metadata, tokenizer)?,
            None => Self::from_folder(files.folder())?,
        };
        defaults.eos.extend(tokenizer.end_id());
        Ok(defaults)
    }

    fn from_folder(folder: &Path) -> Result<Self> {
        let mut defaults = Self::default();
        let config = folder.join("config.json");
        if let Some(fields) = Fields::read(&config)? {
            defaults.eos.extend(fields.ids("eos_token_id")?);
        }
        let generation = folder.join("generation_config.json");
        if let Some(fields) = Fields::read(&generation)? {
            defaults.eos.extend(fields.ids("eos_token_id")?);
            defaults.sampling = fields.sampling()?;
            check(&defaults.sampling, &generation, str::to_owned)?;
        }
        Ok(defaults)
    }

    fn from_gguf(metadata: &Metadata, tokenizer: &Tokenizer) -> Result<Self> {
        let ids = ["eos", "eot", "eom"].map(|end| metadata.u32(&format!("tokenizer.ggml.{end}_token_id")));
        let ids: Vec<Option<u32>> = ids.into_iter().collect::<Result<_>>()?;
        let mut eos: BTreeSet<u32> = ids.into_iter().flatten().collect();
        let named = |name: &str| tokenizer.token_id(name).filter(|id| tokenizer.is_special(*id));
        eos.extend(ENDS.into_iter().filter_map(named));
        // In OpenAI's format of messages `<|end|>` ends a message, and others may follow it in the same turn.
        if let (Some(end), Some(_), Some(_)) = (named("<|end|>"), named("<|return|>"), named("<|call|>")) {
            eos.remove(&end);
        }
        let float = |name: &str| metadata.f32(&format!("general.sampling.{name}"));
        let sampling = SamplingOptions {
            temperature: float("temp")?,
            top_k: metadata.usize("general.sampling.top_k")?,
            top_p: float("top_p")?,
            min_p: float("min_p")?,
            repetition_penalty: float("penalty_repeat")?,
            ..SamplingOptions::default()
        };
        check(&sampling, metadata.path(), |field| {
            let name = match field {
                "temperature" => "temp",
                "repetition_penalty" => "penalty_repeat",
                other => other,
            };
            format!("general.sampling.{name}")
        })?;
        Ok(Self { sampling, eos })
    }
}

/// Whether the settings that `path` has are in range; `key` is how it calls them.
fn check(sampling: &SamplingOptions, path: &Path, key: impl Fn(&str) -> String) -> Result<()> {
    let problem = |e: gllm_core::InvalidConfig| bad_field(&key(&e.field), e.expected, e.found);
    Ok(sampling.check(usize::MAX).map_err(|e| LoadError::new(path, problem(e)))?)
}

impl<'a> Fields<'a> {
    /// The file at `path`; `None` if there is none.
    fn read(path: &'a Path) -> Result<Option<Self>> {
        match read_json(path)? {
            None => Ok(None),
            Some(object @ Value::Object(_)) => Ok(Some(Self { path, object })),
            Some(_) => {
                let reason = "it isn't an object".to_owned();
                Err(LoadError::new(path, LoadProblem::Corrupt { format: "JSON".into(), reason }).into())
            }
        }
    }

    fn sampling(&self) -> Result<SamplingOptions> {
        let penalty =
            SamplingOptions { repetition_penalty: self.float("repetition_penalty")?, ..SamplingOptions::default() };
        if !self.get("do_sample", "true or false", Value::as_bool)?.unwrap_or(false) {
            return Ok(penalty);
        }
        Ok(SamplingOptions {
            temperature: Some(self.float("temperature")?.unwrap_or(1.0)),
            top_k: self.get("top_k", "a whole number, 0 or above", |value| value.as_u64()?.try_into().ok())?,
            top_p: self.float("top_p")?,
            min_p: self.float("min_p")?,
            ..penalty
        })
    }

    /// One id, or several.
    fn ids(&self, field: &str) -> Result<Vec<u32>> {
        let id = |value: &Value| value.as_u64()?.try_into().ok();
        let ids = |value: &Value| match value {
            Value::Array(values) => values.iter().map(id).collect(),
            value => Some(vec![id(value)?]),
        };
        Ok(self.get(field, "a token's id, or a list of them", ids)?.unwrap_or_default())
    }

    fn float(&self, field: &str) -> Result<Option<f32>> {
        self.get(field, "a number", |value| Some(value.as_f64()? as f32))
    }

    /// The value of `field` as `read` has it; `None`, if it is absent or null.
    fn get<T>(&self, field: &str, expected: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<Option<T>> {
        match self.object.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(LoadError::new(self.path, bad_field(field, expected, value)).into()),
            },
        }
    }
}

#[cfg(test)]
mod tests;
