//! Passes over made-up requests, on a made-up clock.

use proptest::prelude::*;

use super::*;

fn schedule() -> (Schedule<u8>, Instant) {
    let start = Instant::now();
    (Schedule::new(start, Duration::from_secs(1)), start)
}

const NORMAL: Priority = Priority::Normal;

#[test]
fn the_oldest_leads_and_the_others_fill_what_it_leaves() {
    let (mut schedule, start) = schedule();
    schedule.add(1, (start, NORMAL), 0, &[3, 5], 100);
    schedule.add(2, (start + Duration::from_millis(1), NORMAL), 0, &[7, 1], 100);
    schedule.add(3, (start + Duration::from_millis(2), NORMAL), 0, &[2], 100);
    assert_eq!(schedule.next(12), [(1, 1), (1, 0), (2, 1), (3, 0)]);
    assert_eq!(schedule.next(12), [(2, 0)]);
    assert_eq!(schedule.next(12), []);
}

#[test]
fn a_sequence_above_the_budget_goes_alone() {
    let (mut schedule, start) = schedule();
    schedule.add(1, (start, NORMAL), 0, &[50, 1], 100);
    assert_eq!(schedule.next(12), [(1, 0)]);
    assert_eq!(schedule.next(12), [(1, 1)]);
}

#[test]
fn every_request_in_a_pass_keeps_its_own_budget() {
    let (mut schedule, start) = schedule();
    schedule.add(1, (start, NORMAL), 0, &[4, 4], 100);
    schedule.add(2, (start, NORMAL), 0, &[4, 4], 13);
    schedule.add(3, (start, NORMAL), 0, &[4], 100);
    assert_eq!(schedule.next(100), [(1, 0), (1, 1), (2, 0)]);
}

#[test]
fn only_one_kind_is_in_a_pass() {
    let (mut schedule, start) = schedule();
    schedule.add(1, (start, NORMAL), 0, &[1], 100);
    schedule.add(2, (start, NORMAL), 1, &[1], 100);
    schedule.add(3, (start, NORMAL), 0, &[1], 100);
    assert_eq!(schedule.next(100), [(1, 0), (3, 0)]);
    assert_eq!(schedule.next(100), [(2, 0)]);
}

#[test]
fn a_priority_is_worth_the_longest_wait_and_no_more() {
    let (mut schedule, start) = schedule();
    schedule.add(1, (start, Priority::Low), 0, &[1], 100);
    schedule.add(2, (start + Duration::from_millis(999), NORMAL), 0, &[1], 100);
    schedule.add(3, (start + Duration::from_millis(1001), NORMAL), 0, &[1], 100);
    schedule.add(4, (start + Duration::from_millis(1998), Priority::High), 0, &[1], 100);
    let order: Vec<Id> = std::iter::from_fn(|| schedule.next(1).first().map(|(id, _)| *id)).collect();
    assert_eq!(order, [4, 2, 1, 3]);
}

#[test]
fn who_has_had_the_model_yields() {
    let (mut schedule, start) = schedule();
    schedule.add(1, (start, NORMAL), 0, &[9; 3], 100);
    assert_eq!(schedule.next(9), [(1, 0)]);
    schedule.charge(1, Duration::from_millis(100));
    schedule.add(2, (start + Duration::from_millis(50), NORMAL), 0, &[9], 100);
    schedule.add(3, (start + Duration::from_millis(500), NORMAL), 0, &[9], 100);
    let order: Vec<Id> = std::iter::from_fn(|| schedule.next(9).first().map(|(id, _)| *id)).collect();
    assert_eq!(order, [2, 1, 1, 3]);
}

#[test]
fn nobody_starves_while_urgent_requests_keep_coming() {
    let (mut schedule, start) = schedule();
    schedule.add(0, (start, Priority::Low), 0, &[10], 100);
    let pass_time = Duration::from_millis(10);
    let mut now = start;
    for id in 1.. {
        // Urgent work for a whole pass, in the time of a pass, for ever.
        schedule.add(id, (now, Priority::High), 0, &[10], 100);
        now += pass_time;
        let pass = schedule.next(10);
        if pass == [(0, 0)] {
            break;
        }
        assert!(now - start <= Duration::from_secs(2) + 2 * pass_time, "it starves");
        for (id, _) in pass {
            schedule.charge(id, pass_time);
        }
    }
}

proptest! {
    #[test]
    fn every_sequence_is_computed_once_within_the_budgets(
        requests in prop::collection::vec(
            (0u64..100, prop::collection::vec(1usize..60, 1..20), 0u8..2, 1usize..200), 1..20),
        budget in 1usize..200,
    ) {
        let (mut schedule, start) = schedule();
        for (id, (arrived, lengths, kind, batch_tokens)) in requests.iter().enumerate() {
            let arrived = start + Duration::from_millis(*arrived);
            schedule.add(id as Id, (arrived, NORMAL), *kind, lengths, *batch_tokens);
        }
        let mut seen = Vec::new();
        loop {
            let pass = schedule.next(budget);
            if pass.is_empty() {
                break;
            }
            let request = |id: Id| &requests[id as usize];
            let tokens: usize = pass.iter().map(|(id, place)| request(*id).1[*place]).sum();
            let limit = pass.iter().map(|(id, _)| request(*id).3).min().unwrap_or(0).min(budget);
            prop_assert!(pass.len() == 1 || tokens <= limit, "{tokens} tokens, {limit} allowed");
            prop_assert!(pass.iter().all(|(id, _)| request(*id).2 == request(pass[0].0).2), "of one kind");
            // Of a request, sequences come in one piece: what fails is told apart by that.
            let owners: Vec<Id> = pass.chunk_by(|a, b| a.0 == b.0).map(|piece| piece[0].0).collect();
            let mut once = owners.clone();
            once.sort_unstable();
            once.dedup();
            prop_assert_eq!(once.len(), owners.len());
            for (id, _) in &pass {
                schedule.charge(*id, Duration::from_millis(tokens as u64));
            }
            seen.extend(pass);
        }
        seen.sort_unstable();
        let all: Vec<(Id, usize)> = (requests.iter().enumerate())
            .flat_map(|(id, request)| (0..request.1.len()).map(move |place| (id as Id, place))).collect();
        prop_assert_eq!(seen, all);
    }
}
