//! What is counted of texts, through the facade `metrics`, beside what is of every request.

use std::sync::Arc;
use std::time::Duration;

use gllm_core::{Error, GenerationResponse};
use metrics::{counter, gauge, histogram};

use crate::observe::Observer;

/// The metrics of a model that writes texts.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    of_requests: Observer,
    model: Arc<str>,
}

impl Telemetry {
    pub(crate) fn new(model: &str) -> Self {
        Self { of_requests: Observer::new("generate", model), model: model.into() }
    }

    /// Texts that wait, or are written.
    pub(super) fn texts(&self, waiting: usize, running: usize) {
        self.of_requests.depth(waiting + running);
        gauge!("gllm_texts_running", "model" => Arc::clone(&self.model)).set(running as f64);
    }

    /// How long a text waited until it was begun.
    pub(super) fn waited(&self, time: Duration) {
        self.of_requests.waited(time);
    }

    /// How long the first token of a text took since it was asked for.
    pub(super) fn first_token(&self, time: Duration) {
        histogram!("gllm_first_token_seconds", "model" => Arc::clone(&self.model)).record(time);
    }

    /// Tokens that a step has written, in how many texts, in what time.
    pub(super) fn step(&self, texts: usize, tokens: usize, time: Duration) {
        let model = || Arc::clone(&self.model);
        histogram!("gllm_step_texts", "model" => model()).record(texts as f64);
        histogram!("gllm_step_seconds", "model" => model()).record(time);
        counter!("gllm_written_tokens_total", "model" => model()).increment(tokens as u64);
    }

    /// How a text ended, after `time` since it was asked for.
    pub(super) fn ended(&self, time: Duration, end: &Result<GenerationResponse, Error>) {
        self.of_requests.answered(time, end.as_ref().err());
        let Ok(response) = end else { return };
        let between = response.tokens.len().saturating_sub(1) as f64;
        if between > 0.0 && response.timings.decode_ms > 0.0 {
            let tokens_per_second = between * 1e3 / response.timings.decode_ms;
            histogram!("gllm_text_tokens_per_second", "model" => Arc::clone(&self.model)).record(tokens_per_second);
        }
    }
}
