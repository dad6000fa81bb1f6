//! From a model's `config.json`, or the metadata of its GGUF file, to the family it belongs to: one arm for each.
//!
//! A family is where its checkpoints keep their weights (a row of [`crate::names`]), how they spell their configuration
//! (a file in this folder), and nothing else: the network is [`crate::Encoder`] for all of them.

mod bert;
pub(crate) mod decoder;
mod distilbert;
mod electra;
mod gguf;
mod gguf_file;
mod gte;
mod jina_bert;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod roberta;

use std::path::Path;

use gllm_core::{Architecture, LoadError, ModelType, Result};
use gllm_quant::WeightFiles;
use serde::Deserialize;

use crate::EncoderConfig;
use crate::config::{require_config, unsupported};
use crate::names::{self, Names};

pub(crate) use gguf::{labels, pooling};

/// What a model's files say about it.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) architecture: Architecture,
    pub(crate) names: &'static Names,
    pub(crate) config: EncoderConfig,
    /// The task that the checkpoint was saved for.
    pub(crate) task: Task,
}

/// What a checkpoint has on top of its encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// A head that scores a sequence.
    Classification,
    /// A head that gives logits over the vocabulary.
    MaskedLm,
    /// A head that gives logits of the next token.
    CausalLm,
    /// Nothing that is read.
    None,
}

impl Kind {
    /// The task that the checkpoint was saved for.
    fn task(&self) -> Task {
        Task::of_class(self.class())
    }

    /// The class of transformers that it was saved from.
    fn class(&self) -> &str {
        self.architectures.iter().flatten().next().map(String::as_str).unwrap_or_default()
    }
}

impl Task {
    /// By the class of transformers that `config.json` names.
    fn of_class(class: &str) -> Self {
        if class.ends_with("ForSequenceClassification") {
            Self::Classification
        } else if class.ends_with("ForMaskedLM") {
            Self::MaskedLm
        } else if class.ends_with("ForCausalLM") {
            Self::CausalLm
        } else {
            Self::None
        }
    }
}

/// The fields of `config.json` that say which family and task a model is of.
#[derive(Default, Deserialize)]
struct Kind {
    model_type: Option<String>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    position_embedding_type: Option<String>,
    #[serde(default)]
    feed_forward_type: Option<String>,
}

/// Reads the metadata of GGUF files, or the `config.json` beside others.
///
/// # Errors
/// [`LoadError`] if there is no `config.json`, a field is out of range, or it names a network that isn't supported.
pub(crate) fn read(files: &WeightFiles) -> Result<Family> {
    match files.metadata() {
        Some(metadata) => gguf::read(files, metadata),
        None => read_folder(files.folder()),
    }
}

fn read_folder(folder: &Path) -> Result<Family> {
    type Read = fn(&Path) -> Result<EncoderConfig>;

    let (path, kind): (_, Kind) = require_config(folder)?;
    let (architecture, names, read): (_, _, Read) = match kind.model_type.as_deref() {
        // JinaBERT calls itself `bert`; one of its feed-forward types is BERT's own.
        Some("bert") if kind.position_embedding_type.as_deref() == Some("alibi") => {
            let names = match kind.feed_forward_type.as_deref() {
                None | Some("original") => &names::BERT,
                Some(_) => &names::JINA_BERT,
            };
            ("jina_bert", names, jina_bert::read)
        }
        Some("bert") => ("bert", &names::BERT, bert::read),
        Some("roberta") => ("roberta", &names::ROBERTA, roberta::read),
        Some("xlm-roberta") => ("xlm-roberta", &names::ROBERTA, roberta::read),
        Some("distilbert") => ("distilbert", &names::DISTILBERT, distilbert::read),
        Some("mpnet") => ("mpnet", &names::MPNET, mpnet::read),
        Some("electra") => ("electra", &names::ELECTRA, electra::read),
        Some("modernbert") => ("modernbert", &names::MODERNBERT, modernbert::read),
        Some("nomic_bert") => ("nomic_bert", &names::NOMIC_BERT, nomic_bert::read),
        // Snowflake publishes the same network under the other name.
        Some("new" | "gte") => ("new", &names::GTE, gte::read),
        other => {
            let found = other.or(Some(kind.class())).filter(|name| !name.is_empty());
            let encoders = "bert, roberta, xlm-roberta, distilbert, mpnet, electra, modernbert, nomic_bert, new (GTE)";
            let supported = format!("{encoders}, {}", decoder::SUPPORTED);
            let found = found.unwrap_or("(no model_type in config.json)");
            return Err(LoadError::new(path, unsupported("architecture", found, &supported)).into());
        }
    };
    Ok(Family { architecture: architecture.into(), names, config: read(folder)?, task: kind.task() })
}

/// The non-linearity where a `config.json` names none.
fn gelu() -> String {
    "gelu".into()
}

/// What the model at `path`, a folder or a GGUF file, is for, as its files say.
///
/// An encoder is a reranker if its `config.json` names a classifier, else it embeds. Of a decoder, the same `config.json`
/// stands for all three uses, so other files tell: one that names a classifier ranks; one with a `modules.json` ranks, if
/// that has a `LogitScore`, and embeds otherwise; one whose `README.md` has a heading that begins with Qwen3-Reranker
/// ranks, as llama.cpp's converter takes it; any other writes text. GGUF files name a pooling if they embed or rank.
///
/// # Errors
/// [`LoadError`] if there are no weights or no `config.json`, or it names a network that isn't supported.
pub fn model_type(path: &Path) -> Result<ModelType> {
    let files = WeightFiles::open(path)?;
    if decoder::has(&files)? {
        return decoder::model_type(&files);
    }
    Ok(match read(&files)?.task {
        Task::Classification => ModelType::Rerank,
        Task::MaskedLm | Task::CausalLm | Task::None => ModelType::Embedding,
    })
}
