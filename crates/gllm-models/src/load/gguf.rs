//! Encoders in GGUF: the family by `general.architecture`, its configuration by keys that start with that name.
//!
//! A file speaks for itself: whatever else lies in its folder isn't read. What no key says is the family's own: the
//! non-linearity, which layers have a bias, and that a table of positions starts behind RoBERTa's padding token, since
//! the converter cuts it there; so a padding token that stands in a text takes a position like any other. Counts that
//! no key gives are the shapes of tensors.
//!
//! Source: `convert_hf_to_gguf.py` and `src/models` of llama.cpp (<https://github.com/ggml-org/llama.cpp>).

use gllm_core::{LoadError, Result};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::Metadata;

use super::gguf_file::{ARCHITECTURE, CLASSIFIER, GgufNetwork, rows};
use super::{Family, Task, decoder};
use crate::config::{
    AttentionPositions, Biases, ClassifierConfig, LearnedPositions, LocalAttention, NormOrder, TokenTypes, activation,
    bad_field, unsupported,
};
use crate::names;
use crate::{Activation, EncoderConfig, PoolingMode, RotaryConfig, RotaryScaling};

const TOKEN_TYPES: &str = "token_types.weight";
const GATE: &str = "blk.0.ffn_gate.weight";

/// Reads the family and configuration of an encoder from the metadata and the tensors' shapes.
pub(super) fn read(files: &WeightFiles, metadata: &Metadata) -> Result<Family> {
    let file = GgufNetwork::new(files, metadata)?;
    let (architecture, names, config) = match file.architecture {
        "bert" => ("bert", &names::GGUF_BERT, file.bert()?),
        "nomic-bert" => ("nomic_bert", &names::GGUF_NOMIC_BERT, file.nomic_bert()?),
        "jina-bert-v2" => {
            let names = if files.contains(GATE) { &names::GGUF_GATED } else { &names::GGUF_PACKED_GATE };
            ("jina_bert", names, file.jina_bert()?)
        }
        "modern-bert" => ("modernbert", &names::GGUF_MODERNBERT, file.modernbert()?),
        other => {
            let encoders = "bert (RoBERTa and XLM-RoBERTa among them), nomic-bert, jina-bert-v2, modern-bert";
            let supported = format!("{encoders}, {}", decoder::IN_GGUF.join(", "));
            return Err(file.error(unsupported(ARCHITECTURE, other, &supported)).into());
        }
    };
    config.check().map_err(|problem| file.error(problem))?;
    let task = if files.contains(CLASSIFIER) { Task::Classification } else { Task::None };
    Ok(Family { architecture: architecture.into(), names, config, task })
}

/// How the file pools hidden states; a file that doesn't say does as a folder without `modules.json` does.
///
/// # Errors
/// [`LoadError`] for a way to pool that isn't supported.
pub(crate) fn pooling(metadata: &Metadata) -> Result<PoolingMode> {
    let key = format!("{}.pooling_type", metadata.require_string(ARCHITECTURE)?);
    match metadata.u32(&key)? {
        None | Some(1) => Ok(PoolingMode::Mean),
        Some(2) => Ok(PoolingMode::Cls),
        Some(3) => Ok(PoolingMode::LastToken),
        Some(other) => {
            let problem = unsupported(&key, other.to_string(), "1 (mean), 2 (the first token), 3 (the last token)");
            Err(LoadError::new(metadata.path(), problem).into())
        }
    }
}

/// How many labels the file's classifier has.
pub(crate) fn labels(files: &WeightFiles) -> usize {
    rows(files, CLASSIFIER).unwrap_or(0)
}

impl GgufNetwork<'_> {
    /// BERT and the families that differ from it only in their tokenizers.
    fn bert(&self) -> Result<EncoderConfig> {
        let (rows, config) = (self.size("context_length")?, self.encoder()?);
        Ok(EncoderConfig { learned_positions: Some(LearnedPositions { rows, padding: None }), ..config })
    }

    fn nomic_bert(&self) -> Result<EncoderConfig> {
        let scaling = self.key("rope.scaling.type");
        if let Some(found) = self.metadata.string(&scaling)?.filter(|kind| *kind != "none") {
            return Err(self.error(unsupported(&scaling, found, "none")).into());
        }
        let theta = self.metadata.f32(&self.key("rope.freq_base"))?.map_or(10_000.0, f64::from);
        let rotary = RotaryConfig { theta, scaling: RotaryScaling::None };
        Ok(EncoderConfig {
            activation: Activation::Silu,
            attention_positions: AttentionPositions::Rotary(rotary),
            biases: Biases { norm: true, qkv: false, attention_output: false, up: false, down: false },
            ..self.encoder()?
        })
    }

    fn jina_bert(&self) -> Result<EncoderConfig> {
        for found in ["blk.0.attn_q_norm.weight", "blk.0.attn_norm_2.weight"] {
            if self.files.contains(found) {
                let supported = "JinaBERT as in jina-embeddings-v2-base-en, without norms of queries and keys";
                return Err(self.error(unsupported("tensor", found, supported)).into());
            }
        }
        Ok(EncoderConfig {
            attention_positions: AttentionPositions::Alibi,
            biases: Biases { up: false, ..Biases::ALL },
            ..self.encoder()?
        })
    }

    fn modernbert(&self) -> Result<EncoderConfig> {
        let rotary = |name| -> Result<RotaryConfig> {
            let theta = self.metadata.require_f32(&self.key(name))?.into();
            Ok(RotaryConfig { theta, scaling: RotaryScaling::None })
        };
        let (window, every) = (self.size("attention.sliding_window")?, self.size("attention.sliding_window_pattern")?);
        let (global, local) = (rotary("rope.freq_base")?, rotary("rope.freq_base_swa")?);
        let hidden_act = self.key("hidden_activation");
        let activation = match self.metadata.string(&hidden_act)? {
            Some(name) => activation(&hidden_act, name).map_err(|problem| self.error(problem))?,
            None => Activation::Gelu,
        };
        let pooling = self.key("classifier.pooling_type");
        let pooling = match self.metadata.u32(&pooling)? {
            None | Some(1) => PoolingMode::Mean,
            Some(2) => PoolingMode::Cls,
            Some(other) => {
                return Err(self
                    .error(unsupported(&pooling, other.to_string(), "1 (mean), 2 (the first token)"))
                    .into());
            }
        };
        let bias = self.files.contains("cls.bias");
        let config = self.encoder()?;
        // Few enough to make a list of: a file has tensors for each.
        let n_blocks = config.num_hidden_layers.min(self.files.names().count());
        let layers = (0..n_blocks).map(|layer| !layer.is_multiple_of(every)).collect();
        Ok(EncoderConfig {
            activation,
            attention_positions: AttentionPositions::Rotary(global),
            local_attention: Some(LocalAttention { reach: window / 2, rotary: local, layers }),
            norm_order: NormOrder::Pre,
            biases: Biases { norm: false, qkv: false, attention_output: false, up: false, down: false },
            classifier: ClassifierConfig { pooling, activation: Activation::Gelu, bias },
            ..config
        })
    }

    /// What all have in common, without positions.
    fn encoder(&self) -> Result<EncoderConfig> {
        let causal = self.key("attention.causal");
        if self.metadata.bool(&causal)? == Some(true) {
            return Err(self.error(unsupported(&causal, "true", "false: an encoder")).into());
        }
        let vocab_size = self.vocab_size()?;
        let (hidden_size, num_attention_heads) = (self.size("embedding_length")?, self.size("attention.head_count")?);
        let width = self.key("attention.key_length");
        if let Some(found) =
            self.metadata.usize(&width)?.filter(|width| width.checked_mul(num_attention_heads) != Some(hidden_size))
        {
            let expected = format!("{hidden_size} for {num_attention_heads} heads together");
            return Err(self.error(bad_field(&width, expected, found)).into());
        }
        // With one row, what the tokenizer says of segments is ignored.
        let token_types = rows(self.files, TOKEN_TYPES).map(|rows| TokenTypes { rows, from_tokenizer: rows > 1 });
        // Of the families in one architecture, DistilBERT alone has no segments, and another head.
        let head = if token_types.is_some() { Activation::Tanh } else { Activation::Relu };
        Ok(EncoderConfig {
            vocab_size,
            hidden_size,
            embedding_size: hidden_size,
            num_hidden_layers: self.size("block_count")?,
            num_attention_heads,
            intermediate_size: self.size("feed_forward_length")?,
            activation: Activation::Gelu,
            max_length: self.size("context_length")?,
            learned_positions: None,
            token_types,
            attention_positions: AttentionPositions::None,
            local_attention: None,
            norm_order: NormOrder::Post,
            layer_norm_eps: self.layer_norm_eps()?,
            biases: Biases::ALL,
            classifier: ClassifierConfig { activation: head, ..ClassifierConfig::BERT },
        })
    }

    /// ModernBERT's is under the other key where its `config.json` spells it `norm_eps`.
    fn layer_norm_eps(&self) -> Result<f64> {
        let other = self.metadata.f32(&self.key("attention.layer_norm_rms_epsilon"))?;
        let key = self.key("attention.layer_norm_epsilon");
        let eps = self.metadata.f32(&key)?.or(other);
        eps.map(f64::from).ok_or_else(|| self.error(bad_field(&key, "a FLOAT32", "no such key")).into())
    }
}
