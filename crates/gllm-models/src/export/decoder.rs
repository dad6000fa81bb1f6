//! Decoders: Qwen2, Qwen3, and Llama with Mistral, which llama.cpp counts as one.
//!
//! Nothing else of gllm knows them yet, so their configuration and names are here. Source: `Qwen2Model`, `Qwen3Model`
//! and `LlamaModel` of llama.cpp's converter; `LlamaConfig` of transformers, whose defaults hold here.

use std::f32::consts::TAU;
use std::path::Path;

use gllm_core::{LoadError, LoadProblem, Result};
use gllm_quant::WeightFiles;
use serde::Deserialize;

use super::metadata::{self, Entries};
use super::mixture::{FileType, ModelSize};
use super::tensors::{Pair, Planned, Rows, plan};
use crate::config::{bad_field, require_config, unsupported};

/// What `config.json` calls a family, what llama.cpp does, and whether its queries and keys are rotated in pairs of
/// neighbours there, not in halves.
const FAMILIES: [(&str, &str, bool); 4] =
    [("qwen2", "qwen2", false), ("qwen3", "qwen3", false), ("llama", "llama", true), ("mistral", "llama", true)];

/// A layer's place in checkpoints and in GGUF, and whether each model has it.
const TOP: [(&str, &str, bool); 3] =
    [("model.embed_tokens", "token_embd", true), ("model.norm", "output_norm", true), ("lm_head", "output", false)];
const BLOCK: [(&str, &str, bool); 11] = [
    ("input_layernorm", "attn_norm", true),
    ("self_attn.q_proj", "attn_q", true),
    ("self_attn.k_proj", "attn_k", true),
    ("self_attn.v_proj", "attn_v", true),
    ("self_attn.o_proj", "attn_output", true),
    ("self_attn.q_norm", "attn_q_norm", false),
    ("self_attn.k_norm", "attn_k_norm", false),
    ("post_attention_layernorm", "ffn_norm", true),
    ("mlp.gate_proj", "ffn_gate", true),
    ("mlp.up_proj", "ffn_up", true),
    ("mlp.down_proj", "ffn_down", true),
];

/// `config.json`.
#[derive(Debug, Deserialize)]
struct File {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    #[serde(default)]
    num_key_value_heads: Option<usize>,
    #[serde(default)]
    head_dim: Option<usize>,
    intermediate_size: usize,
    max_position_embeddings: usize,
    #[serde(default = "silu")]
    hidden_act: String,
    rms_norm_eps: f64,
    #[serde(default)]
    rope_theta: Option<f64>,
    #[serde(default, alias = "rope_parameters")]
    rope_scaling: Option<Rope>,
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default)]
    is_causal: Option<bool>,
}

/// How wavelengths are stretched; since transformers 5, also their base.
#[derive(Clone, Debug, Default, Deserialize)]
struct Rope {
    #[serde(default, rename = "rope_type", alias = "type")]
    kind: Option<String>,
    #[serde(default, rename = "rope_theta")]
    theta: Option<f64>,
    #[serde(default)]
    factor: Option<f64>,
    #[serde(default)]
    low_freq_factor: Option<f64>,
    #[serde(default)]
    high_freq_factor: Option<f64>,
    #[serde(default)]
    original_max_position_embeddings: Option<u32>,
}

fn silu() -> String {
    "silu".into()
}

/// A decoder that can be written.
pub(super) struct Decoder {
    pub(super) arch: &'static str,
    is_interleaved: bool,
    file: File,
}

impl Decoder {
    /// The model in `folder`, if it is called `model_type` and that is a decoder.
    ///
    /// # Errors
    /// [`LoadError`] that names the field that is out of range or not supported.
    pub(super) fn read(folder: &Path, model_type: &str) -> Result<Option<Self>> {
        let Some((_, arch, is_interleaved)) = FAMILIES.into_iter().find(|(name, ..)| *name == model_type) else {
            return Ok(None);
        };
        let (path, file): (_, File) = require_config(folder)?;
        file.check().map_err(|problem| LoadError::new(path, problem))?;
        Ok(Some(Self { arch, is_interleaved, file }))
    }

    /// What `config.json` calls the families.
    pub(super) fn supported() -> String {
        FAMILIES.map(|(name, ..)| name).join(", ")
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.file.vocab_size
    }

    /// What to write for the checkpoint `files`.
    ///
    /// # Errors
    /// [`LoadError`] for a tensor that is missing or has another type than weights have.
    pub(super) fn tensors(&self, files: &WeightFiles, of: FileType) -> Result<Vec<Planned>> {
        // A model without its head is saved without the name of what the head stands on.
        let root = if files.contains("model.embed_tokens.weight") { "" } else { "model." };
        let is_there = |name: &str| files.contains(&format!("{name}.weight"));
        let pair = |from: String, to: String, rows| {
            let from = from.strip_prefix(root).unwrap_or(&from).to_owned();
            Pair { from, to, rows }
        };
        let mut pairs = Vec::new();
        for (from, to, is_required) in TOP {
            if is_required || is_there(from) {
                pairs.push(pair(from.into(), to.into(), Rows::From(0)));
            }
        }
        for layer in 0..self.file.num_hidden_layers {
            for (inner, to, is_required) in BLOCK {
                let pair = pair(format!("model.layers.{layer}.{inner}"), format!("blk.{layer}.{to}"), self.rows(to));
                if is_required || is_there(&pair.from) {
                    pairs.push(pair);
                }
            }
        }
        let model = ModelSize {
            layers: self.file.num_hidden_layers,
            heads: self.file.num_attention_heads,
            kv_heads: self.file.kv_heads(),
            is_tied: !is_there("lm_head"),
        };
        let mut tensors = plan(&pairs, files, of, model)?;
        let words = tensors.iter().find(|tensor| tensor.name == "token_embd.weight");
        let expected = vec![self.file.vocab_size, self.file.hidden_size];
        if let Some(words) = words.filter(|words| words.shape != expected) {
            let problem =
                LoadProblem::Shape { tensor: "embed_tokens.weight".into(), expected, found: words.shape.clone() };
            return Err(LoadError::new(files.folder(), problem).into());
        }
        tensors.extend(self.file.rope_factors().map(|factors| Planned::values("rope_freqs.weight", factors)));
        Ok(tensors)
    }

    fn rows(&self, to: &str) -> Rows {
        match to {
            "attn_q" if self.is_interleaved => Rows::Interleaved { heads: self.file.num_attention_heads },
            "attn_k" if self.is_interleaved => Rows::Interleaved { heads: self.file.kv_heads() },
            _ => Rows::From(0),
        }
    }

    /// Writes the keys of the network.
    ///
    /// # Errors
    /// As [`metadata::pooling`], for a model that has one.
    pub(super) fn metadata(&self, folder: &Path, entries: &mut Entries) -> Result<()> {
        let Self { arch, file, .. } = self;
        let key = |name: &str| format!("{arch}.{name}");
        entries.size(&key("block_count"), file.num_hidden_layers);
        entries.size(&key("context_length"), file.max_position_embeddings);
        entries.size(&key("embedding_length"), file.hidden_size);
        entries.size(&key("feed_forward_length"), file.intermediate_size);
        entries.size(&key("attention.head_count"), file.num_attention_heads);
        entries.size(&key("attention.head_count_kv"), file.kv_heads());
        entries.f32(&key("attention.layer_norm_rms_epsilon"), file.rms_norm_eps as f32);
        entries.f32(&key("rope.freq_base"), file.theta() as f32);
        if file.is_causal == Some(false) {
            entries.bool(&key("attention.causal"), false);
        }
        // Where it doesn't follow from other sizes, or its family always states it.
        if file.head_dim.is_some() || *arch != "qwen2" {
            entries.size(&key("attention.key_length"), file.head_dim());
            entries.size(&key("attention.value_length"), file.head_dim());
        }
        if *arch == "llama" {
            entries.size(&key("vocab_size"), file.vocab_size);
            entries.size(&key("rope.dimension_count"), file.head_dim());
        }
        let rope = file.rope_scaling.clone().unwrap_or_default();
        if let (Some(kind @ ("linear" | "yarn")), Some(factor)) = (rope.kind.as_deref(), rope.factor) {
            entries.text(&key("rope.scaling.type"), kind);
            entries.f32(&key("rope.scaling.factor"), factor as f32);
            if kind == "yarn"
                && let Some(trained) = rope.original_max_position_embeddings
            {
                entries.u32(&key("rope.scaling.original_context_length"), trained);
            }
        }
        if folder.join("modules.json").is_file() {
            metadata::pooling(folder, arch, entries)?;
        }
        Ok(())
    }
}

impl File {
    fn check(&self) -> std::result::Result<(), LoadProblem> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.kv_heads()),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("head_dim", self.head_dim()),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size == 0 || *size > u32::MAX as usize) {
            return Err(bad_field(name, format!("1 to {}", u32::MAX), size));
        }
        if self.hidden_act != "silu" {
            return Err(unsupported("hidden_act", self.hidden_act.as_str(), "silu"));
        }
        if self.use_sliding_window {
            return Err(unsupported("use_sliding_window", "true", "false"));
        }
        match self.rope_scaling.as_ref().and_then(|rope| rope.kind.as_deref()) {
            None | Some("default" | "linear" | "yarn" | "llama3") => Ok(()),
            Some(other) => Err(unsupported("rope_type", other, "default, linear, yarn, llama3")),
        }
    }

    fn kv_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn theta(&self) -> f64 {
        let stated = self.rope_scaling.as_ref().and_then(|rope| rope.theta);
        stated.or(self.rope_theta).unwrap_or(10_000.0)
    }

    /// By how much Llama 3 stretches each wavelength; `[head_dim / 2]`. Source: `_compute_llama3_parameters` of
    /// transformers, in single precision as there.
    fn rope_factors(&self) -> Option<Vec<f32>> {
        let rope = self.rope_scaling.as_ref().filter(|rope| rope.kind.as_deref() == Some("llama3"))?;
        let or = |stated: Option<f64>, other: f32| stated.map_or(other, |stated| stated as f32);
        let trained = rope.original_max_position_embeddings.unwrap_or(8192) as f32;
        let (factor, low, high) = (or(rope.factor, 8.0), or(rope.low_freq_factor, 1.0), or(rope.high_freq_factor, 4.0));
        let head_dim = self.head_dim();
        let stretched = |pair: usize| {
            let frequency = 1.0 / (self.theta() as f32).powf((2 * pair) as f32 / head_dim as f32);
            let wavelength = TAU / frequency;
            if wavelength < trained / high {
                1.0
            } else if wavelength > trained / low {
                factor
            } else {
                let smooth = (trained / wavelength - low) / (high - low);
                1.0 / ((1.0 - smooth) / factor + smooth)
            }
        };
        Some((0..head_dim / 2).map(stretched).collect())
    }
}
