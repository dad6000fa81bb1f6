//! An encoder with a head that gives a sequence one score: a query and a document in one sequence make a reranker.
//!
//! Source: <https://arxiv.org/abs/1910.14424>; the `…ForSequenceClassification` classes of transformers.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use gllm_core::{LoadError, Result};
use gllm_quant::WeightFiles;
use serde::Deserialize;

use crate::config::{ClassifierConfig, require_config, unsupported};
use crate::layers::{LayerNorm, Linear};
use crate::load::{self, Family};
use crate::text::Tokens;
use crate::{Encoder, Target, Weights, ops};

/// Token ids to logits.
#[derive(Debug)]
pub struct CrossEncoder {
    encoder: Encoder,
    config: ClassifierConfig,
    dense: Linear,
    norm: Option<LayerNorm>,
    output: Linear,
}

/// The fields of `config.json` that say how many labels a classifier has.
#[derive(Deserialize)]
struct Labels {
    #[serde(default)]
    id2label: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    num_labels: Option<usize>,
}

/// How many labels the `config.json` in `folder` says, and its path.
fn labels(folder: &Path) -> Result<(PathBuf, usize)> {
    let (path, labels): (_, Labels) = require_config(folder)?;
    // Without either field, transformers assumes two.
    Ok((path, labels.id2label.map(|labels| labels.len()).or(labels.num_labels).unwrap_or(2)))
}

/// Refuses a classifier of several labels.
pub(crate) fn require_one_label(files: &WeightFiles) -> Result<()> {
    let (path, n_labels) = match files.metadata() {
        Some(metadata) => (metadata.path().to_owned(), load::labels(files)),
        None => labels(files.folder())?,
    };
    if n_labels != 1 {
        let supported = "1: documents are ranked by one score, and a classifier of several labels has none";
        return Err(LoadError::new(path, unsupported("num_labels", n_labels.to_string(), supported)).into());
    }
    Ok(())
}

impl CrossEncoder {
    /// Reads the encoder and its head.
    ///
    /// # Errors
    /// [`LoadError`] for a classifier of several labels, or a tensor that is missing or has another shape than the
    /// configuration says.
    pub(crate) fn load(family: Family, files: &WeightFiles, target: &Target) -> Result<Self> {
        require_one_label(files)?;
        Weights::read(files, target, |weights| {
            let (names, config) = (&family.names.classifier, family.config.classifier);
            let norm = names.norm.map(|name| LayerNorm::load_for(&family.config, &weights.enter(name)));
            let (hidden, exact) = (family.config.hidden_size, weights.exact());
            Ok(Self {
                config,
                dense: Linear::load(&exact.enter(names.dense), hidden, hidden, config.bias)?,
                norm: norm.transpose()?,
                output: Linear::load(&exact.enter(names.output), hidden, 1, true)?,
                encoder: Encoder::load(family.config, family.names, weights)?,
            })
        })
    }

    /// The encoder below the head.
    #[must_use]
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// A logit for each sequence of a batch.
    ///
    /// # Shapes
    /// - returns `[sequences, 1]`
    ///
    /// # Panics
    /// As [`Encoder::forward`].
    #[must_use]
    pub fn forward(&self, batch: &[&Tokens]) -> Tensor<2> {
        let wanted = self.config.pooling.reads();
        let (hidden, sequences) = self.encoder.forward(batch, wanted);
        let pooled = ops::pool(&hidden, self.config.pooling, &sequences);
        let inner = ops::activate(self.dense.forward(pooled), self.config.activation);
        let inner = match &self.norm {
            Some(norm) => norm.forward(inner),
            None => inner,
        };
        self.output.forward(inner)
    }
}
