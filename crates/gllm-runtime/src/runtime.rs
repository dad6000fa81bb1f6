//! Several models in one process: by name, loaded when they are asked for, within a limit of memory.
//!
//! Each model has a thread of its own; what they compute runs on the one pool of threads that the process has, as many as
//! there are cores, so models that compute at the same time share the cores and don't compete for them. All are on the
//! same device.
//!
//! Invariant: what is loaded, being loaded or about to leave takes no more than the limit, by the size of the weights
//! ([`gllm_models::weight_bytes`]). A model leaves only when nobody has a lease of it, and has answered then what it was
//! asked. What it takes is given back by its own thread, at its end, so it counts as long as it is there, also where
//! whoever loads it or makes it leave doesn't wait for that any more.

mod kind;
mod models;

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Instant;

use gllm_core::{InvalidConfig, ModelNotFound, OutOfMemory, Result};

use self::kind::AnyHandle;
use self::models::{Lookup, Models, Room};
use crate::load::{look_holding, refused};
use crate::queue::inbox::{Shutdown, deadline_exceeded, no_longer_wanted};
use crate::queue::wait::wait;
use crate::{
    ClientConfig, EmbedderHandle, GeneratorHandle, QueueConfig, RequestOptions, RerankerHandle, TextsConfig, WhenFull,
};

pub use self::kind::ModelHandle;
pub use self::models::ModelState;

/// What a runtime may be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Most bytes that the models may take together that are loaded: their weights, and what texts may take
    /// ([`TextsConfig::memory_limit`]) where that is limited. What is computed comes on top. `None`: any number.
    pub memory_limit: Option<u64>,
    /// The store and the device of all models.
    pub client: ClientConfig,
    /// How models that embed or rank take requests in.
    pub queue: QueueConfig,
    /// How models that write texts take requests in.
    pub texts: TextsConfig,
}

/// Models by name, loaded when they are asked for. Clones are the same.
///
/// ```no_run
/// use gllm_runtime::{Runtime, RuntimeConfig};
/// let runtime = Runtime::new(RuntimeConfig { memory_limit: Some(2 << 30), ..RuntimeConfig::default() });
/// runtime.add("search", "all-MiniLM-L6-v2")?;
/// runtime.add("chat", "qwen2.5-coder-0.5b-instruct")?;
/// let vector = runtime.embedder("search")?.embed("text1")?;
/// let answer = runtime.generator("chat")?.generate("Write a haiku about Rust.")?;
/// # Ok::<(), gllm_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

struct Shared {
    config: RuntimeConfig,
    state: Mutex<State>,
}

struct State {
    models: Models<AnyHandle>,
    /// Counts changes.
    version: u64,
    waiting: Vec<Waker>,
}

/// A handle of a model that stays loaded until the lease is dropped. Take one for each request or a few of them, rather
/// than keep it: then models that are asked for more often stay, and others can be loaded. What was asked is answered
/// also when the lease is gone; a clone of the handle that outlives the lease may find that the model's thread has ended.
#[derive(Debug)]
pub struct Lease<H> {
    handle: H,
    _given: Given,
}

/// Gives a lease back.
struct Given {
    shared: Arc<Shared>,
    name: String,
    load: u64,
}

/// A model that is being loaded, is here or about to leave; when this is dropped it is absent. It goes with what was found
/// of the model, first to the thread that looks, in the end to the model's own. A runtime ends without waiting for it.
struct Presence {
    shared: Weak<Shared>,
    name: String,
}

impl Runtime {
    /// A runtime without models.
    #[must_use]
    pub fn new(config: RuntimeConfig) -> Self {
        let models = Models::new(config.memory_limit.unwrap_or(u64::MAX));
        let state = Mutex::new(State { models, version: 0, waiting: Vec::new() });
        Self { shared: Arc::new(Shared { config, state }) }
    }

    /// Calls `model`, an alias, `org/name` or a path as everywhere, by `name`. Nothing is loaded.
    ///
    /// # Errors
    /// [`InvalidConfig`] if another model is called so.
    pub fn add(&self, name: impl Into<String>, model: impl Into<String>) -> Result<()> {
        let (name, model) = (name.into(), model.into());
        if self.shared.lock().models.add(&name, &model) {
            return Ok(());
        }
        Err(InvalidConfig::new("name", "one that no other model has", format!("`{name}` for `{model}`")).into())
    }

    /// The embedding model of this name. Loads it if it isn't, and waits for that.
    ///
    /// # Errors
    /// As [`Runtime::get`].
    pub fn embedder(&self, name: &str) -> Result<Lease<EmbedderHandle>> {
        self.get(name, &RequestOptions::default())
    }

    /// The reranker of this name. Loads it if it isn't, and waits for that.
    ///
    /// # Errors
    /// As [`Runtime::get`].
    pub fn reranker(&self, name: &str) -> Result<Lease<RerankerHandle>> {
        self.get(name, &RequestOptions::default())
    }

    /// The model of this name, which writes texts. Loads it if it isn't, and waits for that.
    ///
    /// # Errors
    /// As [`Runtime::get`].
    pub fn generator(&self, name: &str) -> Result<Lease<GeneratorHandle>> {
        self.get(name, &RequestOptions::default())
    }

    /// The model of this name, by the kind of handle that is wanted. Loads it if it isn't; models leave for it that weren't
    /// used for longer. Where all are in use it waits, or says so, as `request` says; at most until its deadline.
    ///
    /// # Errors
    /// [`ModelNotFound`] for a name that wasn't added; what loading says; [`InvalidConfig`] for a model of another kind;
    /// [`gllm_core::Error::Oom`] for one that is larger than the limit, or, if it shall not wait, for which there is no
    /// room; [`gllm_core::InferenceError::DeadlineExceeded`] or [`gllm_core::InferenceError::Cancelled`].
    pub fn get<H: ModelHandle>(&self, name: &str, request: &RequestOptions) -> Result<Lease<H>> {
        let asked = Instant::now();
        wait(self.lease(name, request), request.deadline).unwrap_or_else(|| Err(deadline_exceeded(asked)))
    }

    /// As [`Runtime::get`], of any handle, on any executor. Deadline and cancellation are looked at whenever a model comes
    /// or goes; dropping the future is noticed at once.
    ///
    /// # Errors
    /// As [`Runtime::get`].
    #[cfg(feature = "async")]
    pub async fn get_async<H: ModelHandle>(&self, name: &str, request: &RequestOptions) -> Result<Lease<H>> {
        self.lease(name, request).await
    }

    /// All models, by name, and what is loaded of them.
    #[must_use]
    pub fn models(&self) -> Vec<ModelState> {
        self.shared.lock().models.states()
    }

    /// Bytes that the models take which are loaded, being loaded or about to leave.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.shared.lock().models.bytes()
    }

    /// Unloads a model, and waits until it is gone. `false` if it isn't loaded, or somebody has a lease of it.
    #[must_use]
    pub fn unload(&self, name: &str) -> bool {
        let Some(handle) = self.shared.change(|models| models.unload(name)) else { return false };
        let _ = wait(handle.close(Shutdown::Drain), None);
        true
    }

    /// Ends the threads of all models, leases or not, and waits until they are gone.
    pub fn shutdown(&self, how: Shutdown) {
        for (_, handle) in self.shared.change(Models::unload_all) {
            let _ = wait(handle.close(how), None);
        }
    }

    async fn lease<H: ModelHandle>(&self, name: &str, request: &RequestOptions) -> Result<Lease<H>> {
        let asked = Instant::now();
        loop {
            if let Some(error) = no_longer_wanted(request, asked) {
                return Err(error);
            }
            let (found, version) = {
                let mut state = self.shared.lock();
                (state.models.lease(name), state.version)
            };
            match found {
                Lookup::Here(handle, load) => return self.given(name, load, handle),
                Lookup::Wait => self.shared.changed(version).await,
                Lookup::Load(model, load) => return self.load((name, load), &model, request, asked).await,
                Lookup::Unknown => return Err(self.unknown(name)),
            }
        }
    }

    /// Of a lease that was taken already.
    fn given<H: ModelHandle>(&self, name: &str, load: u64, handle: AnyHandle) -> Result<Lease<H>> {
        let given = Given { shared: Arc::clone(&self.shared), name: name.into(), load };
        let (expected, found) = (H::MODEL_TYPE, handle.model_type());
        let handle = H::of(handle).ok_or_else(|| refused(expected, name, found))?;
        Ok(Lease { handle, _given: given })
    }

    async fn load<H: ModelHandle>(
        &self,
        (name, load): (&str, u64),
        model: &str,
        request: &RequestOptions,
        asked: Instant,
    ) -> Result<Lease<H>> {
        let config = &self.shared.config;
        let presence = Presence { shared: Arc::downgrade(&self.shared), name: name.into() };
        let found = look_holding(model, config.client.clone(), Some(Arc::new(presence))).await?;
        found.require(H::MODEL_TYPE)?;
        let texts = if H::MODEL_TYPE == gllm_core::ModelType::Generator { config.texts.memory_limit } else { None };
        let bytes = found.weight_bytes()?.saturating_add(texts.unwrap_or(0));
        self.make_room(name, bytes, request, asked).await?;
        tracing::info!(name, model, bytes, "a model is loaded");
        let handle = AnyHandle::start(found, config).await?;
        self.shared.change(|models| models.loaded(name, load, handle.clone()));
        self.given(name, load, handle)
    }

    /// Makes others leave until there is room.
    async fn make_room(&self, name: &str, bytes: u64, request: &RequestOptions, asked: Instant) -> Result<()> {
        loop {
            let (room, version) = {
                let mut state = self.shared.lock();
                (state.models.make_room(name, bytes), state.version)
            };
            match room {
                Room::Taken => return Ok(()),
                Room::Never => return Err(self.no_room(bytes, "the model is larger than all may be together")),
                Room::Leaves(other, handle) => {
                    tracing::info!(name = other, "a model leaves for another");
                    handle.close(Shutdown::Drain).await;
                }
                Room::Wait if request.when_full == WhenFull::Busy => {
                    return Err(self.no_room(bytes, "the other models are in use"));
                }
                Room::Wait => self.shared.changed(version).await,
            }
            if let Some(error) = no_longer_wanted(request, asked) {
                return Err(error);
            }
        }
    }

    fn no_room(&self, bytes: u64, reason: &str) -> gllm_core::Error {
        let limit_bytes = self.shared.config.memory_limit;
        let device = self.shared.config.client.device.to_string();
        OutOfMemory { tokens: 0, device, needed_bytes: Some(bytes), limit_bytes, reason: reason.into() }.into()
    }

    fn unknown(&self, name: &str) -> gllm_core::Error {
        let suggestions = self.models().into_iter().map(|state| state.name).collect();
        ModelNotFound { model: name.into(), reason: "no model of this name was added".into(), suggestions }.into()
    }
}

impl Shared {
    /// A change is made whole under the lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the models, and wakes who waits for that.
    fn change<T>(&self, change: impl FnOnce(&mut Models<AnyHandle>) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state.models);
        state.version += 1;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        changed
    }

    /// Waits until the models aren't those of `version` any more.
    async fn changed(&self, version: u64) {
        poll_fn(|context| {
            let mut state = self.lock();
            if state.version != version {
                return Poll::Ready(());
            }
            state.waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.change(|models| models.absent(&self.name));
        }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.shared.change(|models| models.give_back(&self.name, self.load));
    }
}

impl<H> Deref for Lease<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handle
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("models", &self.models()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
