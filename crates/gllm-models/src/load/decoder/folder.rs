//! Decoders in folders: the fields of `config.json` as transformers writes them, in version 5 and before.
//!
//! Source: the configuration classes of transformers; a field that is missing has their default.

use std::path::Path;

use gllm_core::{LoadError, LoadProblem, Result};
use serde::Deserialize;

use super::{DecoderFamily, SUPPORTED};
use crate::config::{MAX_LAYERS, activation, bad_field, local_layers, require_config, unsupported};
use crate::decoder_names::{self as names, DecoderNames};
use crate::load::Task;
use crate::{DecoderBiases, DecoderConfig, ExpertsConfig, RotaryConfig, RotaryPairs, RotaryScaling, SlidingWindow};

type Outcome<T> = std::result::Result<T, LoadProblem>;

#[derive(Deserialize)]
struct File {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    is_causal: Option<bool>,
    use_bidirectional_attention: Option<bool>,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    hidden_act: Option<String>,
    /// Gemma's, which goes before the other where there are both.
    hidden_activation: Option<String>,
    max_position_embeddings: usize,
    #[serde(default = "default_eps")]
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    partial_rotary_factor: Option<f64>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    tie_word_embeddings: Option<bool>,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    query_pre_attn_scalar: Option<f32>,
    num_local_experts: Option<usize>,
    num_experts: Option<usize>,
    num_experts_per_tok: Option<usize>,
    moe_intermediate_size: Option<usize>,
    norm_topk_prob: Option<bool>,
    decoder_sparse_step: Option<usize>,
    mlp_only_layers: Option<Vec<usize>>,
}

/// `rope_scaling`, or what version 5 calls `rope_parameters`.
#[derive(Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the published names")]
struct Rope {
    rope_type: Option<String>,
    /// The older name.
    #[serde(rename = "type")]
    older_type: Option<String>,
    rope_theta: Option<f64>,
    partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<usize>,
    attention_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
}

fn default_eps() -> f64 {
    1e-6
}

pub(super) fn read(folder: &Path) -> Result<DecoderFamily> {
    let (path, file): (_, File) = require_config(folder)?;
    let family = file.family().and_then(|family| family.config.check().map(|()| family));
    family.map_err(|problem| LoadError::new(path, problem).into())
}

impl File {
    fn family(self) -> Outcome<DecoderFamily> {
        let (architecture, names): (&'static str, &'static DecoderNames) = match self.model_type.as_deref() {
            Some("qwen2") => ("qwen2", &names::LLAMA),
            Some("qwen3") => ("qwen3", &names::LLAMA),
            Some("mistral") => ("mistral", &names::LLAMA),
            Some("llama") => ("llama", &names::LLAMA),
            // The second is Gemma-2 under the name that SFR-Embedding-Code-2B_R has for it.
            Some("gemma2" | "codexembed2b") => ("gemma2", &names::GEMMA2),
            Some("qwen3_moe") => ("qwen3_moe", &names::LLAMA),
            Some("mixtral") => ("mixtral", &names::MIXTRAL),
            other => {
                return Err(unsupported("architecture", other.unwrap_or("(no model_type in config.json)"), SUPPORTED));
            }
        };
        if self.num_hidden_layers > MAX_LAYERS {
            return Err(bad_field("num_hidden_layers", format!("at most {MAX_LAYERS}"), self.num_hidden_layers));
        }
        if self.is_causal == Some(false) {
            return Err(unsupported("is_causal", "false", "true: tokens that see those before them only"));
        }
        if self.use_bidirectional_attention == Some(true) {
            return Err(unsupported("use_bidirectional_attention", "true", "false"));
        }
        let class = self.architectures.iter().flatten().next().map(String::as_str);
        let task = Task::of_class(class.unwrap_or_default());
        let is_gemma = architecture == "gemma2";
        // 0 is refused by the check below.
        let heads = self.num_attention_heads.max(1);
        let head_dim = self.head_dim.unwrap_or(if is_gemma { 256 } else { self.hidden_size / heads });
        let default_act = if is_gemma { "gelu_pytorch_tanh" } else { "silu" };
        let scalar = self.query_pre_attn_scalar.unwrap_or(if is_gemma { 256.0 } else { head_dim as f32 });
        let act = self.hidden_activation.as_deref().filter(|_| is_gemma).or(self.hidden_act.as_deref());
        let rotary = self.rotary(if architecture == "mixtral" { 1e6 } else { 10_000.0 })?;
        let config = DecoderConfig {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim,
            intermediate_size: self.intermediate_size,
            activation: activation("hidden_act", act.unwrap_or(default_act))?,
            max_length: rotary.scaling.stretched(self.max_position_embeddings),
            rms_norm_eps: self.rms_norm_eps,
            norm_offset: if is_gemma { 1.0 } else { 0.0 },
            post_norms: is_gemma,
            qk_norm: matches!(architecture, "qwen3" | "qwen3_moe"),
            rotary,
            rotary_pairs: RotaryPairs::Halves,
            biases: DecoderBiases {
                qkv: self.attention_bias || architecture == "qwen2",
                // Mistral has the field, and ignores it.
                attention_output: self.attention_bias && architecture != "qwen2",
                feed_forward: self.mlp_bias && architecture == "llama",
            },
            attention_scale: 1.0 / scalar.sqrt(),
            attention_soft_cap: self.attn_logit_softcapping.filter(|_| is_gemma),
            logits_soft_cap: self.final_logit_softcapping.filter(|_| is_gemma),
            sliding_window: self.sliding_window(architecture)?,
            embedding_scale: if is_gemma { (self.hidden_size as f32).sqrt() } else { 1.0 },
            tied_embeddings: self.tie_word_embeddings.unwrap_or(is_gemma),
            experts: self.experts(architecture)?,
        };
        Ok(DecoderFamily { architecture: architecture.into(), names, config, task })
    }

    fn rotary(&self, default_theta: f64) -> Outcome<RotaryConfig> {
        let rope = self.rope_parameters.clone().or_else(|| self.rope_scaling.clone());
        let theta = rope.as_ref().and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(default_theta);
        let partial = rope.as_ref().and_then(|rope| rope.partial_rotary_factor).or(self.partial_rotary_factor);
        if let Some(partial) = partial.filter(|partial| (*partial - 1.0).abs() > 1e-9) {
            return Err(unsupported("partial_rotary_factor", partial.to_string(), "1"));
        }
        let scaling = rope.map_or(Ok(RotaryScaling::None), |rope| rope.scaling(self.max_position_embeddings))?;
        Ok(RotaryConfig { theta, scaling })
    }

    /// Which blocks see only a window, and how wide it is.
    fn sliding_window(&self, architecture: &str) -> Outcome<Option<SlidingWindow>> {
        let is_qwen = architecture.starts_with("qwen");
        let is_used = self.use_sliding_window.unwrap_or(!is_qwen) && architecture != "llama";
        let Some(size) = self.sliding_window.filter(|_| is_used) else { return Ok(None) };
        let layers = match &self.layer_types {
            Some(types) => local_layers(types, self.num_hidden_layers)?,
            None if is_qwen => {
                let first = self.max_window_layers.unwrap_or(28);
                (0..self.num_hidden_layers).map(|layer| layer >= first).collect()
            }
            None if architecture == "gemma2" => (0..self.num_hidden_layers).map(|layer| layer % 2 == 0).collect(),
            None => vec![true; self.num_hidden_layers],
        };
        Ok(Some(SlidingWindow { size, layers }))
    }

    fn experts(&self, architecture: &str) -> Outcome<Option<ExpertsConfig>> {
        let layers = self.num_hidden_layers;
        match architecture {
            "mixtral" => Ok(Some(ExpertsConfig {
                count: self.num_local_experts.unwrap_or(8),
                per_token: self.num_experts_per_tok.unwrap_or(2),
                intermediate_size: self.intermediate_size,
                normalise: true,
                layers: vec![true; layers],
            })),
            "qwen3_moe" => {
                let step = self.decoder_sparse_step.unwrap_or(1);
                if step == 0 {
                    return Err(bad_field("decoder_sparse_step", "at least 1", step));
                }
                let dense = self.mlp_only_layers.as_deref().unwrap_or_default();
                let is_sparse = |layer: usize| !dense.contains(&layer) && (layer + 1).is_multiple_of(step);
                Ok(Some(ExpertsConfig {
                    count: self.num_experts.or(self.num_local_experts).unwrap_or(128),
                    per_token: self.num_experts_per_tok.unwrap_or(8),
                    intermediate_size: self.moe_intermediate_size.unwrap_or(768),
                    normalise: self.norm_topk_prob.unwrap_or(false),
                    layers: (0..layers).map(is_sparse).collect(),
                }))
            }
            _ => Ok(None),
        }
    }
}

impl Rope {
    fn scaling(&self, max_length: usize) -> Outcome<RotaryScaling> {
        let require = |name: &str, value: Option<f64>| {
            value.ok_or_else(|| bad_field(&format!("rope_scaling.{name}"), "a number", "nothing"))
        };
        let factor = || require("factor", self.factor);
        let trained = self.original_max_position_embeddings.unwrap_or(max_length);
        Ok(match self.rope_type.as_deref().or(self.older_type.as_deref()) {
            None | Some("default") => RotaryScaling::None,
            Some("linear") => RotaryScaling::Linear { factor: factor()? },
            Some("dynamic") => RotaryScaling::DynamicNtk { factor: factor()?, trained: max_length },
            Some("llama3") => RotaryScaling::Llama3 {
                factor: factor()?,
                low_freq_factor: require("low_freq_factor", self.low_freq_factor)?,
                high_freq_factor: require("high_freq_factor", self.high_freq_factor)?,
                trained,
            },
            Some("yarn") => {
                let factor = factor()?;
                let of = |m: f64| RotaryScaling::yarn_attention_factor(factor, m);
                let non_zero = |m: Option<f64>| m.filter(|m| *m != 0.0);
                let inferred = match (non_zero(self.mscale), non_zero(self.mscale_all_dim)) {
                    (Some(m), Some(all)) => of(m) / of(all),
                    _ => of(1.0),
                };
                RotaryScaling::Yarn {
                    factor,
                    attention_factor: self.attention_factor.unwrap_or(inferred),
                    beta_fast: self.beta_fast.unwrap_or(32.0),
                    beta_slow: self.beta_slow.unwrap_or(1.0),
                    truncate: self.truncate.unwrap_or(true),
                    trained,
                }
            }
            Some(other) => return Err(unsupported("rope_type", other, "default, linear, dynamic, llama3, yarn")),
        })
    }
}
