//! A request for vectors, step by step: tokens, forward passes over some of its sequences, the response.
//!
//! [`EmbeddingEngine::embed`] takes the steps one after the other; who has several requests may put sequences of all of
//! them into a pass. Invariant: what a pass gives for a sequence doesn't depend on the others in it.

use gllm_core::{Embedding, EmbeddingResponse, Result, Usage};

use super::{EmbedOptions, EmbeddingEngine};
use crate::device::to_host;
use crate::inputs::truncated;
use crate::text::Tokens;
use crate::{SentencePipeline, Wanted, out_of_memory, threads};

/// A request whose texts have been tokenized.
#[derive(Clone, Debug)]
pub struct EmbedJob {
    tokens: Vec<Tokens>,
    lengths: Vec<usize>,
    /// Longest input in tokens.
    limit: usize,
    kind: EmbedKind,
    options: EmbedOptions,
}

/// What a forward pass gives beside the hidden states: jobs of the same kind may share passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EmbedKind {
    /// Tokens at the start of each sequence that aren't pooled.
    prompt_tokens: usize,
    sparse: bool,
    multi_vector: bool,
}

impl EmbedJob {
    /// Tokens of each text's sequence, special tokens included.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Most tokens of a pass that has one of its sequences, if it has several.
    #[must_use]
    pub fn batch_tokens(&self) -> usize {
        self.options.batch_tokens
    }

    /// Which jobs may share passes with it.
    #[must_use]
    pub fn kind(&self) -> EmbedKind {
        self.kind
    }
}

impl EmbeddingEngine {
    /// Checks the options and tokenizes the texts.
    ///
    /// # Errors
    /// As [`EmbeddingEngine::embed`].
    pub fn prepare<T: AsRef<str> + Sync>(&self, texts: &[T], options: &EmbedOptions) -> Result<EmbedJob> {
        self.check(texts.len(), options)?;
        let limit = self.inputs.limit(options.max_length, self.inputs.tokenizer.added_tokens())?;
        let prompt = self.prompt(options.prompt_name.as_deref())?;
        let (tokens, prompt_tokens) = match prompt {
            Some(prompt) if !prompt.is_empty() => {
                let prompted: Vec<String> = texts.iter().map(|text| format!("{prompt}{}", text.as_ref())).collect();
                let tokens = self.inputs.texts(&prompted, limit, options.truncation)?;
                let is_pooled = self.dense.as_ref().is_none_or(SentencePipeline::includes_prompt);
                (tokens, if is_pooled { 0 } else { self.prompt_length(prompt, limit)? })
            }
            _ => (self.inputs.texts(texts, limit, options.truncation)?, 0),
        };
        let lengths = tokens.iter().map(|tokens| tokens.ids.len()).collect();
        let kind = EmbedKind { prompt_tokens, sparse: options.sparse, multi_vector: options.multi_vector };
        Ok(EmbedJob { tokens, lengths, limit, kind, options: options.clone() })
    }

    /// The vectors of sequences, each given by its job and its text's place there, in the order of `batch`.
    ///
    /// # Errors
    /// [`gllm_core::OutOfMemory`] if the device has none left; [`gllm_core::InferenceError`] if it fails otherwise.
    ///
    /// # Panics
    /// If jobs are of different [kinds](EmbedJob::kind), or a job has no such text.
    pub fn forward(&self, batch: &[(&EmbedJob, usize)]) -> Result<Vec<Embedding>> {
        let Some(((first, _), _)) = batch.split_first() else { return Ok(Vec::new()) };
        let kind = first.kind;
        assert!(batch.iter().all(|(job, _)| job.kind == kind), "jobs of one kind");
        let (tokens, device) = (batch.iter().map(|(job, place)| job.lengths[*place]).sum(), self.backbone.device());
        out_of_memory::pass(tokens, device, || threads::run(device, || self.compute(batch, kind)))
    }

    fn compute(&self, batch: &[(&EmbedJob, usize)], kind: EmbedKind) -> Result<Vec<Embedding>> {
        let tokens: Vec<&Tokens> = batch.iter().map(|&(job, place)| &job.tokens[place]).collect();
        let (hidden, sequences) = self.backbone.forward(&tokens, self.wanted(kind))?;
        let mut embeddings = vec![Embedding::default(); batch.len()];
        if let Some(pipeline) = &self.dense {
            let values = to_host(pipeline.forward(&hidden, &sequences, kind.prompt_tokens))?;
            let vectors = values.chunks_exact(pipeline.dimensions());
            for ((embedding, vector), (job, _)) in embeddings.iter_mut().zip(vectors).zip(batch) {
                embedding.embedding = match job.options.dimensions {
                    Some(kept) => cut(vector.to_vec(), kept),
                    None => vector.to_vec(),
                };
            }
        }
        if let Some(head) = self.sparse.as_ref().filter(|_| kind.sparse) {
            for (embedding, vector) in embeddings.iter_mut().zip(head.forward(&hidden, &sequences, &tokens)?) {
                embedding.sparse = Some(vector);
            }
        }
        if let Some(head) = self.multi_vector.as_ref().filter(|_| kind.multi_vector) {
            for (embedding, vectors) in embeddings.iter_mut().zip(head.forward(&hidden, &sequences)?) {
                embedding.multi_vector = Some(vectors);
            }
        }
        Ok(embeddings)
    }

    /// The tokens whose hidden states the vectors are made of.
    fn wanted(&self, kind: EmbedKind) -> Wanted {
        match &self.dense {
            Some(pipeline) if !kind.sparse && !kind.multi_vector => pipeline.reads(kind.prompt_tokens),
            _ => Wanted::All,
        }
    }

    /// The response to `job`, of the vectors of all its texts in their order.
    #[must_use]
    pub fn finish(&self, job: &EmbedJob, mut embeddings: Vec<Embedding>) -> EmbeddingResponse {
        for (index, embedding) in embeddings.iter_mut().enumerate() {
            embedding.index = index;
        }
        let (truncated, limit) = (truncated(&job.tokens), job.limit);
        if !truncated.is_empty() {
            tracing::warn!(texts = truncated.len(), limit, "texts were longer than the model reads and were cut");
        }
        let prompt_tokens = job.lengths.iter().sum();
        let usage = Usage { prompt_tokens, total_tokens: prompt_tokens };
        EmbeddingResponse { embeddings, usage, truncated }
    }
}

/// The first `kept` dimensions, scaled to length 1.
fn cut(mut vector: Vec<f32>, kept: usize) -> Vec<f32> {
    vector.truncate(kept);
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-12);
    for x in &mut vector {
        *x /= norm;
    }
    vector
}
