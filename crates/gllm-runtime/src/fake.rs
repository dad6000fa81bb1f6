//! A model for tests: what it computes is known, and it fails when it is told to.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crossbeam_channel::{Receiver, Sender, unbounded};
use gllm_core::{InferenceError, ModelInfo, ModelType, Result};

use crate::QueueConfig;
use crate::engine::Engine;
use crate::handle::{Handle, loaded};
use crate::load::About;
use crate::reload::{Load, Loaded, Place};

/// A sequence of so many tokens, which gives [`answer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) tokens: usize,
    pub(crate) value: u64,
    /// Passes that it is in panic.
    pub(crate) is_poison: bool,
}

pub(crate) fn item(tokens: usize, value: u64) -> Item {
    Item { tokens, value, is_poison: false }
}

pub(crate) fn poison(tokens: usize, value: u64) -> Item {
    Item { tokens, value, is_poison: true }
}

/// What an item of this value gives.
pub(crate) fn answer(value: u64) -> u64 {
    value * 31 + 7
}

/// What the test knows of the models, and tells them.
#[derive(Debug)]
pub(crate) struct Script {
    /// The values in each pass that was begun, the probes left out.
    pub(crate) passes: Mutex<Vec<Vec<u64>>>,
    /// Most tokens of a pass on the device that was asked for; the CPU has no limit.
    pub(crate) memory: AtomicUsize,
    /// Models loaded so far are broken: every pass panics.
    pub(crate) is_broken: AtomicBool,
    /// The device that was asked for can't be opened again.
    pub(crate) is_lost: AtomicBool,
    pub(crate) loads: AtomicUsize,
    pub(crate) reclaimed: AtomicUsize,
    /// Each pass waits for a message, where there is a gate, after it has said that it began.
    gate: Option<(Sender<()>, Receiver<()>)>,
}

pub(crate) struct Fake {
    script: Arc<Script>,
    place: Place,
    /// Which of the models loaded it is.
    number: usize,
    is_old: AtomicBool,
}

/// Opens the gate for passes.
pub(crate) struct Gate {
    began: Receiver<()>,
    opens: Sender<()>,
}

impl Gate {
    /// Waits until a pass has begun.
    pub(crate) fn began(&self) {
        self.began.recv().expect("a pass");
    }

    /// Lets a pass go on.
    pub(crate) fn open(&self) {
        self.opens.send(()).expect("a model");
    }
}

/// A script without a gate.
pub(crate) fn script() -> Script {
    Script {
        passes: Mutex::default(),
        memory: AtomicUsize::new(usize::MAX),
        is_broken: AtomicBool::new(false),
        is_lost: AtomicBool::new(false),
        loads: AtomicUsize::new(0),
        reclaimed: AtomicUsize::new(0),
        gate: None,
    }
}

/// A script whose passes wait at a gate; once the gate is dropped they don't.
pub(crate) fn gated() -> (Script, Gate) {
    let (says, began) = unbounded();
    let (opens, waits) = unbounded();
    (Script { gate: Some((says, waits)), ..script() }, Gate { began, opens })
}

impl Script {
    pub(crate) fn passes(&self) -> Vec<Vec<u64>> {
        self.passes.lock().expect("no panic").clone()
    }
}

/// A handle to a fake model.
pub(crate) fn handle(script: Script, queue: QueueConfig) -> (Handle<Fake>, Arc<Script>) {
    let script = Arc::new(script);
    let known = Arc::clone(&script);
    let start = move || {
        let mut load = loader(script);
        let loaded = load(Place::Asked)?;
        Ok((loaded, about(), load))
    };
    let (handle, is_ready) = Handle::start_with(start, queue).expect("a thread");
    loaded(is_ready).expect("a model");
    (handle, known)
}

/// Loads fake models.
pub(crate) fn loader(script: Arc<Script>) -> Load<Fake> {
    Box::new(move |place| {
        let number = script.loads.fetch_add(1, Ordering::SeqCst);
        if place == Place::Asked && script.is_lost.load(Ordering::SeqCst) {
            return Err(InferenceError::Device { reason: "no such adapter".into() }.into());
        }
        script.is_broken.store(false, Ordering::SeqCst);
        let engine = Fake { script: Arc::clone(&script), place, number, is_old: AtomicBool::new(false) };
        Ok(Loaded { engine, device: format!("{place:?}"), is_cpu: place == Place::Cpu })
    })
}

pub(crate) fn about() -> About {
    let info = ModelInfo {
        alias: "fake".into(),
        repo_id: "fake".into(),
        model_type: ModelType::Embedding,
        architecture: "fake".into(),
        dimensions: None,
        max_length: None,
    };
    About { info, device: "fake".into(), has_chat_template: false }
}

/// A job knows whose it is.
pub(crate) struct FakeJob {
    items: Vec<Item>,
    lengths: Vec<usize>,
    made_by: usize,
}

impl Engine for Fake {
    const TASK: &str = "fake";

    type Request = Vec<Item>;
    type Job = FakeJob;
    type Kind = ();
    type Part = u64;
    type Response = Vec<u64>;

    fn prepare(&self, request: &Vec<Item>) -> Result<FakeJob> {
        let lengths = request.iter().map(|item| item.tokens).collect();
        Ok(FakeJob { items: request.clone(), lengths, made_by: self.number })
    }

    fn lengths(job: &FakeJob) -> &[usize] {
        &job.lengths
    }

    fn kind(_: &FakeJob) {}

    fn batch_tokens(_: &FakeJob) -> usize {
        usize::MAX
    }

    fn forward(&self, batch: &[(&FakeJob, usize)]) -> Result<Vec<u64>> {
        let items: Vec<Item> = batch.iter().map(|(job, place)| job.items[*place]).collect();
        assert!(batch.iter().all(|(job, _)| job.made_by == self.number), "a job of another model");
        let is_probe = items.len() == 1 && items[0].tokens == 0;
        if !is_probe {
            self.script.passes.lock().expect("no panic").push(items.iter().map(|item| item.value).collect());
            if let Some((says, waits)) = &self.script.gate {
                let _ = says.send(());
                let _ = waits.recv();
            }
        }
        if self.script.is_broken.load(Ordering::SeqCst) {
            self.is_old.store(true, Ordering::SeqCst);
        }
        assert!(!self.is_old.load(Ordering::SeqCst), "the device was lost");
        assert!(!items.iter().any(|item| item.is_poison), "poison");
        let tokens: usize = items.iter().map(|item| item.tokens).sum();
        if self.place == Place::Asked && tokens > self.script.memory.load(Ordering::SeqCst) {
            return Err(InferenceError::Device { reason: "out of memory".into() }.into());
        }
        Ok(items.into_iter().map(|item| answer(item.value)).collect())
    }

    fn finish(&self, _: &FakeJob, parts: Vec<u64>) -> Result<Vec<u64>> {
        Ok(parts)
    }

    fn needed_bytes(&self, tokens: usize) -> u64 {
        tokens as u64 * 100
    }

    fn reclaim(&self) {
        self.script.reclaimed.fetch_add(1, Ordering::SeqCst);
    }

    fn probe(&self) -> Vec<Item> {
        vec![item(0, 0)]
    }
}
