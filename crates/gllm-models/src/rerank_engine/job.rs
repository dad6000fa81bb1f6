//! A request for a ranking, step by step: tokens, forward passes over some of its pairs, the response.
//!
//! [`RerankEngine::rerank`] takes the steps one after the other; who has several requests may put pairs of all of them
//! into a pass. Invariant: the logit that a pass gives for a pair doesn't depend on the others in it.

use gllm_core::{InferenceError, InvalidConfig, RerankResponse, RerankResult, Result, Usage};

use super::{Model, RerankEngine, RerankOptions};
use crate::decoder_reranker::Prompts;
use crate::device::to_host;
use crate::inputs::{check_batch_tokens, truncated};
use crate::text::{Pairs, Tokens};
use crate::{out_of_memory, threads};

/// A request whose pairs have been tokenized.
#[derive(Debug)]
pub struct RerankJob {
    sequences: Sequences,
    lengths: Vec<usize>,
    query_truncated: bool,
    /// Longest pair in tokens.
    limit: usize,
    options: RerankOptions,
    /// The documents, where they are to be returned.
    documents: Option<Vec<String>>,
}

#[derive(Debug)]
enum Sequences {
    Pairs(Vec<Tokens>),
    /// A decoder reads what they begin with in common when it reads the first of them.
    Prompts(Prompts),
}

impl Sequences {
    fn tokens(&self) -> &[Tokens] {
        match self {
            Self::Pairs(tokens) => tokens,
            Self::Prompts(prompts) => prompts.tokens(),
        }
    }
}

impl RerankJob {
    /// Tokens that are read of each document's pair.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Most tokens of a pass that has one of its pairs, if it has several.
    #[must_use]
    pub fn batch_tokens(&self) -> usize {
        self.options.batch_tokens
    }
}

impl RerankEngine {
    /// Checks the options and tokenizes the pairs; nothing is computed.
    ///
    /// # Errors
    /// As [`RerankEngine::rerank`].
    pub fn prepare<T: AsRef<str> + Sync>(
        &self,
        query: &str,
        documents: &[T],
        options: &RerankOptions,
    ) -> Result<RerankJob> {
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
        let (sequences, lengths) = match &self.model {
            Model::Encoder(_) => {
                let lengths = tokens.iter().map(|tokens| tokens.ids.len()).collect();
                (Sequences::Pairs(tokens), lengths)
            }
            Model::Decoder(model) => {
                let prompts = model.prompts(tokens, options.batch_tokens);
                let lengths = prompts.lengths();
                (Sequences::Prompts(prompts), lengths)
            }
        };
        let documents = options.return_documents.then(|| documents.iter().map(|text| text.as_ref().into()).collect());
        Ok(RerankJob { sequences, lengths, query_truncated, limit, options: options.clone(), documents })
    }

    /// The logits of pairs, each given by its job and its document's place there, in the order of `batch`.
    ///
    /// # Errors
    /// [`gllm_core::OutOfMemory`] if the device has none left; [`InferenceError`] if it fails otherwise.
    ///
    /// # Panics
    /// If a job has no such document, or is of another model.
    pub fn forward(&self, batch: &[(&RerankJob, usize)]) -> Result<Vec<f32>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (tokens, device) = (batch.iter().map(|(job, place)| job.lengths[*place]).sum(), self.device());
        out_of_memory::pass(tokens, device, || threads::run(device, || self.compute(batch)))
    }

    fn compute(&self, batch: &[(&RerankJob, usize)]) -> Result<Vec<f32>> {
        match &self.model {
            Model::Encoder(model) => {
                let tokens: Vec<&Tokens> = batch.iter().map(|&(job, place)| &job.sequences.tokens()[place]).collect();
                to_host(model.forward(&tokens))
            }
            Model::Decoder(model) => {
                let prompts = batch.iter().map(|&(job, place)| match &job.sequences {
                    Sequences::Prompts(prompts) => (prompts, place),
                    Sequences::Pairs(_) => panic!("a job of a decoder"),
                });
                model.forward(&prompts.collect::<Vec<_>>())
            }
        }
    }

    /// The response to `job`, of the logits of all its documents in their order.
    ///
    /// # Errors
    /// [`InferenceError`] for a logit that isn't a number.
    pub fn finish(&self, job: &RerankJob, logits: Vec<f32>) -> Result<RerankResponse> {
        if let Some(place) = logits.iter().position(|logit| logit.is_nan()) {
            let reason = format!("the score of document {place} is not a number");
            return Err(InferenceError::Device { reason }.into());
        }
        let RerankJob { sequences, options, .. } = job;
        let (limit, query_truncated) = (job.limit, job.query_truncated);
        let score = |logit| if options.raw_scores { logit } else { self.score.of(logit) };
        let mut results: Vec<RerankResult> = (logits.into_iter().enumerate())
            .map(|(index, logit)| RerankResult { index, score: score(logit), document: None })
            .collect();
        // Stable: documents of equal score stay in input order.
        results.sort_by(|a, b| b.score.total_cmp(&a.score));
        results.truncate(options.top_n.unwrap_or(results.len()));
        if let Some(documents) = &job.documents {
            for result in &mut results {
                result.document = Some(documents[result.index].clone());
            }
        }

        let (tokens, truncated) = (sequences.tokens(), truncated(sequences.tokens()));
        if !truncated.is_empty() {
            tracing::warn!(documents = truncated.len(), limit, query_truncated, "pairs were too long and were cut");
        }
        let prompt_tokens = tokens.iter().map(|tokens| tokens.ids.len()).sum();
        let usage = Usage { prompt_tokens, total_tokens: prompt_tokens };
        Ok(RerankResponse { results, usage, truncated, query_truncated })
    }
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_decoder_reads_nothing_before_the_first_pass() {
        let path = Path::new("../../tests/golden/families/qwen3/reranker");
        let engine = RerankEngine::load(path, &Device::flex()).expect("a model");
        let (documents, options) = (["a cat", "a dog sat"], RerankOptions::default());
        let job = engine.prepare("the cat", &documents, &options).expect("a job");
        let Sequences::Prompts(prompts) = &job.sequences else { panic!("a decoder") };
        assert!(!prompts.is_begun());
        let logits = engine.forward(&[(&job, 1), (&job, 0)]).expect("logits");
        assert!(prompts.is_begun());
        assert_eq!(engine.forward(&[(&job, 0)]).expect("a logit"), logits[1..]);
    }
}
