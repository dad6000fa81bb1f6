//! How a model's thread takes texts in and writes them together.

use std::time::Duration;

use gllm_core::{InvalidConfig, Result};

use crate::{ClientConfig, QueueConfig};

/// How a model's thread takes texts in, writes them together, and what it does when memory runs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextsConfig {
    /// Texts that may wait or be written; at least 1.
    pub capacity: usize,
    /// Most texts that are written together; at least 1.
    pub max_texts: usize,
    /// Most tokens of prompts that are read in a step while no text is written; at least 1.
    pub read_tokens: usize,
    /// The same, while others are written: fewer, so that these go on sooner; at least 1.
    pub read_tokens_beside: usize,
    /// How much longer a text of low priority waits than one of normal priority that came with it, at most, and one of
    /// normal priority than one of high.
    pub max_wait: Duration,
    /// Most bytes that keys and values of the texts may take that are written; the last of them wait where it isn't
    /// enough. What is kept of finished texts has a limit of its own, 256 MiB.
    pub memory_limit: Option<u64>,
    /// Whether a model may be moved to the CPU once its device is lost.
    pub cpu_fallback: bool,
}

impl Default for TextsConfig {
    fn default() -> Self {
        Self {
            capacity: 1024,
            max_texts: 16,
            read_tokens: 256,
            read_tokens_beside: 64,
            max_wait: Duration::from_secs(1),
            memory_limit: None,
            cpu_fallback: true,
        }
    }
}

impl From<&QueueConfig> for TextsConfig {
    /// As many requests, as patient, and the CPU as a refuge or not. What a pass may take isn't what texts may.
    fn from(queue: &QueueConfig) -> Self {
        let QueueConfig { capacity, max_wait, cpu_fallback, .. } = *queue;
        Self { capacity, max_wait, cpu_fallback, ..Self::default() }
    }
}

impl TextsConfig {
    /// Refuses what can't be.
    pub(crate) fn check(&self) -> Result<()> {
        let fields = [
            ("capacity", self.capacity),
            ("max_texts", self.max_texts),
            ("read_tokens", self.read_tokens),
            ("read_tokens_beside", self.read_tokens_beside),
        ];
        match fields.into_iter().find(|(_, value)| *value == 0) {
            Some((field, _)) => Err(InvalidConfig::new(field, "at least 1", "0").into()),
            None => Ok(()),
        }
    }
}

/// What a handle of a model that writes texts may be told: where its model is and runs, and how texts are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GeneratorConfig {
    /// The store and the device.
    pub client: ClientConfig,
    /// The inbox and the steps.
    pub texts: TextsConfig,
}

impl From<ClientConfig> for GeneratorConfig {
    fn from(client: ClientConfig) -> Self {
        Self { client, texts: TextsConfig::default() }
    }
}
