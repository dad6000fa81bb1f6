//! The thread of a model that answers in passes: takes requests in, computes what waits together, answers.
//!
//! An idle thread starts at once with what is there; while it computes, others gather. Between two passes it looks at its
//! inbox and lets go of what isn't wanted any more. Invariant: a request leaves with its answer, whatever fails.

use std::collections::BTreeMap;
use std::time::Instant;

use gllm_core::{Error, InferenceError, Result};
use gllm_models::threads;
use rayon::prelude::*;

use crate::QueueConfig;
use crate::engine::Engine;
use crate::failure::{Computed, guarded};
use crate::model::{Model, Sequence};
use crate::observe::Observer;
use crate::queue::inbox::{Requests, Ticket, stopped};
use crate::queue::reply::Reply;
use crate::reload::lost;
use crate::schedule::{Id, Pass, Schedule};

/// A request with the way back.
pub(crate) struct Work<E: Engine> {
    pub(crate) request: E::Request,
    pub(crate) reply: Reply<E::Response>,
}

/// A request that is being answered.
struct Active<E: Engine> {
    ticket: Ticket<Work<E>>,
    job: E::Job,
    /// What each sequence gave so far.
    parts: Vec<Option<E::Part>>,
    missing: usize,
}

struct Batching<'a, E: Engine> {
    model: Model<E>,
    config: &'a QueueConfig,
    observer: Observer,
    schedule: Schedule<E::Kind>,
    active: BTreeMap<Id, Active<E>>,
    next_id: Id,
    /// Of the model that the jobs were made by.
    generation: u32,
}

/// Answers requests until there won't be any more.
pub(crate) fn run<E: Engine>(
    mut requests: Requests<Work<E>>,
    model: Model<E>,
    config: &QueueConfig,
    observer: Observer,
) {
    let schedule = Schedule::new(Instant::now(), config.max_wait);
    let mut batching =
        Batching { model, config, observer, schedule, active: BTreeMap::new(), next_id: 0, generation: 0 };
    loop {
        let mut arrived = Vec::new();
        if batching.active.is_empty() {
            let Some(first) = requests.next() else { break };
            arrived.push(first);
            if let Some(end) = Instant::now().checked_add(config.gather).filter(|_| !config.gather.is_zero()) {
                arrived.extend(std::iter::from_fn(|| requests.next_until(end)));
            }
        }
        arrived.extend(std::iter::from_fn(|| requests.try_next()));
        if requests.is_cancelled() {
            for ticket in arrived {
                ticket.into_work().reply.give(Err(stopped("it was shut down")));
            }
            batching.cancel_all();
            break;
        }
        batching.observer.depth(requests.depth());
        batching.accept(arrived);
        let now = Instant::now();
        batching.let_go(now);
        requests.sweep(now);
        batching.step();
    }
    batching.observer.depth(0);
}

impl<E: Engine> Batching<'_, E> {
    /// Tokenizes requests, side by side where there are several.
    fn accept(&mut self, arrived: Vec<Ticket<Work<E>>>) {
        let now = Instant::now();
        let wanted: Vec<_> = arrived.into_iter().filter_map(|ticket| self.wanted(ticket, now)).collect();
        if wanted.is_empty() {
            return;
        }
        let span = tracing::debug_span!("tokenise", requests = wanted.len());
        let prepared: Vec<Result<E::Job>> = span.in_scope(|| match self.model.engine() {
            Ok(engine) => {
                let prepare = |ticket: &Ticket<Work<E>>| {
                    let job = guarded(|| engine.prepare(&ticket.work.request));
                    // To whoever waits for this core, an executor's thread for one.
                    std::thread::yield_now();
                    job
                };
                match &wanted[..] {
                    [alone] => vec![prepare(alone)],
                    several => threads::on_pool(|| several.par_iter().map(prepare).collect()),
                }
            }
            Err(_) => wanted.iter().map(|_| Err(lost().into_error())).collect(),
        });
        self.prepare_again();
        for (mut ticket, job) in wanted.into_iter().zip(prepared) {
            if let Some(waited) = ticket.leave_queue() {
                self.observer.waited(waited);
            }
            match job {
                Ok(job) => self.add(ticket, job),
                Err(error) => self.answer(ticket, Err(error)),
            }
        }
    }

    fn add(&mut self, ticket: Ticket<Work<E>>, job: E::Job) {
        let missing = E::lengths(&job).len();
        let parts = std::iter::repeat_with(|| None).take(missing).collect();
        let active = Active { ticket, job, parts, missing };
        if missing == 0 {
            // No pass would have it.
            return self.finish(active, None);
        }
        let Active { ticket, job, .. } = &active;
        let urgency = (ticket.arrived, ticket.options.priority);
        self.schedule.add(self.next_id, urgency, E::kind(job), E::lengths(job), E::batch_tokens(job));
        self.active.insert(self.next_id, active);
        self.next_id += 1;
    }

    /// Lets go of requests that aren't wanted any more.
    fn let_go(&mut self, now: Instant) {
        let unwanted =
            |active: &Active<E>| !active.ticket.work.reply.is_wanted() || active.ticket.unwanted(now).is_some();
        let gone: Vec<Id> = self.active.iter().filter(|(_, active)| unwanted(active)).map(|(id, _)| *id).collect();
        for active in gone.into_iter().filter_map(|id| self.take(id)).collect::<Vec<_>>() {
            self.wanted(active.ticket, now);
        }
    }

    /// The ticket, if its request is still wanted; else it is answered, in case somebody waits.
    fn wanted(&self, ticket: Ticket<Work<E>>, now: Instant) -> Option<Ticket<Work<E>>> {
        let error = match ticket.unwanted(now) {
            Some(error) => error,
            None if ticket.work.reply.is_wanted() => return Some(ticket),
            None => InferenceError::Cancelled.into(),
        };
        self.answer(ticket, Err(error));
        None
    }

    fn cancel_all(&mut self) {
        let ids: Vec<Id> = self.active.keys().copied().collect();
        for active in ids.into_iter().filter_map(|id| self.take(id)).collect::<Vec<_>>() {
            self.answer(active.ticket, Err(stopped("it was shut down")));
        }
    }

    fn take(&mut self, id: Id) -> Option<Active<E>> {
        self.schedule.remove(id);
        self.active.remove(&id)
    }

    /// One pass over what is due.
    fn step(&mut self) {
        let pass = self.schedule.next(self.config.batch_tokens);
        if pass.is_empty() {
            return;
        }
        let active = &self.active;
        let sequences: Vec<Sequence<'_, E>> = (pass.iter())
            .filter_map(|&(owner, place)| {
                let Active { ticket, job, .. } = active.get(&owner)?;
                Some(Sequence { owner, request: &ticket.work.request, job, place })
            })
            .collect();
        let tokens: usize = sequences.iter().map(Sequence::tokens).sum();
        let requests = sequences.chunk_by(|a, b| a.owner == b.owner).count();
        let lengths: Vec<(Id, usize)> = sequences.iter().map(|sequence| (sequence.owner, sequence.tokens())).collect();

        let span = tracing::debug_span!("forward", task = E::TASK, requests, sequences = sequences.len(), tokens);
        let start = Instant::now();
        let found = span.in_scope(|| self.model.compute(&sequences));
        let took = start.elapsed();
        self.observer.pass(requests, sequences.len(), tokens, took);
        for (owner, length) in lengths {
            self.schedule.charge(owner, took.mul_f64(length as f64 / tokens.max(1) as f64));
        }
        self.keep(pass, found);
        self.prepare_again();
    }

    /// Keeps what a pass gave, and answers requests that have all or failed.
    fn keep(&mut self, pass: Pass, found: Vec<Computed<E::Part>>) {
        for ((id, place), part) in pass.into_iter().zip(found) {
            // Gone if another of its sequences failed.
            let Some(active) = self.active.get_mut(&id) else { continue };
            let error = match part {
                Ok(part) => {
                    active.parts[place] = Some(part);
                    active.missing -= 1;
                    if active.missing > 0 {
                        continue;
                    }
                    None
                }
                Err(failure) => Some(failure.into_error()),
            };
            if let Some(active) = self.take(id) {
                self.finish(active, error);
            }
        }
    }

    fn finish(&mut self, active: Active<E>, error: Option<Error>) {
        let Active { ticket, job, parts, .. } = active;
        let answer = match error {
            Some(error) => Err(error),
            None => match self.model.engine() {
                Ok(engine) => guarded(|| engine.finish(&job, parts.into_iter().flatten().collect())),
                Err(error) => Err(error),
            },
        };
        self.answer(ticket, answer);
    }

    fn answer(&self, ticket: Ticket<Work<E>>, answer: Result<E::Response>) {
        self.observer.answered(ticket.arrived.elapsed(), answer.as_ref().err());
        ticket.into_work().reply.give(answer);
    }

    /// Jobs belong to the engine that made them.
    fn prepare_again(&mut self) {
        if self.generation == self.model.generation() {
            return;
        }
        self.generation = self.model.generation();
        let mut failed = Vec::new();
        for (id, active) in &mut self.active {
            let request = &active.ticket.work.request;
            match self.model.engine().and_then(|engine| guarded(|| engine.prepare(request))) {
                Ok(job) => active.job = job,
                Err(error) => failed.push((*id, error)),
            }
        }
        for (id, error) in failed {
            if let Some(active) = self.take(id) {
                self.answer(active.ticket, Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests;
