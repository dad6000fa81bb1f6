//! From a query and documents to a ranking: pairs, batches, cross-encoder, scores, in one object.

use std::path::Path;

use gllm_core::{
    Architecture, InferenceError, InvalidConfig, LoadError, RerankResponse, RerankResult, Result, Truncation, Usage,
};
use gllm_quant::WeightFiles;
use serde::Deserialize;

use crate::config::{require_config, unsupported};
use crate::decoder_reranker::DecoderReranker;
use crate::device::to_host;
use crate::inputs::{Inputs, check_batch_tokens, truncated};
use crate::load::{self, Task, decoder};
use crate::sentence_config::{self, SentenceConfig};
use crate::text::{Pairs, Tokenizer, Tokens, plan_batches};
use crate::{CrossEncoder, EmbedOptions, Target};

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

    /// Scores each of `documents` by how well it answers `query`.
    ///
    /// A pair that is too long loses the end of its document; the query is cut only where it leaves no room for a
    /// document at all, and then the longer of the two is, token by token.
    ///
    /// # Errors
    /// [`InvalidConfig`] for no documents or an option that the model can't meet; [`InferenceError`] for a text that
    /// can't be tokenized, or is too long where that is an error.
    pub fn rerank<T: AsRef<str> + Sync>(
        &self,
        query: &str,
        documents: &[T],
        options: &RerankOptions,
    ) -> Result<RerankResponse> {
        if documents.is_empty() {
            return Err(InvalidConfig::new("documents", "at least one document", "none").into());
        }
        if options.top_n == Some(0) {
            return Err(InvalidConfig::new("top_n", "at least 1", "0").into());
        }
        check_batch_tokens(options.batch_tokens)?;
        let added = match &self.model {
            Model::Encoder(_) => self.inputs.tokenizer.added_to_pair(),
            Model::Decoder(model) => model.added_tokens(),
        };
        // A pair makes no sense without a token of each text.
        let limit = self.inputs.limit(options.max_length, added + 1)?;
        let Pairs { tokens, query_truncated } = match (&self.model, &options.instruction) {
            (Model::Encoder(_), None) => self.inputs.pairs(query, documents, limit, options.truncation)?,
            (Model::Encoder(_), Some(instruction)) => {
                let found = format!("`{instruction}`");
                return Err(InvalidConfig::new("instruction", "none: this model isn't told", found).into());
            }
            (Model::Decoder(model), _) => model.pairs(&self.inputs, query, documents, limit, options)?,
        };

        let scores = self.scores(&tokens, options)?;
        let mut results: Vec<RerankResult> = (scores.into_iter().enumerate())
            .map(|(index, score)| RerankResult { index, score, document: None })
            .collect();
        // Stable: documents of equal score stay in input order.
        results.sort_by(|a, b| b.score.total_cmp(&a.score));
        results.truncate(options.top_n.unwrap_or(documents.len()));
        if options.return_documents {
            for result in &mut results {
                result.document = Some(documents[result.index].as_ref().to_owned());
            }
        }

        let truncated = truncated(&tokens);
        if !truncated.is_empty() {
            tracing::warn!(documents = truncated.len(), limit, query_truncated, "pairs were too long and were cut");
        }
        let prompt_tokens = tokens.iter().map(|tokens| tokens.ids.len()).sum();
        let usage = Usage { prompt_tokens, total_tokens: prompt_tokens };
        Ok(RerankResponse { results, usage, truncated, query_truncated })
    }

    /// `[pairs]`
    fn scores(&self, pairs: &[Tokens], options: &RerankOptions) -> Result<Vec<f32>> {
        let mut scores = match &self.model {
            Model::Encoder(model) => encoder_logits(model, pairs, options.batch_tokens)?,
            Model::Decoder(model) => model.logits(pairs, options.batch_tokens)?,
        };
        if let Some(place) = scores.iter().position(|logit| logit.is_nan()) {
            let reason = format!("the score of document {place} is not a number");
            return Err(InferenceError::Device { reason }.into());
        }
        if !options.raw_scores {
            for score in &mut scores {
                *score = self.score.of(*score);
            }
        }
        Ok(scores)
    }
}

/// `[pairs]`
fn encoder_logits(model: &CrossEncoder, pairs: &[Tokens], batch_tokens: usize) -> Result<Vec<f32>> {
    let lengths: Vec<usize> = pairs.iter().map(|tokens| tokens.ids.len()).collect();
    let mut logits = vec![0.0; pairs.len()];
    for places in plan_batches(&lengths, batch_tokens) {
        let batch: Vec<&Tokens> = places.iter().map(|&place| &pairs[place]).collect();
        let found = to_host(model.forward(&batch))?;
        for (place, logit) in places.into_iter().zip(found) {
            logits[place] = logit;
        }
    }
    Ok(logits)
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
