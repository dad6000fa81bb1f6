//! From a query and documents to a ranking: pairs, batches, cross-encoder, scores, in one object.

use std::path::Path;

use burn::tensor::Device;
use gllm_core::{Architecture, LoadError, RerankResponse, Result, Truncation};
use gllm_quant::WeightFiles;
use serde::Deserialize;

use crate::backbone::encoder_bytes;
use crate::config::{require_config, unsupported};
use crate::decoder_reranker::DecoderReranker;
use crate::inputs::Inputs;
use crate::load::{self, Task, decoder};
use crate::sentence_config::{self, SentenceConfig};
use crate::text::{Tokenizer, in_batches};
use crate::{CrossEncoder, EmbedOptions, Target, threads};

mod job;

pub use job::RerankJob;

/// A loaded reranker.
#[derive(Debug)]
pub struct RerankEngine {
    architecture: Architecture,
    inputs: Inputs,
    model: Model,
    score: Score,
}

/// What gives a pair its logit.
#[derive(Debug)]
enum Model {
    Encoder(Box<CrossEncoder>),
    Decoder(Box<DecoderReranker>),
}

/// What becomes of a logit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Score {
    Sigmoid,
    Identity,
}

impl Score {
    fn of(self, logit: f32) -> f32 {
        match self {
            Self::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
            Self::Identity => logit,
        }
    }
}

/// What a request may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RerankOptions {
    /// Return the best this many; by default all.
    pub top_n: Option<usize>,
    /// Return the documents' text too.
    pub return_documents: bool,
    /// What makes a document a good one, for models that are told; by default, what the model itself says.
    pub instruction: Option<String>,
    /// Return the model's logits, whatever the model says should become of them.
    pub raw_scores: bool,
    /// Longest pair in tokens, special tokens included; at most, and by default, the model's limit.
    pub max_length: Option<usize>,
    /// What happens to a longer pair.
    pub truncation: Truncation,
    /// Most tokens computed at once, which bounds the memory; results don't depend on it.
    pub batch_tokens: usize,
}

impl Default for RerankOptions {
    fn default() -> Self {
        Self {
            top_n: None,
            return_documents: false,
            instruction: None,
            raw_scores: false,
            max_length: None,
            truncation: Truncation::default(),
            batch_tokens: EmbedOptions::DEFAULT_BATCH_TOKENS,
        }
    }
}

/// What sentence-transformers writes into `config.json`, in the field of its day.
#[derive(Deserialize)]
struct ModelFile {
    #[serde(default)]
    sentence_transformers: Option<SentenceConfig>,
    #[serde(default)]
    sbert_ce_default_activation_function: Option<String>,
}

impl RerankEngine {
    /// Loads the model at `path`, a folder or a GGUF file, onto a device, which alone means in `f32`.
    ///
    /// # Errors
    /// [`LoadError`] that names the file and what is wrong with it.
    pub fn load(path: &Path, target: impl Into<Target>) -> Result<Self> {
        let target = &target.into();
        let files = WeightFiles::open(path)?;
        if decoder::has(&files)? {
            return Self::load_decoder(&files, target);
        }
        let family = load::read(&files)?;
        if family.task != Task::Classification {
            let problem = unsupported("task", family.architecture.as_str(), "a checkpoint …ForSequenceClassification");
            let path = files.metadata().map_or_else(|| files.folder().join("config.json"), |found| found.path().into());
            return Err(LoadError::new(path, problem).into());
        }
        Ok(Self {
            // What becomes of a logit isn't in GGUF.
            score: if files.metadata().is_some() { Score::Sigmoid } else { Score::load(files.folder())? },
            inputs: Inputs::load(&files, &family.config)?,
            architecture: family.architecture.clone(),
            model: Model::Encoder(CrossEncoder::load(family, &files, target)?.into()),
        })
    }

    fn load_decoder(files: &WeightFiles, target: &Target) -> Result<Self> {
        let family = decoder::read(files)?;
        let inputs = Inputs::of_decoder(files, &family.config)?;
        let is_classifier = files.metadata().is_none() && family.task == Task::Classification;
        Ok(Self {
            // Of two words, the probability of one is meant, whatever sentence-transformers returns.
            score: if is_classifier { Score::load(files.folder())? } else { Score::Sigmoid },
            architecture: family.architecture.clone(),
            model: Model::Decoder(DecoderReranker::load(files, family, &inputs, target)?.into()),
            inputs,
        })
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inputs.tokenizer
    }

    /// The network, as the model's `config.json` names it.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Longest pair in tokens, special tokens included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.inputs.max_length
    }

    /// About how many bytes a pass over `tokens` tokens takes, beside the weights.
    #[must_use]
    pub fn activation_bytes(&self, tokens: usize) -> u64 {
        match &self.model {
            Model::Encoder(model) => encoder_bytes(model.encoder().config(), tokens),
            Model::Decoder(model) => model.activation_bytes(tokens),
        }
    }

    /// Gives memory back that the device keeps for later; to be called when there is none left.
    pub fn reclaim_memory(&self) {
        self.device().memory_cleanup();
    }

    fn device(&self) -> &Device {
        match &self.model {
            Model::Encoder(model) => model.encoder().device(),
            Model::Decoder(model) => model.device(),
        }
    }

    /// Scores each of `documents` by how well it answers `query`.
    ///
    /// A pair that is too long loses the end of its document; the query is cut only where it leaves no room for a
    /// document at all, and then the longer of the two is, token by token.
    ///
    /// # Errors
    /// [`gllm_core::InvalidConfig`] for no documents or an option that the model can't meet;
    /// [`gllm_core::InferenceError`] for a text that can't be tokenized, or is too long where that is an error.
    pub fn rerank<T: AsRef<str> + Sync>(
        &self,
        query: &str,
        documents: &[T],
        options: &RerankOptions,
    ) -> Result<RerankResponse> {
        threads::run(self.device(), || {
            let job = self.prepare(query, documents, options)?;
            let logits = in_batches(job.lengths(), job.batch_tokens(), |places| {
                let batch: Vec<_> = places.iter().map(|&place| (&job, place)).collect();
                self.forward(&batch)
            })?;
            self.finish(&job, logits)
        })
    }
}

impl Score {
    /// As the model in `folder` says; `CrossEncoder` of sentence-transformers takes the sigmoid where it says nothing.
    fn load(folder: &Path) -> Result<Self> {
        let sentence = SentenceConfig::read(folder)?;
        let (path, file): (_, ModelFile) = require_config(folder)?;
        let (path, name) = if let Some(name) = sentence.activation_fn {
            (folder.join(sentence_config::FILE), Some(name))
        } else {
            let section = file.sentence_transformers.and_then(|section| section.activation_fn);
            (path, section.or(file.sbert_ce_default_activation_function))
        };
        // A path in Python, such as `torch.nn.modules.linear.Identity`.
        match name.as_deref().map(|name| name.rsplit('.').next()) {
            None | Some(Some("Sigmoid")) => Ok(Self::Sigmoid),
            Some(Some("Identity")) => Ok(Self::Identity),
            _ => {
                let found = name.unwrap_or_default();
                Err(LoadError::new(path, unsupported("activation_fn", found, "Sigmoid, Identity")).into())
            }
        }
    }
}
