//! What a model's thread asks of a model that answers in passes: one seam for embedding models, rerankers, and the models
//! of tests, which fail when they are told to.

use gllm_core::{Embedding, EmbeddingResponse, RerankResponse, Result};
use gllm_models::{EmbedJob, EmbedKind, EmbedOptions, EmbeddingEngine, RerankEngine, RerankJob, RerankOptions};

/// A model. What it gives for a sequence doesn't depend on the others in a pass.
pub(crate) trait Engine: Send + Sync + Sized + 'static {
    /// What it does, for people and for metrics.
    const TASK: &str;

    /// What is asked.
    type Request: Send + Sync + 'static;
    /// A request whose texts have been tokenized; it belongs to the engine that made it.
    type Job: Send + Sync;
    /// Jobs of one kind may share passes.
    type Kind: Copy + Eq + Send;
    /// What a pass gives for a sequence.
    type Part: Send;
    /// The answer.
    type Response: Send + 'static;

    /// Checks and tokenizes.
    fn prepare(&self, request: &Self::Request) -> Result<Self::Job>;

    /// Tokens of each sequence.
    fn lengths(job: &Self::Job) -> &[usize];

    /// Which jobs may share passes with it.
    fn kind(job: &Self::Job) -> Self::Kind;

    /// Most tokens of a pass that has one of its sequences.
    fn batch_tokens(job: &Self::Job) -> usize;

    /// Computes sequences, each given by its job and its place there.
    fn forward(&self, batch: &[(&Self::Job, usize)]) -> Result<Vec<Self::Part>>;

    /// The answer, of the parts of all sequences in their order.
    fn finish(&self, job: &Self::Job, parts: Vec<Self::Part>) -> Result<Self::Response>;

    /// About how many bytes a pass over this many tokens takes for what it computes.
    fn needed_bytes(&self, tokens: usize) -> u64;

    /// Gives back what the device keeps for later.
    fn reclaim(&self);

    /// A request that every sound model answers.
    fn probe(&self) -> Self::Request;
}

/// A request for vectors.
#[derive(Debug)]
pub(crate) struct EmbedRequest {
    pub(crate) texts: Vec<String>,
    pub(crate) options: EmbedOptions,
}

/// A request for a ranking.
#[derive(Debug)]
pub(crate) struct RerankRequest {
    pub(crate) query: String,
    pub(crate) documents: Vec<String>,
    pub(crate) options: RerankOptions,
}

impl Engine for EmbeddingEngine {
    const TASK: &str = "embed";

    type Request = EmbedRequest;
    type Job = EmbedJob;
    type Kind = EmbedKind;
    type Part = Embedding;
    type Response = EmbeddingResponse;

    fn prepare(&self, request: &EmbedRequest) -> Result<EmbedJob> {
        self.prepare(&request.texts, &request.options)
    }

    fn lengths(job: &EmbedJob) -> &[usize] {
        job.lengths()
    }

    fn kind(job: &EmbedJob) -> EmbedKind {
        job.kind()
    }

    fn batch_tokens(job: &EmbedJob) -> usize {
        job.batch_tokens()
    }

    fn forward(&self, batch: &[(&EmbedJob, usize)]) -> Result<Vec<Embedding>> {
        self.forward(batch)
    }

    fn finish(&self, job: &EmbedJob, parts: Vec<Embedding>) -> Result<EmbeddingResponse> {
        Ok(self.finish(job, parts))
    }

    fn needed_bytes(&self, tokens: usize) -> u64 {
        self.activation_bytes(tokens)
    }

    fn reclaim(&self) {
        self.reclaim_memory();
    }

    fn probe(&self) -> EmbedRequest {
        let options = EmbedOptions { sparse: self.dimensions().is_none(), ..EmbedOptions::default() };
        EmbedRequest { texts: vec!["a".into()], options }
    }
}

impl Engine for RerankEngine {
    const TASK: &str = "rerank";

    type Request = RerankRequest;
    type Job = RerankJob;
    type Kind = ();
    type Part = f32;
    type Response = RerankResponse;

    fn prepare(&self, request: &RerankRequest) -> Result<RerankJob> {
        self.prepare(&request.query, &request.documents, &request.options)
    }

    fn lengths(job: &RerankJob) -> &[usize] {
        job.lengths()
    }

    fn kind(_: &RerankJob) {}

    fn batch_tokens(job: &RerankJob) -> usize {
        job.batch_tokens()
    }

    fn forward(&self, batch: &[(&RerankJob, usize)]) -> Result<Vec<f32>> {
        self.forward(batch)
    }

    fn finish(&self, job: &RerankJob, parts: Vec<f32>) -> Result<RerankResponse> {
        self.finish(job, parts)
    }

    fn needed_bytes(&self, tokens: usize) -> u64 {
        self.activation_bytes(tokens)
    }

    fn reclaim(&self) {
        self.reclaim_memory();
    }

    fn probe(&self) -> RerankRequest {
        RerankRequest { query: "a".into(), documents: vec!["a".into()], options: RerankOptions::default() }
    }
}
