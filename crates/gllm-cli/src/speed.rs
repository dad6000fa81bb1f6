//! How much was read and written for a text, and how fast.

use std::fmt::{self, Display};

use gllm::GenerationResponse;
use serde::Serialize;

/// Tokens of a request, in the shape of the `OpenAI` API.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the published names")]
pub(crate) struct TokenUsage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

/// Times and rates of a request. A rate of nothing is null.
#[derive(Debug, Serialize)]
pub(crate) struct Timings {
    first_token_ms: f64,
    decode_ms: f64,
    cached_tokens: usize,
    prompt_tokens_per_second: Option<f64>,
    tokens_per_second: Option<f64>,
}

/// Both, for a person.
#[derive(Debug)]
pub(crate) struct Speed {
    usage: TokenUsage,
    timings: Timings,
}

impl TokenUsage {
    pub(crate) fn of(response: &GenerationResponse) -> Self {
        let (prompt_tokens, completion_tokens) = (response.usage.prompt_tokens, response.tokens.len());
        Self { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
    }
}

impl Timings {
    pub(crate) fn of(response: &GenerationResponse) -> Self {
        let times = response.timings;
        let read = response.usage.prompt_tokens.saturating_sub(times.cached_tokens);
        // The first token comes of reading the prompt.
        let decoded = response.tokens.len().saturating_sub(1);
        Self {
            first_token_ms: times.first_token_ms,
            decode_ms: times.decode_ms,
            cached_tokens: times.cached_tokens,
            prompt_tokens_per_second: rate(read, times.first_token_ms),
            tokens_per_second: rate(decoded, times.decode_ms),
        }
    }
}

/// So many in so many milliseconds, as a number for a second.
fn rate(count: usize, ms: f64) -> Option<f64> {
    (count > 0 && ms > 0.0).then(|| count as f64 * 1e3 / ms)
}

impl Speed {
    pub(crate) fn of(response: &GenerationResponse) -> Self {
        Self { usage: TokenUsage::of(response), timings: Timings::of(response) }
    }
}

impl Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (usage, timings) = (&self.usage, &self.timings);
        write!(f, "{} prompt tokens", usage.prompt_tokens)?;
        if timings.cached_tokens > 0 {
            write!(f, " ({} cached)", timings.cached_tokens)?;
        }
        write!(f, ", {} generated", usage.completion_tokens)?;
        if usage.completion_tokens > 0 {
            write!(f, ", first after {:.0} ms", timings.first_token_ms)?;
        }
        match timings.tokens_per_second {
            Some(rate) => write!(f, ", {rate:.1} tokens/s"),
            None => Ok(()),
        }
    }
}
