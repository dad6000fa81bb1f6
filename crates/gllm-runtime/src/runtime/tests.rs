//! What becomes of models whose askers or threads go.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::task::Context;
use std::thread;
use std::time::Duration;

use gllm_core::Device;

use super::*;
use crate::fake::about;
use crate::queue::inbox::Inbox;

const EMBEDDER: &str = "bert/mean";

fn runtime(memory_limit: Option<u64>) -> Runtime {
    let client = ClientConfig { device: Device::Cpu, ..ClientConfig::default() };
    let runtime = Runtime::new(RuntimeConfig { memory_limit, client, ..RuntimeConfig::default() });
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    runtime.add("embedder", golden.join(EMBEDDER).to_str().expect("a path in UTF-8")).expect("a free name");
    runtime
}

/// Polls until there is what is waited for; `false` if the future is done before.
fn poll_until(mut future: Pin<&mut impl Future>, is_there: impl Fn() -> bool) -> bool {
    loop {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return false;
        }
        if is_there() {
            return true;
        }
        thread::yield_now();
    }
}

fn until(is_there: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !is_there() {
        assert!(Instant::now() < end, "it doesn't come");
        thread::yield_now();
    }
}

/// Whether a model comes or goes.
fn is_moving(state: &mut State, name: &str) -> bool {
    match state.models.lease(name) {
        Lookup::Wait => return true,
        Lookup::Here(_, load) => state.models.give_back(name, load),
        Lookup::Load(..) => state.models.absent(name),
        Lookup::Unknown => {}
    }
    false
}

#[test]
fn a_model_that_nobody_waits_for_takes_its_room_until_its_thread_has_ended() {
    let (runtime, options) = (runtime(None), RequestOptions::default());
    let asked = loop {
        let mut asked = Box::pin(runtime.lease::<EmbedderHandle>("embedder", &options));
        if poll_until(asked.as_mut(), || runtime.bytes() > 0) {
            break asked;
        }
        // It was loaded before it was looked at.
        drop(asked);
        assert!(runtime.unload("embedder"));
    };
    // The thread waits for this to say that it has ended.
    let mut state = runtime.shared.lock();
    drop(asked);
    assert!(state.models.bytes() > 0);
    assert!(is_moving(&mut state, "embedder"));
    drop(state);
    until(|| runtime.bytes() == 0);
    runtime.embedder("embedder").expect("a model").embed("a").expect("a vector");
}

#[test]
fn a_model_that_leaves_takes_its_room_until_its_thread_has_ended() {
    let limit = 1 << 30;
    let (runtime, options) = (runtime(Some(limit)), RequestOptions::default());
    // One that answers until it is told otherwise.
    let (tell, told) = channel::<()>();
    let presence = Presence { shared: Arc::downgrade(&runtime.shared), name: "slow".into() };
    let answer = move |requests| {
        let _ = told.recv();
        drop((requests, presence));
    };
    let slow = GeneratorHandle::to(Inbox::spawn("slow", 1, answer).expect("a thread"), about());
    runtime.add("slow", "slow").expect("a free name");
    runtime.shared.change(|models| {
        let Lookup::Load(_, load) = models.lease("slow") else { panic!("it is absent") };
        assert!(matches!(models.make_room("slow", limit), Room::Taken));
        models.loaded("slow", load, AnyHandle::Generator(slow));
        models.give_back("slow", load);
    });

    let mut asked = Box::pin(runtime.lease::<EmbedderHandle>("embedder", &options));
    assert!(poll_until(asked.as_mut(), || is_moving(&mut runtime.shared.lock(), "slow")));
    drop(asked);
    assert!(is_moving(&mut runtime.shared.lock(), "slow"));
    assert_eq!(runtime.bytes(), limit);
    let soon = RequestOptions::default().within(Duration::from_millis(20));
    assert!(runtime.get::<EmbedderHandle>("embedder", &soon).is_err(), "there is no room");
    drop(tell);
    runtime.embedder("embedder").expect("a model").embed("a").expect("a vector");
}

#[test]
fn a_model_whose_thread_has_ended_comes_again_and_old_leases_are_not_of_it() {
    let runtime = runtime(None);
    let leases = || runtime.models().iter().map(|model| model.leases).sum::<usize>();
    let old = runtime.embedder("embedder").expect("a model");
    old.shutdown(Shutdown::Drain);
    assert_eq!(runtime.bytes(), 0);
    let new = runtime.embedder("embedder").expect("a model");
    drop(old);
    assert_eq!(leases(), 1);
    assert!(!runtime.unload("embedder"));
    new.embed("a").expect("a vector");
    drop(new);
    assert!(runtime.unload("embedder"));
}

#[test]
fn a_runtime_ends_though_its_models_are_there() {
    let runtime = runtime(None);
    let handle = EmbedderHandle::clone(&runtime.embedder("embedder").expect("a model"));
    let shared = Arc::downgrade(&runtime.shared);
    drop(runtime);
    assert_eq!(shared.strong_count(), 0);
    handle.embed("a").expect("a vector");
}
