//! A handle to a thread that owns a model which writes texts.

use std::fmt;
use std::ops::ControlFlow;

use crossbeam_channel::Sender;
use gllm_core::{Error, GenerationResponse, Result};
use gllm_models::{GenerateOptions, GenerationEngine, Prompt};

use crate::actor::{self, Request, guarded};

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
