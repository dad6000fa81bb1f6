//! What becomes of requests to a model that fails when it is told to.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gllm_core::{Error, InferenceError, Result};

use crate::fake::{Fake, Gate, Item, answer, gated, handle, item, poison, script};
use crate::handle::Handle;
use crate::queue::wait::wait;
use crate::{CancelToken, Priority, QueueConfig, RequestOptions, Shutdown, WhenFull};

fn ask(handle: &Handle<Fake>, items: &[Item]) -> Result<Vec<u64>> {
    handle.ask_and_wait(items.to_vec(), &RequestOptions::default())
}

/// Asks from threads of their own, one after the other in the inbox, the others once a pass of the first has begun; then
/// `meanwhile` opens the gate; then the answers.
fn ask_all(
    handle: &Handle<Fake>,
    gate: Gate,
    requests: &[(&[Item], RequestOptions)],
    meanwhile: impl FnOnce(Gate),
) -> Vec<Result<Vec<u64>>> {
    std::thread::scope(|scope| {
        let asked = requests.iter().enumerate().map(|(place, (items, options))| {
            let before = handle.depth();
            let asked = scope.spawn(move || handle.ask_and_wait(items.to_vec(), options));
            if place == 0 {
                gate.began();
            }
            while handle.depth() == before && !asked.is_finished() {
                std::thread::yield_now();
            }
            asked
        });
        let asked: Vec<_> = asked.collect();
        meanwhile(gate);
        asked.into_iter().map(|asked| asked.join().expect("no panic")).collect()
    })
}

fn plain(items: &[Item]) -> (&[Item], RequestOptions) {
    (items, RequestOptions::default())
}

fn is(error: &Error, expected: &InferenceError) -> bool {
    matches!(error, Error::InferenceError(found) if found == expected)
}

#[test]
fn what_waits_together_is_computed_together_and_answered_apart() {
    let (script, gate) = gated();
    let (handle, script) = handle(script, QueueConfig::default());
    let items = [[item(3, 1), item(9, 2)], [item(5, 3), item(4, 4)], [item(8, 5), item(1, 6)]];
    let requests: Vec<_> = items.iter().map(|items| plain(items)).collect();
    let found = ask_all(&handle, gate, &requests, |gate| {
        gate.open();
        gate.began();
        drop(gate);
    });
    for (items, found) in items.iter().zip(found) {
        let expected: Vec<u64> = items.iter().map(|item| answer(item.value)).collect();
        assert_eq!(found.expect("an answer"), expected);
    }
    // An idle thread starts with what is there; the others gather meanwhile. Of each request the longest comes first.
    assert_eq!(script.passes(), [vec![2, 1], vec![3, 4, 5, 6]]);
}

#[test]
fn a_request_without_sequences_is_answered_too() {
    let (handle, script) = handle(script(), QueueConfig::default());
    assert_eq!(ask(&handle, &[]).expect("an answer"), [0; 0]);
    assert!(script.passes().is_empty());
}

#[test]
fn a_short_request_overtakes_what_is_left_of_a_long_one() {
    let (script, gate) = gated();
    let (handle, script) = handle(script, QueueConfig { batch_tokens: 10, ..QueueConfig::default() });
    let long: Vec<Item> = (0..50).map(|value| item(10, value)).collect();
    let short = [item(2, 100)];
    let requests = [plain(&long), plain(&short)];
    let found = ask_all(&handle, gate, &requests, |gate| {
        std::thread::sleep(Duration::from_millis(20));
        drop(gate);
    });
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    let passes = script.passes();
    assert_eq!(passes.len(), 51);
    assert!(passes[1].contains(&100), "{:?}", &passes[..3]);
}

#[test]
fn the_urgent_come_first_and_the_unhurried_last() {
    let (script, gate) = gated();
    let (handle, script) = handle(script, QueueConfig { batch_tokens: 1, ..QueueConfig::default() });
    let of = |priority| RequestOptions { priority, ..RequestOptions::default() };
    let items: Vec<[Item; 1]> = (0..4).map(|value| [item(1, value)]).collect();
    let requests = [
        (&items[0][..], of(Priority::Normal)),
        (&items[1][..], of(Priority::Low)),
        (&items[2][..], of(Priority::Normal)),
        (&items[3][..], of(Priority::High)),
    ];
    let found = ask_all(&handle, gate, &requests, |gate| {
        drop(gate);
    });
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    assert_eq!(script.passes(), [[0], [3], [2], [1]]);
}

#[test]
fn a_full_queue_is_an_error_or_a_wait() {
    let (script, gate) = gated();
    let (handle, _) = handle(script, QueueConfig { capacity: 2, ..QueueConfig::default() });
    let items = [item(1, 1)];
    let found = ask_all(&handle, gate, &[plain(&items), plain(&items), plain(&items)], |gate| {
        let busy = RequestOptions { when_full: WhenFull::Busy, ..RequestOptions::default() };
        let error = handle.ask_and_wait(items.to_vec(), &busy).expect_err("full");
        assert!(matches!(&error, Error::Busy(busy) if busy.capacity == 2), "{error}");

        let options = RequestOptions::default().within(Duration::from_millis(5));
        let error = handle.ask_and_wait(items.to_vec(), &options).expect_err("too late");
        assert!(matches!(&error, Error::InferenceError(InferenceError::DeadlineExceeded { .. })), "{error}");
        // Who waited in vain isn't counted any more: two have a place, one waits for it.
        assert_eq!(handle.depth(), 3);
        drop(gate);
    });
    assert!(found.iter().all(Result::is_ok), "{found:?}");
}

#[test]
fn one_that_is_called_back_isnt_computed_and_one_that_has_begun_isnt_finished() {
    let (script, gate) = gated();
    let (handle, script) = handle(script, QueueConfig { batch_tokens: 1, ..QueueConfig::default() });
    let tokens = [CancelToken::new(), CancelToken::new()];
    let [begun, waiting] = tokens.each_ref().map(|token| {
        let cancel = Some(token.clone());
        RequestOptions { cancel, ..RequestOptions::default() }
    });
    let (long, short, last) = ([item(1, 1), item(1, 2), item(1, 3)], [item(1, 4)], [item(1, 5)]);
    let found = ask_all(&handle, gate, &[(&long, begun), (&short, waiting), plain(&last)], |gate| {
        tokens.iter().for_each(CancelToken::cancel);
        drop(gate);
    });
    assert!(found[..2].iter().all(|found| is(found.as_ref().expect_err("cancelled"), &InferenceError::Cancelled)));
    assert!(found[2].is_ok());
    assert_eq!(script.passes(), [[1], [5]]);
}

#[test]
fn what_nobody_waits_for_any_more_isnt_computed() {
    let (script, gate) = gated();
    let (handle, script) = handle(script, QueueConfig::default());
    let options = RequestOptions::default();
    let found = ask_all(&handle, gate, &[plain(&[item(1, 1)])], |gate| {
        let soon = Some(Instant::now() + Duration::from_millis(5));
        assert!(wait(handle.ask(vec![item(1, 2)], &options), soon).is_none());
        drop(gate);
    });
    assert!(found[0].is_ok());
    assert_eq!(ask(&handle, &[item(1, 3)]).expect("an answer"), [answer(3)]);
    assert_eq!(script.passes(), [[1], [3]]);
}

#[test]
fn a_panic_fails_whoever_causes_it_and_nobody_else() {
    let (script, gate) = gated();
    let (handle, script) = handle(script, QueueConfig::default());
    let (first, good, bad, fine) = ([item(1, 1)], [item(1, 2)], [item(1, 3), poison(1, 4)], [item(1, 5)]);
    let found = ask_all(&handle, gate, &[plain(&first), plain(&good), plain(&bad), plain(&fine)], |gate| {
        drop(gate);
    });
    let expected = InferenceError::Panicked { reason: "poison".into() };
    assert!(is(found[2].as_ref().expect_err("poison"), &expected), "{found:?}");
    for place in [0, 1, 3] {
        assert!(found[place].is_ok(), "{found:?}");
    }
    assert_eq!(script.loads.load(Ordering::SeqCst), 1, "the model was sound");
    assert_eq!(ask(&handle, &[item(1, 6)]).expect("it goes on"), [answer(6)]);
}

#[test]
fn a_model_that_has_become_unsound_is_loaded_again() {
    let (handle, script) = handle(script(), QueueConfig::default());
    assert!(ask(&handle, &[item(1, 1)]).is_ok());
    script.is_broken.store(true, Ordering::SeqCst);
    assert_eq!(ask(&handle, &[item(1, 2), item(1, 3)]).expect("an answer all the same"), [answer(2), answer(3)]);
    assert_eq!(script.loads.load(Ordering::SeqCst), 2);
}

#[test]
fn requests_that_are_there_while_the_model_is_loaded_again_are_answered_by_the_new_one() {
    let (script, gate) = gated();
    let (handle, script) = handle(script, QueueConfig { batch_tokens: 3, ..QueueConfig::default() });
    let items = [[item(1, 1), item(1, 2)], [item(1, 3), item(1, 4)], [poison(1, 5), item(1, 6)]];
    let requests: Vec<_> = items.iter().map(|items| plain(items)).collect();
    let found = ask_all(&handle, gate, &requests, |gate| {
        script.is_broken.store(true, Ordering::SeqCst);
        drop(gate);
    });
    assert_eq!(found[0].as_ref().expect("an answer"), &[answer(1), answer(2)]);
    assert_eq!(found[1].as_ref().expect("an answer"), &[answer(3), answer(4)]);
    assert_eq!(found[2].as_ref().expect_err("poison").to_string(), "the computation panicked: poison");
    assert_eq!(script.loads.load(Ordering::SeqCst), 2);
}

#[test]
fn a_device_that_is_lost_for_good_leaves_the_cpu_if_that_is_allowed() {
    let lose = |cpu_fallback| {
        let (handle, script) = handle(script(), QueueConfig { cpu_fallback, ..QueueConfig::default() });
        script.is_lost.store(true, Ordering::SeqCst);
        script.is_broken.store(true, Ordering::SeqCst);
        (ask(&handle, &[item(1, 1)]), ask(&handle, &[item(1, 2)]), handle, script)
    };
    let (first, second, ..) = lose(true);
    assert_eq!((first.expect("on the CPU"), second.expect("on the CPU")), (vec![answer(1)], vec![answer(2)]));

    let (first, second, handle, script) = lose(false);
    let error = first.expect_err("lost").to_string();
    assert_eq!(error, "the computation panicked: the device was lost");
    assert!(second.is_err());
    // It is tried again for each request, until the device is back.
    script.is_lost.store(false, Ordering::SeqCst);
    assert_eq!(ask(&handle, &[item(1, 3)]).expect("it is back"), [answer(3)]);
}

#[test]
fn a_pass_that_is_too_large_is_halved_until_it_fits() {
    let (handle, script) = handle(script(), QueueConfig::default());
    script.memory.store(25, Ordering::SeqCst);
    let items: Vec<Item> = (0..8).map(|value| item(10, value)).collect();
    let expected: Vec<u64> = (0..8).map(answer).collect();
    assert_eq!(ask(&handle, &items).expect("an answer"), expected);
    assert_eq!(script.passes().iter().map(Vec::len).collect::<Vec<_>>(), [8, 4, 2, 2, 4, 2, 2]);
    assert_eq!(script.reclaimed.load(Ordering::SeqCst), 3, "each time before it goes on");
}

#[test]
fn a_sequence_that_is_too_large_alone_goes_to_the_cpu_or_is_an_error() {
    let items = [item(10, 1), item(30, 2)];
    let run = |cpu_fallback| {
        let (handle, script) = handle(script(), QueueConfig { cpu_fallback, ..QueueConfig::default() });
        script.memory.store(25, Ordering::SeqCst);
        (ask(&handle, &items), ask(&handle, &[item(10, 3)]))
    };
    let (found, after) = run(true);
    assert_eq!((found.expect("an answer"), after.expect("an answer")), (vec![answer(1), answer(2)], vec![answer(3)]));

    let (found, after) = run(false);
    let error = found.expect_err("too large");
    assert!(matches!(&error, Error::Oom(oom) if oom.tokens == 30 && oom.device == "Asked"), "{error}");
    assert_eq!(after.expect("an answer"), [answer(3)]);
}

#[test]
fn a_limit_in_bytes_holds_before_the_device_is_asked() {
    let queue = QueueConfig { memory_limit: Some(2000), cpu_fallback: false, ..QueueConfig::default() };
    let (handle, script) = handle(script(), queue);
    assert_eq!(ask(&handle, &[item(10, 1), item(11, 2)]).expect("an answer"), [answer(1), answer(2)]);
    assert_eq!(script.passes(), [[2], [1]]);
    let error = ask(&handle, &[item(21, 3)]).expect_err("too large");
    assert!(matches!(&error, Error::Oom(oom) if oom.needed_bytes == Some(2100) && oom.limit_bytes == Some(2000)));
}

#[test]
fn shutting_down_answers_everybody_and_ends_the_thread() {
    for how in [Shutdown::Drain, Shutdown::Cancel] {
        let (script, gate) = gated();
        let (handle, _) = handle(script, QueueConfig { batch_tokens: 1, capacity: 3, ..QueueConfig::default() });
        let items: Vec<[Item; 2]> = (0..4).map(|value| [item(1, value), item(1, value)]).collect();
        let requests: Vec<_> = items.iter().map(|items| plain(items)).collect();
        let ended = std::thread::scope(|scope| {
            let mut closing = None;
            let found = ask_all(&handle, gate, &requests, |gate| {
                closing = Some(scope.spawn(|| handle.close_and_wait(how)));
                // The last of them waits for a place, until there won't be any more.
                while handle.depth() > 3 {
                    std::thread::yield_now();
                }
                // Until the message is there.
                std::thread::sleep(Duration::from_millis(50));
                drop(gate);
            });
            let stopped =
                |found: &Result<Vec<u64>>| matches!(found, Err(Error::InferenceError(InferenceError::Stopped { .. })));
            assert!(stopped(&found[3]), "{how:?}: {found:?}");
            let answered = found[..3].iter().filter(|found| found.is_ok()).count();
            assert_eq!(answered, if how == Shutdown::Drain { 3 } else { 0 }, "{found:?}");
            assert!(found.iter().all(|found| found.is_ok() || stopped(found)), "{found:?}");
            closing.expect("started").join()
        });
        ended.expect("no panic");
        let error = ask(&handle, &[item(1, 1)]).expect_err("closed");
        assert!(matches!(error, Error::InferenceError(InferenceError::Stopped { .. })));
        handle.close_and_wait(how);
    }
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let (handle, script) = handle(script(), QueueConfig::default());
    let other = handle.clone();
    drop(handle);
    assert!(ask(&other, &[item(1, 1)]).is_ok());
    drop(other);
    // The model is gone when the thread is.
    let end = Instant::now() + Duration::from_secs(10);
    while std::sync::Arc::strong_count(&script) > 1 {
        assert!(Instant::now() < end, "the thread goes on");
        std::thread::yield_now();
    }
}

#[test]
fn a_model_that_fails_to_load_is_reported_and_refuses_requests() {
    let start = || Err(gllm_core::InvalidConfig::new("device", "a", "b").into());
    let (handle, is_ready) = Handle::<Fake>::start_with(start, QueueConfig::default()).expect("a thread");
    let error = crate::handle::loaded(is_ready).expect_err("no model");
    assert!(matches!(error, Error::InvalidConfig(_)), "{error}");
    let error = ask(&handle, &[item(1, 1)]).expect_err("no model").to_string();
    assert!(error.contains("failed to load") && error.contains("`device`"), "{error}");

    let start = || panic!("in the loader");
    let (_, is_ready) = Handle::<Fake>::start_with(start, QueueConfig::default()).expect("a thread");
    assert_eq!(
        crate::handle::loaded(is_ready).expect_err("a panic").to_string(),
        "the computation panicked: in the loader"
    );
}
