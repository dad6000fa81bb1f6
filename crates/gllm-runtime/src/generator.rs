//! A handle to a thread that owns a model which writes texts.

use std::fmt;
use std::ops::ControlFlow;

use crossbeam_channel::{Sender, bounded};
use gllm_core::{Error, GenerationResponse, Result};
use gllm_models::{GenerateOptions, GenerationEngine, Prompt};

use crate::ClientConfig;
use crate::actor::{self, Request};
use crate::failure::guarded;
use crate::load::find;

/// A way to a thread that owns a model which writes texts. Clones share the thread.
#[derive(Clone, Debug)]
pub struct GeneratorHandle {
    inbox: Sender<GenerateRequest>,
}

/// What comes of a text.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerationEvent {
    /// More of it; empty where nothing can be shown yet.
    Piece(String),
    /// All of it; nothing comes behind this.
    End(GenerationResponse),
}

/// Told of each event; an error is the last. What it returns says whether the text is still wanted.
type Tell = Box<dyn FnMut(Result<GenerationEvent>) -> ControlFlow<()> + Send>;

struct GenerateRequest {
    prompt: Prompt,
    options: GenerateOptions,
    tell: Tell,
}

impl Request for GenerateRequest {
    type Engine = GenerationEngine;

    fn answer(mut self, engine: &GenerationEngine) {
        let tell = &mut self.tell;
        let written = guarded(|| {
            let mut text = engine.start(&self.prompt, &self.options)?;
            for piece in text.by_ref() {
                if tell(Ok(GenerationEvent::Piece(piece?))).is_break() {
                    return Ok(None);
                }
            }
            Ok(Some(text.response()))
        });
        // Whoever isn't interested any more needs no end.
        if let Some(last) = written.map(|text| text.map(GenerationEvent::End)).transpose() {
            let _ = (self.tell)(last);
        }
    }

    fn refuse(mut self, error: Error) {
        let _ = (self.tell)(Err(error));
    }
}

impl fmt::Debug for GenerateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GenerateRequest").field("options", &self.options).finish_non_exhaustive()
    }
}

impl GeneratorHandle {
    /// The model of [`GeneratorHandle::new`].
    pub const DEFAULT_MODEL: &str = "qwen2.5-coder-0.5b-instruct";

    /// Loads [`GeneratorHandle::DEFAULT_MODEL`], downloading it if it isn't in the store.
    ///
    /// # Errors
    /// As [`GeneratorHandle::with_config`].
    pub fn new() -> Result<Self> {
        Self::with_model(Self::DEFAULT_MODEL)
    }

    /// Loads `model`, as the environment and `~/.gllm/config.toml` say.
    ///
    /// # Errors
    /// As [`GeneratorHandle::with_config`].
    pub fn with_model(model: &str) -> Result<Self> {
        Self::with_config(model, ClientConfig::from_env()?)
    }

    /// Loads `model`, with another store or device, and waits until it is ready.
    ///
    /// # Errors
    /// [`gllm_core::ModelNotFound`], [`gllm_core::DownloadError`], or [`gllm_core::LoadError`] that names the file;
    /// [`gllm_core::InvalidConfig`] for a model that is for something else, or a device that isn't there.
    pub fn with_config(model: &str, config: ClientConfig) -> Result<Self> {
        let found = find(model, config, &mut ())?;
        let (ready, is_ready) = bounded(1);
        let handle = Self::spawn(move || found.load_generator(), move |loaded| drop(ready.send(loaded)))?;
        actor::loaded(&is_ready)?;
        Ok(handle)
    }

    /// Starts a thread that loads a model and then answers requests, as [`crate::EmbedderHandle::spawn`] does.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no thread to give.
    pub fn spawn<T: Send + 'static>(
        load: impl FnOnce() -> Result<(GenerationEngine, T)> + Send + 'static,
        ready: impl FnOnce(Result<T>) + Send + 'static,
    ) -> Result<Self> {
        Ok(Self { inbox: actor::spawn("gllm-generator", load, ready)? })
    }

    /// Hands a prompt to the model's thread, which calls `tell` with each event of the text, until it returns
    /// [`ControlFlow::Break`]. Waits while 64 requests are before it.
    pub fn submit(
        &self,
        prompt: Prompt,
        options: GenerateOptions,
        tell: impl FnMut(Result<GenerationEvent>) -> ControlFlow<()> + Send + 'static,
    ) {
        actor::submit(&self.inbox, GenerateRequest { prompt, options, tell: Box::new(tell) });
    }
}
