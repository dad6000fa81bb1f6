//! Against transformers' logits processors, numpy's PCG64, and by hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// `tests/golden/sampling/cases.json`.
#[derive(Deserialize)]
struct Golden {
    prompt: Vec<u32>,
    text: Vec<u32>,
    logits: Vec<Vec<f32>>,
    cases: Vec<Case>,
    logprobs: Vec<Vec<f32>>,
    draws: Vec<Draws>,
}

#[derive(Deserialize)]
struct Case {
    options: Settings,
    row: usize,
    expected: BTreeMap<u32, f32>,
}

#[derive(Debug, Deserialize)]
struct Settings {
    temperature: f32,
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    #[serde(default)]
    logit_bias: BTreeMap<u32, f32>,
}

#[derive(Deserialize)]
struct Draws {
    seed: u64,
    row: usize,
    tokens: Vec<u32>,
}

fn golden() -> Golden {
    let path = Path::new("../../tests/golden/sampling/cases.json");
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn drawing() -> SamplingOptions {
    SamplingOptions { temperature: Some(1.0), seed: Some(1), ..SamplingOptions::default() }
}

#[test]
fn distributions_are_those_of_transformers() {
    let golden = golden();
    assert!(golden.cases.len() > 80);
    for Case { options: settings, row, expected } in &golden.cases {
        let options = SamplingOptions {
            temperature: Some(settings.temperature),
            top_k: settings.top_k,
            top_p: settings.top_p,
            min_p: settings.min_p,
            repetition_penalty: settings.repetition_penalty,
            frequency_penalty: settings.frequency_penalty,
            presence_penalty: settings.presence_penalty,
            logit_bias: settings.logit_bias.clone(),
            ..SamplingOptions::default()
        };
        options.check(golden.logits[*row].len()).expect("good settings");
        let mut sampler = Sampler::new(&options, &golden.prompt);
        for &id in &golden.text {
            if let Some(penalties) = &mut sampler.penalties {
                penalties.count(id);
            }
        }
        let found = sampler.distribution(&mut golden.logits[*row].clone(), None).expect("a distribution");
        let likely = |probability: &f32| *probability > 1e-30;
        let found: BTreeMap<u32, f32> = found.into_iter().filter(|(_, p)| likely(p)).collect();
        let expected: BTreeMap<u32, f32> = expected.iter().filter(|(_, p)| likely(p)).map(|(i, p)| (*i, *p)).collect();
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{settings:?}, row {row}");
        for (id, expected) in &expected {
            let difference = (found[id] - expected).abs();
            assert!(difference <= 4e-6 * expected.max(1e-3), "{settings:?}, row {row}, {id}: {} {expected}", found[id]);
        }
    }
}

#[test]
fn log_probabilities_are_of_the_logits_alone() {
    let golden = golden();
    for (logits, expected) in golden.logits.iter().zip(&golden.logprobs) {
        let options = SamplingOptions {
            temperature: Some(0.3),
            top_k: Some(3),
            repetition_penalty: Some(1.7),
            logit_bias: BTreeMap::from([(2, 50.0)]),
            logprobs: Some(7),
            ..drawing()
        };
        let choice = Sampler::new(&options, &golden.prompt).sample(&mut logits.clone(), None).expect("a token");
        assert_eq!(choice.id, 2);
        let near = |found: f32, expected: f32| (found - expected).abs() <= 2e-6 * expected.abs().max(1.0);
        assert!(near(choice.logprob.expect("asked for"), expected[2]));
        let mut order: Vec<u32> = (0..expected.len() as u32).collect();
        order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
        assert_eq!(choice.top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), order[..7]);
        assert!(choice.top.iter().all(|(id, found)| near(*found, expected[*id as usize])));
    }
}

#[test]
fn a_seed_draws_what_numpys_generator_draws() {
    let golden = golden();
    for Draws { seed, row, tokens } in &golden.draws {
        let options = SamplingOptions { seed: Some(*seed), ..drawing() };
        let mut sampler = Sampler::new(&options, &[]);
        let draw = |_| sampler.sample(&mut golden.logits[*row].clone(), None).expect("a token").id;
        assert_eq!((0..tokens.len()).map(draw).collect::<Vec<_>>(), *tokens, "seed {seed}");
    }
}

#[test]
fn without_a_seed_texts_differ() {
    let draw = || {
        let mut sampler = Sampler::new(&SamplingOptions { seed: None, ..drawing() }, &[]);
        (0..40).map(|_| sampler.sample(&mut [0.0; 64], None).expect("a token").id).collect::<Vec<_>>()
    };
    assert_ne!(draw(), draw());
}

#[test]
fn draws_have_their_probabilities() {
    // Chi-square over 8 tokens: 24.3 is exceeded once in a thousand seeds.
    let logits = [0.0_f32, 1.0, -1.0, 2.0, 0.5, -3.0, 1.5, -0.5];
    let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit / 0.8).exp()).collect();
    let sum: f64 = weights.iter().sum();
    for seed in 0..5 {
        let options = SamplingOptions { temperature: Some(0.8), seed: Some(seed), ..drawing() };
        let mut sampler = Sampler::new(&options, &[]);
        let mut counts = [0_u32; 8];
        let n_draws = 20_000;
        for _ in 0..n_draws {
            counts[sampler.sample(&mut logits.clone(), None).expect("a token").id as usize] += 1;
        }
        let term = |(count, weight): (&u32, &f64)| {
            let expected = weight / sum * f64::from(n_draws);
            (f64::from(*count) - expected).powi(2) / expected
        };
        let chi_square: f64 = counts.iter().zip(&weights).map(term).sum();
        assert!(chi_square < 24.3, "seed {seed}: {chi_square} {counts:?}");
    }
}

#[test]
fn nothing_asked_is_the_likeliest_token() {
    let greedy = |options: SamplingOptions, logits: &[f32]| {
        Sampler::new(&options, &[]).sample(&mut logits.to_vec(), None).expect("a token")
    };
    let found = greedy(SamplingOptions::default(), &[1.0, 3.0, 2.0, 3.0]);
    assert_eq!(found, Choice { id: 1, logprob: None, top: vec![] });
    let zero = SamplingOptions { temperature: Some(0.0), top_k: Some(3), ..SamplingOptions::default() };
    assert_eq!(greedy(zero, &[1.0, 3.0, 2.0, 3.0]).id, 1);
    // One candidate, whatever asks for a draw.
    for temperature in [1e-45, 1.0, 50.0] {
        let one = SamplingOptions { temperature: Some(temperature), top_p: Some(1e-45), ..SamplingOptions::default() };
        assert_eq!(greedy(one, &[1.0, 3.0, 2.0, 2.9]).id, 1, "{temperature}");
    }
}

#[test]
fn a_filter_alone_asks_for_a_draw() {
    for options in [
        SamplingOptions { top_k: Some(2), ..SamplingOptions::default() },
        SamplingOptions { top_p: Some(0.99), ..SamplingOptions::default() },
        SamplingOptions { min_p: Some(0.5), ..SamplingOptions::default() },
    ] {
        let found = Sampler::new(&options, &[]).distribution(&mut [1.0, 1.0, -9.0], None).expect("a distribution");
        assert_eq!(found, [(0, 0.5), (1, 0.5)], "{options:?}");
    }
}

#[test]
fn equal_tokens_are_kept_together_by_top_k_and_by_id_by_top_p() {
    let distribution = |options: SamplingOptions| {
        Sampler::new(&options, &[]).distribution(&mut [1.0, 2.0, 1.0, 1.0, 0.0], None).expect("a distribution")
    };
    let ids = |found: Vec<(u32, f32)>| found.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(ids(distribution(SamplingOptions { top_k: Some(2), ..drawing() })), [0, 1, 2, 3]);
    // e² = 7.39 of 16.54, then e = 2.72 each: 45 %, 61 %, 77 %, 94 %.
    assert_eq!(ids(distribution(SamplingOptions { top_p: Some(0.6), ..drawing() })), [0, 1]);
    assert_eq!(ids(distribution(SamplingOptions { top_p: Some(0.7), ..drawing() })), [0, 1, 2]);
}

#[test]
fn the_text_that_is_written_is_penalised() {
    let options = SamplingOptions { frequency_penalty: Some(1.0), ..SamplingOptions::default() };
    let mut sampler = Sampler::new(&options, &[0, 0, 0]);
    let ids: Vec<u32> = (0..6).map(|_| sampler.sample(&mut [2.5, 1.0, 0.0], None).expect("a token").id).collect();
    // 2.5, 1, 0 → 1.5, 1, 0 → 0.5, 1, 0 → 0.5, 0, 0 → -0.5, 0, 0 → -0.5, -1, 0
    assert_eq!(ids, [0, 0, 1, 0, 1, 2]);
}

#[test]
fn only_what_is_allowed_is_chosen() {
    let allowed: TokenMask = [1, 40].into_iter().collect();
    for options in [SamplingOptions::default(), drawing(), SamplingOptions { top_k: Some(3), ..drawing() }] {
        let mut sampler = Sampler::new(&options, &[]);
        let mut logits: Vec<f32> = (0..100_u8).map(f32::from).collect();
        logits[1] = 40.0;
        let found = sampler.sample(&mut logits, Some(&allowed)).expect("a token").id;
        assert!(allowed.allows(found));
        // Also of tokens that the mask doesn't reach to.
        let error = sampler.sample(&mut [9.0], Some(&allowed)).expect_err("nothing is left");
        assert!(matches!(error, InferenceError::Constraint { .. }), "{error}");
    }
    let ruled_out = SamplingOptions { logit_bias: BTreeMap::from([(0, f32::NEG_INFINITY)]), ..drawing() };
    let error = Sampler::new(&ruled_out, &[]).sample(&mut [1.0], None).expect_err("nothing is left");
    assert!(matches!(error, InferenceError::Constraint { .. }), "{error}");
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    let asking = SamplingOptions { logprobs: Some(1), ..SamplingOptions::default() };
    for options in [SamplingOptions::default(), drawing(), SamplingOptions { top_k: Some(1), ..drawing() }, asking] {
        for bad in [f32::NAN, f32::INFINITY] {
            let error = Sampler::new(&options, &[]).sample(&mut [1.0, bad, 2.0], None).expect_err("no numbers");
            assert!(matches!(&error, InferenceError::Device { reason } if reason.contains("token 1")), "{error}");
        }
    }
}

#[test]
fn extreme_settings_stay_numbers() {
    let options = SamplingOptions {
        temperature: Some(f32::MAX),
        repetition_penalty: Some(1e-45),
        logit_bias: BTreeMap::from([(0, f32::MAX), (1, f32::MIN)]),
        ..drawing()
    };
    options.check(3).expect("in range");
    let found = Sampler::new(&options, &[0, 1, 2]).distribution(&mut [f32::MAX, f32::MIN, 1.0], None);
    assert!(found.expect("a distribution").iter().all(|(_, p)| p.is_finite()));
}

#[test]
fn settings_out_of_range_are_named() {
    let good = SamplingOptions::default();
    good.check(0).expect("nothing is asked");
    let bad = |field: &str, options: SamplingOptions| {
        let error = options.check(10).expect_err(field);
        assert_eq!(error.field, field, "{error}");
    };
    for x in [f32::NAN, f32::INFINITY, -0.1] {
        bad("temperature", SamplingOptions { temperature: Some(x), ..good.clone() });
    }
    for x in [f32::NAN, 0.0, -0.5, 1.001] {
        bad("top_p", SamplingOptions { top_p: Some(x), ..good.clone() });
    }
    for x in [f32::NAN, -0.001, 1.001] {
        bad("min_p", SamplingOptions { min_p: Some(x), ..good.clone() });
    }
    for x in [f32::NAN, f32::INFINITY, 0.0, -1.0] {
        bad("repetition_penalty", SamplingOptions { repetition_penalty: Some(x), ..good.clone() });
    }
    for x in [f32::NAN, -2.1, 2.1] {
        bad("frequency_penalty", SamplingOptions { frequency_penalty: Some(x), ..good.clone() });
        bad("presence_penalty", SamplingOptions { presence_penalty: Some(x), ..good.clone() });
    }
    for (id, bias) in [(10, 0.0), (0, f32::NAN), (0, f32::INFINITY)] {
        bad("logit_bias", SamplingOptions { logit_bias: BTreeMap::from([(id, bias)]), ..good.clone() });
    }
    bad("logprobs", SamplingOptions { logprobs: Some(11), ..good });
}

#[test]
fn what_is_left_open_is_the_models() {
    let defaults = SamplingOptions { temperature: Some(0.6), top_k: Some(20), ..SamplingOptions::default() };
    let found = SamplingOptions { temperature: Some(0.0), seed: Some(3), ..SamplingOptions::default() }.or(&defaults);
    let expected =
        SamplingOptions { temperature: Some(0.0), top_k: Some(20), seed: Some(3), ..SamplingOptions::default() };
    assert_eq!(found, expected);
}

proptest! {
    #[test]
    fn distributions_are_sound(
        logits in prop::collection::vec(-30.0f32..30.0, 1..400),
        temperature in 0.01f32..5.0,
        top_k in 0usize..450,
        top_p in 0.0001f32..=1.0,
        min_p in 0.0f32..=1.0,
        seed: u64,
    ) {
        let options = SamplingOptions {
            temperature: Some(temperature),
            top_k: Some(top_k),
            top_p: Some(top_p),
            min_p: Some(min_p),
            seed: Some(seed),
            ..SamplingOptions::default()
        };
        let mut sampler = Sampler::new(&options, &[]);
        let found = sampler.distribution(&mut logits.clone(), None).expect("a distribution");
        let sum: f32 = found.iter().map(|(_, p)| p).sum();
        prop_assert!((sum - 1.0).abs() < 1e-4);
        prop_assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0));
        if top_k > 0 {
            prop_assert!(found.len() <= top_k, "no two random floats are equal");
        }
        let least = found.iter().map(|(id, _)| logits[*id as usize]).fold(f32::INFINITY, f32::min);
        // Who is kept is likelier than who isn't, but for rounding.
        for (id, logit) in (0..).zip(&logits) {
            if found.iter().all(|(kept, _)| *kept != id) {
                prop_assert!(*logit <= least + 1e-4);
            }
        }
        let drawn = sampler.sample(&mut logits.clone(), None).expect("a token").id;
        prop_assert!(found.iter().any(|(id, _)| *id == drawn));
        let again = Sampler::new(&options, &[]).sample(&mut logits.clone(), None).expect("a token").id;
        prop_assert_eq!(drawn, again);
    }

    #[test]
    fn top_p_is_what_sorting_says(
        steps in prop::collection::vec(0u8..40, 1..300),
        scale in prop_oneof![Just(0.01f32), Just(0.1), Just(0.3), Just(2.0)],
        top_p in 0.01f32..0.999,
    ) {
        let logits: Vec<f32> = steps.iter().map(|step| f32::from(*step) * scale).collect();
        let largest = logits.iter().copied().fold(0.0, f32::max);
        let weight = |id: u32| f64::from(logits[id as usize] - largest).exp();
        let sum: f64 = (0..logits.len() as u32).map(weight).sum();
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));

        let options = SamplingOptions { top_p: Some(top_p), ..drawing() };
        let found = Sampler::new(&options, &[]).distribution(&mut logits.clone(), None).expect("a distribution");
        let mut expected = order[..found.len()].to_vec();
        expected.sort_unstable();
        prop_assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), expected);
        // As many as are needed, but for rounding.
        let together = |n: usize| order[..n].iter().map(|id| weight(*id)).sum::<f64>() / sum;
        prop_assert!(together(found.len()) >= f64::from(top_p) - 1e-5);
        prop_assert!(together(found.len() - 1) < f64::from(top_p) + 1e-5);
    }
}
