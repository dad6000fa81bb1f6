//! A model that outlives its failures: it is loaded again where it has become unsound, and computed on the CPU where its
//! device has no memory for it.
//!
//! Invariant: [`Model::compute`] says of each sequence what was found or why not; it never panics.

use gllm_core::{Error, InferenceError, OutOfMemory, Result};

use crate::engine::Engine;
use crate::failure::{Computed, Failure, attempt, guarded};
use crate::reload::{Loaded, Reloadable, lost};

/// An engine, and how to get another.
pub(crate) struct Model<E> {
    /// On the CPU, for sequences that the device has no memory for. Dropped before `source`, as `source` says.
    spare: Option<E>,
    source: Reloadable<E>,
    /// Most bytes of a pass.
    limit: Option<u64>,
    generation: u32,
}

/// A sequence of a request: its job, what the job was made of, and its place there.
pub(crate) struct Sequence<'a, E: Engine> {
    pub(crate) owner: u64,
    pub(crate) request: &'a E::Request,
    pub(crate) job: &'a E::Job,
    pub(crate) place: usize,
}

impl<E: Engine> Clone for Sequence<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: Engine> Copy for Sequence<'_, E> {}

impl<E: Engine> Sequence<'_, E> {
    pub(crate) fn tokens(&self) -> usize {
        E::lengths(self.job)[self.place]
    }
}

impl<E: Engine> Model<E> {
    /// A model whose passes may take at most `limit` bytes beside the weights.
    pub(crate) fn new(source: Reloadable<E>, limit: Option<u64>) -> Self {
        Self { spare: None, source, limit, generation: 0 }
    }

    /// How often it was loaded again. Jobs of an earlier generation have to be prepared again.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// The engine, loaded again if it was lost.
    pub(crate) fn engine(&mut self) -> Result<&E> {
        if self.source.loaded().is_none() && !self.reload() {
            return Err(lost().into_error());
        }
        self.source.loaded().map(|loaded| &loaded.engine).ok_or_else(|| lost().into_error())
    }

    /// What each sequence of a pass gives.
    pub(crate) fn compute(&mut self, batch: &[Sequence<'_, E>]) -> Vec<Computed<E::Part>> {
        self.compute_or_reload(batch, self.generation, true)
    }

    /// The same, of jobs of this `generation`.
    fn compute_or_reload(
        &mut self,
        batch: &[Sequence<'_, E>],
        generation: u32,
        may_reload: bool,
    ) -> Vec<Computed<E::Part>> {
        if batch.is_empty() {
            return Vec::new();
        }
        if generation != self.generation {
            return self.compute_anew(batch);
        }
        match self.pass(batch) {
            Ok(parts) => parts.into_iter().map(Ok).collect(),
            Err(Failure::OutOfMemory(error)) => {
                self.reclaim(&error);
                if let [alone] = batch {
                    return vec![self.on_the_cpu(alone, error)];
                }
                tracing::warn!(%error, sequences = batch.len(), "out of memory: the pass is halved");
                let (first, second) = batch.split_at(batch.len() / 2);
                let mut found = self.compute_or_reload(first, generation, may_reload);
                found.extend(self.compute_or_reload(second, generation, may_reload));
                found
            }
            Err(failure) if may_reload && !self.source.loaded().is_some_and(is_sound) => {
                tracing::warn!(?failure, "the model doesn't compute any more: it is loaded again");
                if self.reload() { self.compute_anew(batch) } else { all(batch, &failure) }
            }
            Err(failure) => {
                let requests: Vec<&[Sequence<'_, E>]> = batch.chunk_by(|a, b| a.owner == b.owner).collect();
                if let [_] = requests[..] {
                    return all(batch, &failure);
                }
                tracing::warn!(?failure, requests = requests.len(), "a pass failed: its requests are tried one by one");
                let one = |request| self.compute_or_reload(request, generation, may_reload);
                requests.into_iter().flat_map(one).collect()
            }
        }
    }

    /// A pass over all of `batch` at once.
    fn pass(&self, batch: &[Sequence<'_, E>]) -> Computed<Vec<E::Part>> {
        let loaded = self.source.loaded().ok_or_else(lost)?;
        let (engine, device) = (&loaded.engine, &loaded.device);
        let tokens = batch.iter().map(Sequence::tokens).sum();
        let needed = engine.needed_bytes(tokens);
        if let Some(limit) = self.limit.filter(|limit| needed > *limit) {
            return Err(Failure::OutOfMemory(OutOfMemory {
                tokens,
                device: device.clone(),
                needed_bytes: Some(needed),
                limit_bytes: Some(limit),
                reason: format!("it takes about {needed} bytes, the limit is {limit}"),
            }));
        }
        let sequences: Vec<_> = batch.iter().map(|sequence| (sequence.job, sequence.place)).collect();
        let parts = attempt(tokens, device, || engine.forward(&sequences))?;
        if parts.len() == batch.len() {
            return Ok(parts);
        }
        let reason = format!("{} sequences gave {} results", batch.len(), parts.len());
        Err(Failure::Other(InferenceError::Device { reason }))
    }

    /// Asks the device, if it was the device that had no memory, to give back what it can.
    fn reclaim(&self, error: &OutOfMemory) {
        if let Some(Loaded { engine, .. }) = self.source.loaded().filter(|_| error.limit_bytes.is_none()) {
            let _ = guarded(|| {
                engine.reclaim();
                Ok(())
            });
        }
    }

    /// After the model was loaded again: jobs belong to the engine that made them.
    fn compute_anew(&mut self, batch: &[Sequence<'_, E>]) -> Vec<Computed<E::Part>> {
        let mut found = Vec::with_capacity(batch.len());
        for request in batch.chunk_by(|a, b| a.owner == b.owner) {
            let Some(first) = request.first() else { continue };
            let prepared = match self.engine() {
                Ok(engine) => attempt(first.tokens(), "", || engine.prepare(first.request)),
                Err(_) => Err(lost()),
            };
            match prepared {
                Ok(job) => {
                    let anew: Vec<_> = request.iter().map(|sequence| Sequence { job: &job, ..*sequence }).collect();
                    found.extend(self.compute_or_reload(&anew, self.generation, false));
                }
                Err(failure) => found.extend(all(request, &failure)),
            }
        }
        found
    }

    /// Loads the model again; `false` if it is lost.
    fn reload(&mut self) -> bool {
        self.spare = None;
        self.generation += 1;
        self.source.reload(is_sound)
    }

    /// A sequence that the device has no memory for.
    fn on_the_cpu(&mut self, sequence: &Sequence<'_, E>, error: OutOfMemory) -> Computed<E::Part> {
        if !self.source.may_use_cpu() {
            return Err(Failure::OutOfMemory(error));
        }
        let engine = if let Some(engine) = &self.spare {
            engine
        } else {
            match self.source.load_on_cpu() {
                Ok(engine) => self.spare.insert(engine),
                Err(failed) => {
                    tracing::warn!(%failed, "the model can't be loaded onto the CPU");
                    return Err(Failure::OutOfMemory(error));
                }
            }
        };
        tracing::warn!(%error, "out of memory for a single sequence: it is computed on the CPU");
        attempt(sequence.tokens(), "cpu", || {
            let job = engine.prepare(sequence.request)?;
            let mut parts = engine.forward(&[(&job, sequence.place)])?;
            parts.pop().ok_or_else(|| Error::from(InferenceError::Device { reason: "it gave nothing".into() }))
        })
    }
}

/// Whether a model computes what every sound one does.
fn is_sound<E: Engine>(loaded: &Loaded<E>) -> bool {
    let Loaded { engine, device, .. } = loaded;
    let probed = attempt(1, device, || {
        let job = engine.prepare(&engine.probe())?;
        engine.forward(&[(&job, 0)]).map(drop)
    });
    !matches!(probed, Err(Failure::Other(_)))
}

fn all<E: Engine>(batch: &[Sequence<'_, E>], failure: &Failure) -> Vec<Computed<E::Part>> {
    batch.iter().map(|_| Err(failure.clone())).collect()
}
