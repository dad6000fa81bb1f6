//! The texts that a model's thread writes together, and those that wait.
//!
//! Between two steps texts join and leave: who is due first joins as soon as there is room for it, who is at its end, or
//! isn't wanted any more, leaves. A step is one pass for all texts. Prompts are read in parts, so that a long one costs
//! the others some speed but never their turn. Where memory runs short, the text that joined last goes back to those that
//! wait: it reads again what it has, and goes on.
//!
//! Invariant: a text is with those that wait, or with those that are written, or it has been ended. What is written in it
//! doesn't depend on any of this.

use std::time::{Duration, Instant};

use gllm_core::{Error, GenerationResponse, OutOfMemory, Result};

use super::engine::{Text, TextEngine};
use super::telemetry::Telemetry;
use super::{GenerateRequest, TextsConfig};
use crate::Priority;
use crate::failure::{Computed, Failure, attempt, attempt_request, guarded};
use crate::queue::inbox::{Ticket, stopped};

/// Texts of one model.
pub(crate) struct Batch<T> {
    config: TextsConfig,
    telemetry: Telemetry,
    waiting: Vec<Waiting<T>>,
    /// In the order in which they joined.
    running: Vec<Running<T>>,
    /// Texts that there was memory for.
    room: usize,
    /// Whether memory ran out in the last step.
    was_short: bool,
}

struct Waiting<T> {
    ticket: Ticket<GenerateRequest>,
    /// One that was begun already.
    text: Option<T>,
}

struct Running<T> {
    ticket: Ticket<GenerateRequest>,
    text: T,
    /// Tokens that were counted.
    written: usize,
}

impl<T: Text> Batch<T> {
    /// No texts.
    pub(crate) fn new(config: TextsConfig, telemetry: Telemetry) -> Self {
        let (waiting, running) = (Vec::new(), Vec::new());
        Self { config, telemetry, waiting, running, room: config.max_texts, was_short: false }
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// Adds a text that waits.
    pub(crate) fn push(&mut self, ticket: Ticket<GenerateRequest>) {
        self.waiting.push(Waiting { ticket, text: None });
    }

    /// Ends all texts, because the thread does.
    pub(crate) fn stop(&mut self) {
        self.end_all(|| stopped("it was shut down"));
    }

    /// Ends all texts, because they can't be written.
    pub(crate) fn refuse(&mut self, failure: &Failure) {
        self.end_all(|| failure.clone().into_error());
    }

    /// Makes those that were begun go on with another engine.
    pub(crate) fn move_to<E: TextEngine<Text = T>>(&mut self, engine: &E) {
        for text in self.waiting.iter_mut().filter_map(|waiting| waiting.text.as_mut()) {
            engine.set_back(text);
        }
    }

    /// Lets texts leave and join, and writes a token of each, or reads a part of its prompt.
    ///
    /// # Errors
    /// Why the step gave nothing; then the texts that were written have been ended with it.
    pub(crate) fn step<E: TextEngine<Text = T>>(&mut self, engine: &E, device: &str) -> Computed<()> {
        self.let_go(engine, Instant::now());
        self.keep_within_memory(engine, device);
        self.admit(engine, device);
        self.telemetry.texts(self.waiting.len(), self.running.len());
        if self.running.is_empty() {
            return Ok(());
        }
        let writing = self.running.iter().filter(|running| running.text.written() > 0).count();
        let reading = self.running.len() - writing;
        let tokens = writing + if writing == 0 { self.config.read_tokens } else { self.config.read_tokens_beside };
        let span = if reading == 0 {
            tracing::debug_span!("decode", texts = writing)
        } else {
            tracing::debug_span!("prefill", texts = reading, beside = writing)
        };
        let start = Instant::now();
        let mut texts: Vec<&mut T> = self.running.iter_mut().map(|running| &mut running.text).collect();
        match span.in_scope(|| attempt(tokens, device, || engine.advance(&mut texts, tokens))) {
            Ok(outcomes) => {
                self.was_short = false;
                let texts = self.running.len();
                let written = self.hand_on(engine, outcomes);
                self.telemetry.step(texts, written, start.elapsed());
                Ok(())
            }
            Err(Failure::OutOfMemory(error)) if self.running.len() > 1 || !self.was_short => {
                self.make_room(engine, &error);
                Ok(())
            }
            Err(failure) => {
                self.fail(engine, &failure);
                Err(failure)
            }
        }
    }

    /// Ends the texts that aren't wanted any more; what they have read is kept.
    fn let_go<E: TextEngine<Text = T>>(&mut self, engine: &E, now: Instant) {
        let is_unwanted =
            |ticket: &Ticket<GenerateRequest>| !ticket.work.writer.is_wanted() || ticket.unwanted(now).is_some();
        let waiting = self.waiting.extract_if(.., |waiting| is_unwanted(&waiting.ticket));
        let waiting: Vec<_> = waiting.map(|waiting| (waiting.ticket, waiting.text)).collect();
        let running = self.running.extract_if(.., |running| is_unwanted(&running.ticket));
        let running = running.map(|running| (running.ticket, Some(running.text)));
        for (ticket, text) in waiting.into_iter().chain(running) {
            if let Some(text) = text {
                engine.keep(&text);
            }
            let error = ticket.unwanted(now).unwrap_or_else(|| gllm_core::InferenceError::Cancelled.into());
            end(&self.telemetry, ticket, Err(error));
        }
    }

    /// Sends texts back to wait that have grown beyond the limit together, the last one first.
    fn keep_within_memory<E: TextEngine<Text = T>>(&mut self, engine: &E, device: &str) {
        let Some(limit) = self.config.memory_limit else { return };
        while self.bytes() > limit {
            let Some(Running { ticket, mut text, .. }) = self.running.pop() else { return };
            if self.running.is_empty() {
                return end(&self.telemetry, ticket, Err(too_large(&text, limit, device)));
            }
            engine.set_back(&mut text);
            self.waiting.push(Waiting { ticket, text: Some(text) });
        }
    }

    /// Lets texts join for which there is room, who is due first before the others.
    fn admit<E: TextEngine<Text = T>>(&mut self, engine: &E, device: &str) {
        let (limit, max_wait) = (self.config.memory_limit.unwrap_or(u64::MAX), self.config.max_wait);
        while self.running.len() < self.room {
            let due = |place: &usize| due(&self.waiting[*place].ticket, max_wait);
            let Some(place) = (0..self.waiting.len()).min_by_key(due) else { return };
            let Waiting { mut ticket, text } = self.waiting.remove(place);
            let GenerateRequest { prompt, options, .. } = &ticket.work;
            let begun = text.map_or_else(|| attempt_request(0, device, || engine.begin(prompt, options)), Ok);
            let text = match begun {
                Ok(text) => text,
                Err(error) => {
                    end(&self.telemetry, ticket, Err(error));
                    continue;
                }
            };
            if bytes(&text) > limit {
                end(&self.telemetry, ticket, Err(too_large(&text, limit, device)));
            } else if self.bytes().saturating_add(bytes(&text)) > limit {
                // Those behind it wait too: it would wait for ever.
                self.waiting.push(Waiting { ticket, text: Some(text) });
                return;
            } else {
                if let Some(waited) = ticket.leave_queue() {
                    self.telemetry.waited(waited);
                }
                self.running.push(Running { ticket, written: text.written(), text });
            }
        }
    }

    /// Hands pieces on, and ends the texts that are at their end. Returns the tokens that are new.
    fn hand_on<E: TextEngine<Text = T>>(&mut self, engine: &E, outcomes: Vec<Result<()>>) -> usize {
        let mut all_written = 0;
        for (running, outcome) in std::mem::take(&mut self.running).into_iter().zip(outcomes) {
            let Running { ticket, mut text, written: before } = running;
            if let Err(error) = outcome {
                end(&self.telemetry, ticket, Err(error));
                continue;
            }
            let written = text.written();
            all_written += written - before;
            if before == 0 && written > 0 {
                self.telemetry.first_token(ticket.arrived.elapsed());
            }
            ticket.work.writer.write(&text.take_piece());
            if text.finish_reason().is_none() {
                self.running.push(Running { ticket, text, written });
                continue;
            }
            engine.keep(&text);
            end(&self.telemetry, ticket, Ok(text.response()));
            // There may be memory for one more again.
            self.room = (self.room + 1).min(self.config.max_texts);
        }
        all_written
    }

    /// Lets half of the texts wait, the last ones; all of them read again what they have.
    fn make_room<E: TextEngine<Text = T>>(&mut self, engine: &E, error: &OutOfMemory) {
        let texts = self.running.len();
        self.room = (texts / 2).max(1);
        tracing::warn!(%error, texts, room = self.room, "out of memory: fewer texts are written together");
        self.was_short = true;
        engine.forget();
        for running in &mut self.running {
            engine.set_back(&mut running.text);
        }
        let rest = self.running.split_off(self.room.min(texts));
        self.waiting.extend(rest.into_iter().map(|Running { ticket, text, .. }| Waiting { ticket, text: Some(text) }));
    }

    /// Ends the texts that are written.
    fn fail<E: TextEngine<Text = T>>(&mut self, engine: &E, failure: &Failure) {
        tracing::warn!(?failure, texts = self.running.len(), "a step failed, and with it the texts in it");
        let running = std::mem::take(&mut self.running);
        let tickets: Vec<_> = running.into_iter().map(|Running { ticket, text, .. }| (ticket, text)).collect();
        for (ticket, text) in tickets {
            drop(text);
            end(&self.telemetry, ticket, Err(failure.clone().into_error()));
        }
        // What was read may be unsound.
        let forget = || {
            engine.forget();
            Ok(())
        };
        if let Err(error) = guarded(forget) {
            tracing::warn!(%error, "what was kept of texts can't be given back");
        }
    }

    fn end_all(&mut self, why: impl Fn() -> Error) {
        let waiting = self.waiting.drain(..).map(|waiting| waiting.ticket);
        for ticket in waiting.chain(self.running.drain(..).map(|running| running.ticket)) {
            end(&self.telemetry, ticket, Err(why()));
        }
    }

    /// Of the texts that are written.
    fn bytes(&self) -> u64 {
        self.running.iter().map(|running| bytes(&running.text)).fold(0, u64::saturating_add)
    }
}

fn bytes(text: &impl Text) -> u64 {
    u64::try_from(text.bytes()).unwrap_or(u64::MAX)
}

/// When it is a request's turn, relative to others.
fn due(ticket: &Ticket<GenerateRequest>, max_wait: Duration) -> Instant {
    let later = match ticket.options.priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    };
    ticket.arrived.checked_add(max_wait.saturating_mul(later)).unwrap_or(ticket.arrived)
}

fn end(telemetry: &Telemetry, ticket: Ticket<GenerateRequest>, end: Result<GenerationResponse>) {
    telemetry.ended(ticket.arrived.elapsed(), &end);
    ticket.into_work().writer.end(end);
}

fn too_large(text: &impl Text, limit: u64, device: &str) -> Error {
    let needed = bytes(text);
    OutOfMemory {
        tokens: text.tokens(),
        device: device.into(),
        needed_bytes: Some(needed),
        limit_bytes: Some(limit),
        reason: format!("its keys and values take {needed} bytes, the limit is {limit}"),
    }
    .into()
}
