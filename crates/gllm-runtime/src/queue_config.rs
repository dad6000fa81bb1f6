//! How a model's thread takes requests in and puts them together.

use std::time::Duration;

use gllm_core::{InvalidConfig, Result};

use crate::ClientConfig;

/// How a model's thread takes requests in, puts them together, and what it does when memory runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueConfig {
    /// Requests that may wait or be computed; at least 1.
    pub capacity: usize,
    /// Most tokens of one pass, over all requests in it: between two passes the thread looks at its inbox. A request's own
    /// `batch_tokens` holds too.
    pub batch_tokens: usize,
    /// How much longer a request of low priority waits than one of normal priority that came with it, at most, and one of
    /// normal priority than one of high.
    pub max_wait: Duration,
    /// How long an idle thread waits for others once it has a request. Zero, the default, is best unless requests come one
    /// by one and throughput counts more than delay.
    pub gather: Duration,
    /// Most bytes that a pass may take for what it computes, by estimate. A pass of more is halved.
    pub memory_limit: Option<u64>,
    /// Whether a request that is too large for the device, or one that the device is lost to, may be computed on the CPU.
    pub cpu_fallback: bool,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            capacity: 1024,
            batch_tokens: 2048,
            max_wait: Duration::from_secs(1),
            gather: Duration::ZERO,
            memory_limit: None,
            cpu_fallback: true,
        }
    }
}

impl QueueConfig {
    /// Refuses what can't be.
    pub(crate) fn check(&self) -> Result<()> {
        let zero = |field| Err(InvalidConfig::new(field, "at least 1", "0").into());
        if self.capacity == 0 {
            return zero("capacity");
        }
        if self.batch_tokens == 0 {
            return zero("batch_tokens");
        }
        Ok(())
    }
}

/// What a handle may be told: where its model is and runs, and how requests are taken in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandleConfig {
    /// The store and the device.
    pub client: ClientConfig,
    /// The inbox and the passes.
    pub queue: QueueConfig,
}

impl From<ClientConfig> for HandleConfig {
    fn from(client: ClientConfig) -> Self {
        Self { client, queue: QueueConfig::default() }
    }
}
