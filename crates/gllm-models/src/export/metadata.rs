//! The metadata of a GGUF file: what it says of the network, key by key.
//!
//! Invariant: a key is written once, with the type that llama.cpp reads it as. Source: `set_gguf_parameters` of
//! llama.cpp's converter, and the keys in `constants.py` of its `gguf-py`.

use std::collections::BTreeMap;
use std::path::Path;

use gllm_core::{LoadError, Result};
use gllm_quant::gguf::{Array, Value};
use serde::Deserialize;

use crate::config::{AttentionPositions, require_config, unsupported};
use crate::modules::Modules;
use crate::sentence::Pooling;
use crate::{Activation, EncoderConfig, PoolingMode};

/// Keys and values, in the order in which they were set.
#[derive(Debug, Default)]
pub(super) struct Entries(Vec<(String, Value)>);

impl Entries {
    /// Keeps the first value of a key that is set twice.
    pub(super) fn set(&mut self, key: &str, value: Value) {
        if !self.0.iter().any(|(other, _)| other == key) {
            self.0.push((key.to_owned(), value));
        }
    }

    pub(super) fn u32(&mut self, key: &str, value: u32) {
        self.set(key, Value::U32(value));
    }

    pub(super) fn i32(&mut self, key: &str, value: i32) {
        self.set(key, Value::I32(value));
    }

    pub(super) fn f32(&mut self, key: &str, value: f32) {
        self.set(key, Value::F32(value));
    }

    pub(super) fn bool(&mut self, key: &str, value: bool) {
        self.set(key, Value::Bool(value));
    }

    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.set(key, Value::String(value.to_owned()));
    }

    pub(super) fn texts(&mut self, key: &str, values: Vec<String>) {
        self.set(key, Value::Array(Array::String(values)));
    }

    pub(super) fn i32s(&mut self, key: &str, values: Vec<i32>) {
        self.set(key, Value::Array(Array::I32(values)));
    }

    pub(super) fn f32s(&mut self, key: &str, values: Vec<f32>) {
        self.set(key, Value::Array(Array::F32(values)));
    }

    pub(super) fn u8s(&mut self, key: &str, values: Vec<u8>) {
        self.set(key, Value::Array(Array::U8(values)));
    }

    /// A size; those of a configuration are checked to be within 32 bits.
    pub(super) fn size(&mut self, key: &str, value: usize) {
        self.u32(key, u32::try_from(value).unwrap_or(u32::MAX));
    }

    /// The whole list.
    pub(super) fn into_inner(self) -> Vec<(String, Value)> {
        self.0
    }
}

/// The fields of `config.json` that an [`EncoderConfig`] doesn't keep.
#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    max_trained_positions: Option<usize>,
    #[serde(default)]
    id2label: BTreeMap<String, String>,
}

/// How long sequences were when nomic-embed-text was trained, where its configuration doesn't say.
const NOMIC_TRAINED: usize = 2048;

/// Writes what llama.cpp needs to know of an encoder that it calls `arch`.
///
/// # Errors
/// [`LoadError`] for an encoder that llama.cpp would compute in another way.
pub(super) fn encoder(folder: &Path, arch: &str, config: &EncoderConfig, entries: &mut Entries) -> Result<()> {
    let (path, file): (_, File) = require_config(folder)?;
    let expected = if arch == "nomic-bert" { "silu" } else { "gelu, gelu_new, gelu_pytorch_tanh" };
    let is_known = match config.activation {
        Activation::Silu => arch == "nomic-bert",
        Activation::Gelu | Activation::GeluTanh => arch == "bert",
        _ => false,
    };
    if !is_known {
        let found = format!("{:?}", config.activation);
        return Err(LoadError::new(path, unsupported("activation in GGUF", found, expected)).into());
    }
    let key = |name: &str| format!("{arch}.{name}");
    let max_length = match config.attention_positions {
        // Beyond the length in training this family stretches its wavelengths, which llama.cpp doesn't.
        AttentionPositions::Rotary(_) => config.max_length.min(file.max_trained_positions.unwrap_or(NOMIC_TRAINED)),
        _ => config.max_length,
    };
    entries.size(&key("block_count"), config.num_hidden_layers);
    entries.size(&key("context_length"), max_length);
    entries.size(&key("embedding_length"), config.hidden_size);
    entries.size(&key("feed_forward_length"), config.intermediate_size);
    entries.size(&key("attention.head_count"), config.num_attention_heads);
    if let AttentionPositions::Rotary(rotary) = config.attention_positions {
        entries.f32(&key("rope.freq_base"), rotary.theta as f32);
    }
    entries.f32(&key("attention.layer_norm_epsilon"), config.layer_norm_eps as f32);
    entries.bool(&key("attention.causal"), false);
    entries.size("tokenizer.ggml.token_type_count", config.token_types.map_or(1, |types| types.rows));
    Ok(())
}

/// Writes how tokens become a vector.
///
/// # Errors
/// [`LoadError`] for what GGUF has no word for: other poolings than three, and layers behind the pooling.
pub(super) fn pooling(folder: &Path, arch: &str, entries: &mut Entries) -> Result<()> {
    let mode = match Modules::read(folder)? {
        // As sentence-transformers reads such a folder.
        None => PoolingMode::Mean,
        Some(modules) => {
            for module in &modules.after_encoder {
                if !["Pooling", "Normalize"].contains(&module.name()) {
                    let problem = unsupported("sentence module in GGUF", module.class.as_str(), "Pooling, Normalize");
                    return Err(LoadError::new(&modules.path, problem).into());
                }
            }
            let Some(module) = modules.after_encoder.iter().find(|module| module.name() == "Pooling") else {
                let problem = unsupported("modules", "no Pooling", "Transformer, Pooling, Normalize");
                return Err(LoadError::new(&modules.path, problem).into());
            };
            let pooling = Pooling::read(&module.folder)?;
            match pooling.modes.as_slice() {
                [mode] => *mode,
                _ => {
                    return Err(
                        LoadError::new(pooling.path, unsupported("pooling in GGUF", "several", POOLINGS)).into()
                    );
                }
            }
        }
    };
    let number = match mode {
        PoolingMode::Mean => 1,
        PoolingMode::Cls => 2,
        PoolingMode::LastToken => 3,
        PoolingMode::Max | PoolingMode::MeanSqrtLen => {
            let problem = unsupported("pooling in GGUF", format!("{mode:?}"), POOLINGS);
            return Err(LoadError::new(folder, problem).into());
        }
    };
    entries.u32(&format!("{arch}.pooling_type"), number);
    Ok(())
}

const POOLINGS: &str = "mean, cls, lasttoken";

/// Writes the labels of a classifier.
pub(super) fn labels(folder: &Path, arch: &str, entries: &mut Entries) -> Result<()> {
    let (_, file): (_, File) = require_config(folder)?;
    let mut labels: Vec<_> =
        file.id2label.into_iter().filter_map(|(id, label)| Some((id.parse::<u32>().ok()?, label))).collect();
    labels.sort_unstable();
    if !labels.is_empty() {
        let labels = labels.into_iter().map(|(_, label)| label).collect();
        entries.texts(&format!("{arch}.classifier.output_labels"), labels);
    }
    Ok(())
}
