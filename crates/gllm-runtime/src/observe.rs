//! What a model's thread tells the program's recorder of metrics, if it has one: the facade crate `metrics` has no cost
//! without. Each has the labels `task` (`embed`, `rerank` or `generate`) and `model`.

use std::sync::Arc;
use std::time::Duration;

use gllm_core::{Error, InferenceError};
use metrics::{counter, gauge, histogram};

/// The metrics of a model.
#[derive(Clone, Debug)]
pub(crate) struct Observer {
    task: &'static str,
    model: Arc<str>,
}

impl Observer {
    pub(crate) fn new(task: &'static str, model: &str) -> Self {
        Self { task, model: model.into() }
    }

    /// Requests that wait or are being computed.
    pub(crate) fn depth(&self, requests: usize) {
        gauge!("gllm_queue_depth", "task" => self.task, "model" => Arc::clone(&self.model)).set(requests as f64);
    }

    /// How long a request waited until its texts were tokenized.
    pub(crate) fn waited(&self, time: Duration) {
        histogram!("gllm_queue_seconds", "task" => self.task, "model" => Arc::clone(&self.model)).record(time);
    }

    /// A pass: how much was computed together, in what time.
    pub(crate) fn pass(&self, requests: usize, sequences: usize, tokens: usize, time: Duration) {
        let model = || Arc::clone(&self.model);
        histogram!("gllm_pass_requests", "task" => self.task, "model" => model()).record(requests as f64);
        histogram!("gllm_pass_sequences", "task" => self.task, "model" => model()).record(sequences as f64);
        histogram!("gllm_pass_tokens", "task" => self.task, "model" => model()).record(tokens as f64);
        histogram!("gllm_pass_seconds", "task" => self.task, "model" => model()).record(time);
        counter!("gllm_tokens_total", "task" => self.task, "model" => model()).increment(tokens as u64);
    }

    /// An answer, after `time` since the request was sent.
    pub(crate) fn answered(&self, time: Duration, error: Option<&Error>) {
        let outcome = match error {
            None => "ok",
            Some(Error::InferenceError(InferenceError::Cancelled)) => "cancelled",
            Some(Error::InferenceError(InferenceError::DeadlineExceeded { .. })) => "late",
            Some(Error::InferenceError(InferenceError::Stopped { .. })) => "stopped",
            Some(Error::Oom(_)) => "oom",
            Some(_) => "failed",
        };
        let model = || Arc::clone(&self.model);
        counter!("gllm_requests_total", "task" => self.task, "model" => model(), "outcome" => outcome).increment(1);
        histogram!("gllm_request_seconds", "task" => self.task, "model" => model()).record(time);
    }
}
