//! `config.json` of transformers, as far as the encoders need it.

use std::path::{Path, PathBuf};

use gllm_core::{Architecture, Error, LoadError, LoadProblem, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Activation;

/// Reads the JSON file at `path`; `None` if there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("cannot read", path, &e)),
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| LoadError::new(path, LoadProblem::Corrupt { format: "JSON".into(), reason: e.to_string() }).into())
}

/// Reads the `config.json` that `folder` must have; its path comes with it, for errors about its fields.
pub(crate) fn require_config<T: DeserializeOwned>(folder: &Path) -> Result<(PathBuf, T)> {
    let path = folder.join("config.json");
    match read_json(&path)? {
        Some(config) => Ok((path, config)),
        None => Err(LoadError::new(folder, LoadProblem::MissingFile { expected: "config.json".into() }).into()),
    }
}

#[derive(Deserialize)]
struct ModelKind {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
}

/// The architecture that `config.json` in `folder` names.
///
/// # Errors
/// [`LoadError`] if there is no such file, or it names an architecture that isn't supported.
pub(crate) fn read_architecture(folder: &Path) -> Result<Architecture> {
    let (path, kind): (_, ModelKind) = require_config(folder)?;
    match kind.model_type.as_deref() {
        Some("bert") => Ok(Architecture::Bert),
        other => {
            let architectures = kind.architectures.unwrap_or_default().join(", ");
            let name = other.map(str::to_owned).or(Some(architectures)).filter(|name| !name.is_empty());
            let problem = LoadProblem::Unsupported {
                what: "architecture".into(),
                found: name.unwrap_or_else(|| "(no model_type in config.json)".into()),
                supported: "bert".into(),
            };
            Err(LoadError::new(path, problem).into())
        }
    }
}

/// Sizes and choices of a BERT encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Token ids are below this.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Number of attention heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Non-linearity of the feed-forward layer.
    pub activation: Activation,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Token-type ids are below this.
    pub type_vocab_size: usize,
    /// Added to the variance in layer normalisation.
    pub layer_norm_eps: f64,
}

/// The file as it is; defaults are those of `transformers.BertConfig`.
#[derive(Deserialize)]
struct BertFile {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "default_eps")]
    layer_norm_eps: f64,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    is_decoder: bool,
}

fn gelu() -> String {
    "gelu".into()
}

fn two() -> usize {
    2
}

fn default_eps() -> f64 {
    1e-12
}

impl BertConfig {
    /// Reads and checks `config.json` in `folder`.
    ///
    /// # Errors
    /// [`LoadError`] that names the field which is missing, out of range or not supported.
    pub fn load(folder: &Path) -> Result<Self> {
        let (path, file) = require_config(folder)?;
        Self::check(&file).map_err(|problem| LoadError::new(path, problem).into())
    }

    fn check(file: &BertFile) -> std::result::Result<Self, LoadProblem> {
        let field = |field: &str, expected: &str, found: &dyn ToString| LoadProblem::Field {
            field: field.into(),
            expected: expected.into(),
            found: found.to_string(),
        };
        let sizes = [
            ("vocab_size", file.vocab_size),
            ("hidden_size", file.hidden_size),
            ("num_hidden_layers", file.num_hidden_layers),
            ("num_attention_heads", file.num_attention_heads),
            ("intermediate_size", file.intermediate_size),
            ("max_position_embeddings", file.max_position_embeddings),
            ("type_vocab_size", file.type_vocab_size),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(field(name, "at least 1", &size));
        }
        if !file.hidden_size.is_multiple_of(file.num_attention_heads) {
            let divisor = format!("a divisor of hidden_size = {}", file.hidden_size);
            return Err(field("num_attention_heads", &divisor, &file.num_attention_heads));
        }
        if !file.layer_norm_eps.is_finite() || file.layer_norm_eps < 0.0 {
            return Err(field("layer_norm_eps", "a finite number, 0 or above", &file.layer_norm_eps));
        }
        let unsupported = |what: &str, found: &str, supported: &str| LoadProblem::Unsupported {
            what: what.into(),
            found: found.into(),
            supported: supported.into(),
        };
        if let Some(kind) = file.position_embedding_type.as_deref().filter(|kind| *kind != "absolute") {
            return Err(unsupported("position_embedding_type", kind, "absolute"));
        }
        if file.is_decoder {
            return Err(unsupported("is_decoder", "true", "false: an encoder"));
        }
        let activation = Activation::from_config(&file.hidden_act)
            .ok_or_else(|| unsupported("hidden_act", &file.hidden_act, Activation::SUPPORTED))?;
        Ok(Self {
            vocab_size: file.vocab_size,
            hidden_size: file.hidden_size,
            num_hidden_layers: file.num_hidden_layers,
            num_attention_heads: file.num_attention_heads,
            intermediate_size: file.intermediate_size,
            activation,
            max_position_embeddings: file.max_position_embeddings,
            type_vocab_size: file.type_vocab_size,
            layer_norm_eps: file.layer_norm_eps,
        })
    }
}
