//! Decoders in GGUF: the configuration by keys that start with the architecture's name.
//!
//! What no key says is the family's own, or is seen from the tensors: which layers have a bias, and whether the
//! embeddings give the logits too.
//!
//! Source: `convert_hf_to_gguf.py` and `src/models` of llama.cpp (<https://github.com/ggml-org/llama.cpp>).

use gllm_core::Result;
use gllm_quant::WeightFiles;
use gllm_quant::gguf::Metadata;

use super::{DecoderFamily, IN_GGUF};
use crate::config::{MAX_LAYERS, bad_field, unsupported};
use crate::decoder_names;
use crate::load::Task;
use crate::load::gguf_file::{ARCHITECTURE, CLASSIFIER, GgufNetwork};
use crate::{
    Activation, DecoderBiases, DecoderConfig, ExpertsConfig, RotaryConfig, RotaryPairs, RotaryScaling, SlidingWindow,
};

pub(super) fn read(files: &WeightFiles, metadata: &Metadata) -> Result<DecoderFamily> {
    let file = GgufNetwork::new(files, metadata)?;
    let Some(name) = IN_GGUF.into_iter().find(|name| *name == file.architecture) else {
        let problem = unsupported(ARCHITECTURE, file.architecture, &IN_GGUF.join(", "));
        return Err(file.error(problem).into());
    };
    let config = file.decoder()?;
    config.check().map_err(|problem| file.error(problem))?;
    let architecture = match (name, &config.experts) {
        ("qwen3moe", _) => "qwen3_moe",
        ("llama", Some(_)) => "mixtral",
        (name, _) => name,
    };
    let task = if files.contains(CLASSIFIER) { Task::Classification } else { Task::CausalLm };
    Ok(DecoderFamily { architecture: architecture.into(), names: &decoder_names::GGUF, config, task })
}

impl GgufNetwork<'_> {
    fn decoder(&self) -> Result<DecoderConfig> {
        let is_gemma = self.architecture == "gemma2";
        let causal = self.key("attention.causal");
        if self.metadata.bool(&causal)? == Some(false) {
            let supported = "true: tokens that see those before them only";
            return Err(self.error(unsupported(&causal, "false", supported)).into());
        }
        let vocab_size = self.vocab_size()?;
        let (hidden_size, num_attention_heads) = (self.size("embedding_length")?, self.size("attention.head_count")?);
        let num_hidden_layers = self.size("block_count")?;
        if num_hidden_layers > MAX_LAYERS {
            let problem = bad_field(&self.key("block_count"), format!("at most {MAX_LAYERS}"), num_hidden_layers);
            return Err(self.error(problem).into());
        }
        let head_dim = match self.metadata.usize(&self.key("attention.key_length"))? {
            Some(width) => width,
            None => hidden_size / num_attention_heads,
        };
        let value_width = self.key("attention.value_length");
        if let Some(found) = self.metadata.usize(&value_width)?.filter(|width| *width != head_dim) {
            return Err(self.error(unsupported(&value_width, found.to_string(), "that of the keys")).into());
        }
        let partial = self.key("rope.dimension_count");
        if let Some(found) = self.metadata.usize(&partial)?.filter(|width| *width != head_dim) {
            return Err(self.error(unsupported(&partial, found.to_string(), &head_dim.to_string())).into());
        }
        let kv_heads = self.metadata.usize(&self.key("attention.head_count_kv"))?;
        // The largest Gemma-2 has another factor than its head's width.
        let scaled_width =
            if is_gemma && num_hidden_layers == 46 { hidden_size / num_attention_heads } else { head_dim };
        Ok(DecoderConfig {
            vocab_size,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads: kv_heads.unwrap_or(num_attention_heads),
            head_dim,
            intermediate_size: self.size("feed_forward_length")?,
            activation: if is_gemma { Activation::GeluTanh } else { Activation::Silu },
            max_length: self.size("context_length")?,
            rms_norm_eps: self.metadata.require_f32(&self.key("attention.layer_norm_rms_epsilon"))?.into(),
            norm_offset: 0.0,
            post_norms: is_gemma,
            qk_norm: self.files.contains("blk.0.attn_q_norm.weight"),
            rotary: self.rotary()?,
            rotary_pairs: if self.architecture == "llama" { RotaryPairs::Neighbours } else { RotaryPairs::Halves },
            biases: DecoderBiases {
                qkv: self.files.contains("blk.0.attn_q.bias"),
                attention_output: self.files.contains("blk.0.attn_output.bias"),
                feed_forward: self.files.contains("blk.0.ffn_up.bias"),
            },
            attention_scale: 1.0 / (scaled_width as f32).sqrt(),
            attention_soft_cap: self.metadata.f32(&self.key("attn_logit_softcapping"))?,
            logits_soft_cap: self.metadata.f32(&self.key("final_logit_softcapping"))?,
            sliding_window: self.sliding_window(num_hidden_layers)?,
            embedding_scale: if is_gemma { (hidden_size as f32).sqrt() } else { 1.0 },
            tied_embeddings: !self.files.contains("output.weight"),
            experts: self.experts(num_hidden_layers)?,
        })
    }

    fn rotary(&self) -> Result<RotaryConfig> {
        let number = |name: &str| -> Result<Option<f64>> { Ok(self.metadata.f32(&self.key(name))?.map(f64::from)) };
        let theta = number("rope.freq_base")?.unwrap_or(10_000.0);
        let kind = self.key("rope.scaling.type");
        let factor = number("rope.scaling.factor")?;
        let scaling = match (self.metadata.string(&kind)?, factor) {
            (None, None) | (Some("none"), _) => RotaryScaling::None,
            (Some("linear") | None, Some(factor)) => RotaryScaling::Linear { factor },
            (Some("yarn"), Some(factor)) => {
                let trained = self.metadata.usize(&self.key("rope.scaling.original_context_length"))?;
                // Both as llama.cpp takes them: beside its own factor, not in place of it.
                let scale = number("rope.scaling.attn_factor")?.unwrap_or(1.0)
                    * number("rope.scaling.yarn_attn_factor")?.unwrap_or(1.0);
                RotaryScaling::Yarn {
                    factor,
                    attention_factor: scale * RotaryScaling::yarn_attention_factor(factor, 1.0),
                    beta_fast: number("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                    beta_slow: number("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                    truncate: true,
                    trained: match trained {
                        Some(trained) => trained,
                        None => self.size("context_length")?,
                    },
                }
            }
            (Some(found), _) => {
                let problem = unsupported(&kind, found, "none, linear, yarn, with a factor");
                return Err(self.error(problem).into());
            }
        };
        Ok(RotaryConfig { theta, scaling })
    }

    fn sliding_window(&self, layers: usize) -> Result<Option<SlidingWindow>> {
        let Some(size) = self.metadata.usize(&self.key("attention.sliding_window"))? else { return Ok(None) };
        // Files of Mistral 7B 0.1 name the window too; llama.cpp, which they are made for, doesn't read it there.
        if self.architecture != "gemma2" || size == 0 {
            return Ok(None);
        }
        Ok(Some(SlidingWindow { size, layers: (0..layers).map(|layer| layer % 2 == 0).collect() }))
    }

    fn experts(&self, layers: usize) -> Result<Option<ExpertsConfig>> {
        let Some(count) = self.metadata.usize(&self.key("expert_count"))?.filter(|count| *count > 0) else {
            return Ok(None);
        };
        let width = self.metadata.usize(&self.key("expert_feed_forward_length"))?;
        Ok(Some(ExpertsConfig {
            count,
            per_token: self.size("expert_used_count")?,
            intermediate_size: match width {
                Some(width) => width,
                None => self.size("feed_forward_length")?,
            },
            normalise: true,
            layers: (0..layers).map(|layer| self.files.contains(&format!("blk.{layer}.ffn_gate_inp.weight"))).collect(),
        }))
    }
}
