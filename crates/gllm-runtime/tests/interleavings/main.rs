//! The queue, with its threads interleaved in many ways: its own source files, on the primitives of shuttle.
//!
//! A deadlock, a lost wake-up or a failed assertion in any of them fails the test, and shuttle prints the order that led
//! there.

#![allow(dead_code, unreachable_pub, reason = "the queue's files are here as they are, for some of what is in them")]

#[path = "../../src/request_options.rs"]
mod request_options;

mod queue;
mod shuttle_channel;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use gllm_core::{Error, InferenceError};
use queue::inbox::{Inbox, Requests, Shutdown};
use queue::places::Places;
use queue::reply::{Reply, reply};
use queue::wait::wait;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;

pub(crate) use queue::cancel::CancelToken;
pub(crate) use request_options::{RequestOptions, WhenFull};

/// Orders that are tried at random, and as many with few changes between threads, which find other mistakes.
const ORDERS: usize = 3000;

fn check(work: fn()) {
    shuttle::check_random(work, ORDERS);
    shuttle::check_pct(work, ORDERS, 3);
}

fn is_stopped<T>(found: &Result<T, Error>) -> bool {
    matches!(found, Err(Error::InferenceError(InferenceError::Stopped { .. })))
}

#[test]
fn no_more_have_a_place_than_there_are_and_everybody_gets_one() {
    check(|| {
        let (places, inside) = (Places::new(2), Arc::new(AtomicUsize::new(0)));
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (places, inside) = (places.clone(), Arc::clone(&inside));
                thread::spawn(move || {
                    let options = RequestOptions::default();
                    let place = wait(places.take(&options), None).expect("no deadline").expect("never closed");
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 2, "three in two places");
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(place);
                })
            })
            .collect();
        for caller in callers {
            caller.join().expect("no panic");
        }
        assert_eq!(places.asked(), 0);
    });
}

#[test]
fn a_place_that_was_given_to_somebody_who_left_goes_on() {
    check(|| {
        let places = Places::new(1);
        let options = RequestOptions::default();
        let first = wait(places.take(&options), None).expect("no deadline").expect("free");
        let leaving = {
            let places = places.clone();
            thread::spawn(move || {
                let options = RequestOptions::default();
                let mut waiting = pin!(places.take(&options));
                // Whether it got a place or not, it leaves.
                let _ = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                thread::yield_now();
            })
        };
        let staying = {
            let places = places.clone();
            thread::spawn(move || {
                let options = RequestOptions::default();
                drop(wait(places.take(&options), None).expect("no deadline").expect("never closed"));
            })
        };
        drop(first);
        leaving.join().expect("no panic");
        staying.join().expect("no panic");
        assert_eq!(places.asked(), 0);
    });
}

#[test]
fn an_answer_arrives_once_or_its_reply_knows_that_nobody_waits() {
    check(|| {
        let (tell, answer) = reply::<usize>();
        let waiting = thread::spawn(move || wait(answer, None).expect("no deadline").expect("an answer"));
        tell.give(Ok(5));
        assert_eq!(waiting.join().expect("no panic"), 5);

        let (tell, answer) = reply::<usize>();
        let waiting = thread::spawn(move || wait(answer, None).expect("no deadline"));
        drop(tell);
        assert!(is_stopped(&waiting.join().expect("no panic")));

        let (tell, answer) = reply::<usize>();
        let leaving = thread::spawn(move || {
            let mut answer = pin!(answer);
            match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(found) => assert_eq!(found.expect("an answer"), 7),
                Poll::Pending => {}
            }
        });
        if tell.is_wanted() {
            tell.give(Ok(7));
        }
        leaving.join().expect("no panic");
    });
}

/// Answers each request with the next number, until there won't be any more.
fn count(mut requests: Requests<Reply<usize>>) {
    let mut answered = 0;
    while let Some(ticket) = requests.next() {
        if requests.is_cancelled() {
            break;
        }
        answered += 1;
        ticket.into_work().give(Ok(answered));
    }
}

fn ask(inbox: &Inbox<Reply<usize>>) -> Result<usize, Error> {
    let options = RequestOptions::default();
    let asked = async {
        let (tell, answer) = reply();
        inbox.send(tell, &options).await?;
        answer.await
    };
    wait(asked, None).expect("no deadline")
}

#[test]
fn everybody_is_answered_once_whenever_the_thread_ends() {
    for how in [Shutdown::Drain, Shutdown::Cancel] {
        let work = move || {
            let inbox = Inbox::spawn("counts", 1, count).expect("a thread");
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let inbox = inbox.clone();
                    thread::spawn(move || ask(&inbox))
                })
                .collect();
            wait(inbox.close(how), None).expect("it ends");
            let mut counted = Vec::new();
            for caller in callers {
                match caller.join().expect("no panic") {
                    Ok(answer) => counted.push(answer),
                    refused => assert!(is_stopped(&refused), "{refused:?}"),
                }
            }
            counted.sort_unstable();
            assert!(counted.iter().enumerate().all(|(place, answer)| *answer == place + 1), "{counted:?}");
            assert!(is_stopped(&ask(&inbox)));
        };
        shuttle::check_random(work, ORDERS);
        shuttle::check_pct(work, ORDERS, 3);
    }
}

#[test]
fn the_thread_ends_when_the_last_handle_is_gone() {
    check(|| {
        let ended = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&ended);
        let body = move |requests| {
            count(requests);
            counted.fetch_add(1, Ordering::SeqCst);
        };
        let inbox = Inbox::spawn("counts", 2, body).expect("a thread");
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let inbox = inbox.clone();
                thread::spawn(move || ask(&inbox).expect("an answer"))
            })
            .collect();
        drop(inbox);
        for caller in callers {
            assert!(caller.join().expect("no panic") <= 2);
        }
        while ended.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
    });
}
