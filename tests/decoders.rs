//! Every family of decoders: tiny random models against what transformers computes, whole, token by token with a cache,
//! and several sequences together.
//!
//! A case is a folder `golden/decoders/<case>` with a complete model, or a file `golden/decoders/<case>.gguf` with the
//! model of that folder. A new family needs a case, and nothing here.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use gllm_models::{CacheType, GeneratorModel, KvCache, Step};
use gllm_tests::{golden, max_abs_difference, min_cosine};
use safetensors::SafeTensors;

/// The prompt that the greedy tokens follow.
const CONTINUED: usize = 1;

/// What is asked, and what transformers answers.
struct Answers {
    prompts: Vec<Vec<u32>>,
    /// `[prompts][tokens][vocab]`
    logits: Vec<Vec<Vec<f32>>>,
    /// What follows the prompt `CONTINUED`.
    greedy: Vec<u32>,
    /// `[tokens of the last prompt][vocab]`, where layers are packed: with activations in 8 bits.
    rounded: Option<Vec<Vec<f32>>>,
}

impl Answers {
    /// Of the model at `path`, a folder or a GGUF file.
    fn of(path: &Path) -> Self {
        let path = path.with_extension("").join("expected.safetensors");
        let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
        let words = |name: &str| -> Vec<[u8; 4]> {
            let tensor = tensors.tensor(name).unwrap_or_else(|e| panic!("{}: {name}: {e}", path.display()));
            tensor.data().as_chunks().0.to_vec()
        };
        let ids = |name: &str| -> Vec<u32> { words(name).into_iter().map(u32::from_le_bytes).collect() };
        let prompts: Vec<Vec<u32>> = (0..3).map(|index| ids(&format!("ids.{index}"))).collect();
        let rows = |name: &str, prompt: &[u32]| -> Vec<Vec<f32>> {
            let floats: Vec<f32> = words(name).into_iter().map(f32::from_le_bytes).collect();
            floats.chunks_exact(floats.len() / prompt.len()).map(<[f32]>::to_vec).collect()
        };
        let logits = prompts.iter().enumerate().map(|(index, prompt)| rows(&format!("logits.{index}"), prompt));
        let logits = logits.collect();
        let rounded = tensors.names().contains(&"rounded").then(|| rows("rounded", &prompts[2]));
        Self { logits, greedy: ids("greedy"), rounded, prompts }
    }
}

fn decoders() -> PathBuf {
    golden().join("decoders")
}

fn is_packed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with("-awq") || name.ends_with("-gptq")
}

/// Whether what a token gives depends on how many come with it: so many stretch the rotary positions of all.
fn is_dynamic(path: &Path) -> bool {
    path.ends_with("llama-dynamic")
}

/// The folders and GGUF files.
fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(decoders()).expect("golden decoders");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let is_case = |path: &PathBuf| path.join("config.json").is_file() || path.extension().is_some_and(|e| e == "gguf");
    let mut cases: Vec<PathBuf> = paths.filter(is_case).collect();
    cases.sort();
    assert!(cases.len() >= 36, "{} cases", cases.len());
    cases
}

/// Those whose answers depend on no rounding to 8 bits.
fn exact_cases() -> Vec<PathBuf> {
    cases().into_iter().filter(|path| !is_packed(path)).collect()
}

/// Runs `check` on every case; then says of all that failed why.
fn each(cases: &[PathBuf], check: impl Fn(&Path) -> Result<(), String>) {
    let mut failures = String::new();
    for case in cases {
        let name = case.file_name().unwrap_or_default().display();
        println!("{name}");
        if let Err(reason) = check(case) {
            writeln!(failures, "{name}: {reason}").expect("a string");
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn load(path: &Path, device: &Device) -> Result<GeneratorModel, String> {
    GeneratorModel::load(path, device).map_err(|e| e.to_string())
}

/// `[all tokens][vocab]`: reads on in several sequences.
fn read_on(model: &GeneratorModel, steps: &mut [Step<'_>]) -> Result<Vec<Vec<f32>>, String> {
    let hidden = model.forward(steps).map_err(|e| e.to_string())?;
    let logits = model.logits(hidden);
    let [_, vocab] = logits.dims();
    let values = logits.try_into_vec_as::<f32>().map_err(|e| e.to_string())?;
    Ok(values.chunks_exact(vocab).map(<[f32]>::to_vec).collect())
}

/// `[tokens][vocab]`: reads on in one sequence.
fn read(model: &GeneratorModel, cache: &mut KvCache, tokens: &[u32]) -> Result<Vec<Vec<f32>>, String> {
    read_on(model, &mut [Step { tokens, cache }])
}

/// `[tokens][vocab]`: reads a text whole.
fn read_whole(model: &GeneratorModel, tokens: &[u32]) -> Result<Vec<Vec<f32>>, String> {
    read(model, &mut model.new_cache(), tokens)
}

fn most_likely(logits: &[f32]) -> u32 {
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(id, _)| u32::try_from(id).expect("a small vocabulary"))
}

/// The most likely tokens after `prompt`, one at a time.
fn greedy(model: &GeneratorModel, prompt: &[u32], count: usize) -> Result<Vec<u32>, String> {
    let mut cache = model.new_cache();
    let mut tokens = vec![most_likely(read(model, &mut cache, prompt)?.last().expect("a prompt"))];
    while tokens.len() < count {
        tokens.push(most_likely(&read(model, &mut cache, &tokens[tokens.len() - 1..])?[0]));
    }
    Ok(tokens)
}

fn logits_match(model: &GeneratorModel, answers: &Answers, limit: f32) -> Result<(), String> {
    for (prompt, expected) in answers.prompts.iter().zip(&answers.logits) {
        let difference = max_abs_difference(&read_whole(model, prompt)?, expected);
        println!("    {} tokens: {difference:e}", prompt.len());
        if difference > limit {
            return Err(format!("{} tokens: logits differ by {difference:e}", prompt.len()));
        }
    }
    Ok(())
}

fn greedy_tokens_match(model: &GeneratorModel, answers: &Answers) -> Result<(), String> {
    let found = greedy(model, &answers.prompts[CONTINUED], answers.greedy.len())?;
    match found.iter().zip(&answers.greedy).position(|(found, expected)| found != expected) {
        Some(place) => Err(format!("token {place} is {}, not {}", found[place], answers.greedy[place])),
        None => Ok(()),
    }
}

/// Whether logits are equal but for rounding, by the largest of them.
fn are_equal(found: &[Vec<f32>], expected: &[Vec<f32>]) -> Result<(), String> {
    let largest = expected.iter().flatten().fold(0.0f32, |largest, logit| largest.max(logit.abs()));
    let difference = max_abs_difference(found, expected) / largest;
    println!("    {difference:e} of the largest");
    if difference <= 1e-5 { Ok(()) } else { Err(format!("differ by {difference:e} of the largest")) }
}

#[test]
fn logits_match_on_flex() {
    each(&exact_cases(), |case| logits_match(&load(case, &Device::flex())?, &Answers::of(case), 1e-3));
}

/// The configuration as it was spelled before transformers 5.
#[test]
fn logits_match_with_the_published_spelling() {
    let folders: Vec<PathBuf> =
        exact_cases().into_iter().filter(|path| path.join("published.json").is_file()).collect();
    assert!(folders.len() >= 22, "{} folders", folders.len());
    each(&folders, |case| {
        let copy = tempfile::tempdir().expect("a folder");
        for entry in fs::read_dir(case).expect("a folder") {
            let path = entry.expect("a readable folder").path();
            let name = match path.file_name().and_then(|name| name.to_str()).expect("a name") {
                "config.json" => continue,
                "published.json" => "config.json",
                name => name,
            };
            fs::copy(&path, copy.path().join(name)).expect("a copy");
        }
        logits_match(&load(copy.path(), &Device::flex())?, &Answers::of(case), 1e-3)
    });
}

/// Packed weights meet activations that are rounded to 8 bits. A step to the next of these may fall elsewhere.
#[test]
fn logits_of_packed_layers_match_those_of_rounded_activations() {
    let packed: Vec<PathBuf> = cases().into_iter().filter(|path| is_packed(path)).collect();
    each(&packed, |case| {
        let (model, answers) = (load(case, &Device::flex())?, Answers::of(case));
        let found = read_whole(&model, &answers.prompts[2])?;
        let (rounded, exact) = (answers.rounded.expect("logits"), &answers.logits[2]);
        let (cosine, exact) = (min_cosine(&found, &rounded), min_cosine(&found, exact));
        println!("    cosine {cosine}, with exact ones {exact}");
        if cosine < 0.999 { Err(format!("a cosine of {cosine}")) } else { Ok(()) }
    });
}

#[test]
fn greedy_tokens_match_on_flex() {
    each(&exact_cases(), |case| greedy_tokens_match(&load(case, &Device::flex())?, &Answers::of(case)));
}

#[test]
fn a_text_read_in_pieces_equals_the_whole() {
    let cases: Vec<PathBuf> = cases().into_iter().filter(|path| !is_dynamic(path)).collect();
    each(&cases, |case| {
        let model = load(case, &Device::flex())?;
        let text = Answers::of(case).prompts.pop().expect("a long prompt");
        let whole = read_whole(&model, &text)?;
        for size in [1, 3, 7, 41] {
            let mut cache = model.new_cache();
            let mut pieces = Vec::new();
            for piece in text.chunks(size) {
                pieces.extend(read(&model, &mut cache, piece)?);
            }
            are_equal(&pieces, &whole).map_err(|e| format!("in pieces of {size}: {e}"))?;
        }
        Ok(())
    });
}

/// To the last bit. First each prompt whole, then, with what they have read behind them, pieces of different lengths.
#[test]
fn sequences_read_together_equal_each_alone() {
    each(&cases(), |case| {
        let (model, answers) = (load(case, &Device::flex())?, Answers::of(case));
        let next = [&answers.greedy[..1], &answers.greedy[1..8], &answers.greedy[8..9]];
        let mut together: Vec<KvCache> = answers.prompts.iter().map(|_| model.new_cache()).collect();
        let mut alone = together.clone();
        for texts in [answers.prompts.iter().map(Vec::as_slice).collect::<Vec<_>>(), next.to_vec()] {
            let steps = texts.iter().zip(&mut together).map(|(tokens, cache)| Step { tokens, cache });
            let found = read_on(&model, &mut steps.collect::<Vec<_>>())?;
            let mut expected = Vec::new();
            for (tokens, cache) in texts.iter().zip(&mut alone) {
                expected.extend(read(&model, cache, tokens)?);
            }
            if found != expected {
                return Err(format!("differ by {:e}", max_abs_difference(&found, &expected)));
            }
        }
        Ok(())
    });
}

#[test]
fn a_cache_goes_on_from_where_it_is_cut() {
    each(&cases(), |case| {
        let (model, answers) = (load(case, &Device::flex())?, Answers::of(case));
        let prompt = &answers.prompts[CONTINUED];
        let mut cache = model.new_cache();
        read(&model, &mut cache, prompt)?;
        let mut shared = cache.clone();
        let expected = read(&model, &mut cache, &answers.greedy[..5])?;
        // The other goes another way first, and both go on from the same tokens.
        read(&model, &mut shared, &answers.prompts[2][..9])?;
        for cache in [&mut cache, &mut shared] {
            cache.truncate(prompt.len());
            are_equal(&read(&model, cache, &answers.greedy[..5])?, &expected)?;
        }
        Ok(())
    });
}

#[test]
fn a_cache_of_half_precision_takes_half_and_changes_little() {
    each(&exact_cases(), |case| {
        let (model, answers) = (load(case, &Device::flex())?, Answers::of(case));
        let prompt = &answers.prompts[2];
        let mut caches = [CacheType::F32, CacheType::F16].map(|of| model.cache_of(of, 100));
        let [whole, half] = &mut caches;
        let (expected, found) = (read(&model, whole, prompt)?, read(&model, half, prompt)?);
        let cosine = min_cosine(&found, &expected);
        if found == expected || cosine < 0.999 {
            return Err(format!("a cosine of {cosine}"));
        }
        let (whole, half) = (whole.bytes(), half.bytes());
        if 2 * half == whole { Ok(()) } else { Err(format!("{half} bytes, {whole} in whole precision")) }
    });
}

/// Where there are no kernels for packed weights, they are floats.
#[cfg(feature = "ndarray")]
#[test]
fn logits_and_greedy_tokens_match_on_ndarray() {
    let names = ["qwen2", "llama-yarn", "gemma2", "mixtral", "qwen2-awq", "llama-awq", "qwen2-gptq", "llama.gguf"];
    let cases = names.map(|name| decoders().join(name));
    each(&cases, |case| {
        let (model, answers) = (load(case, &gllm_models::device::ndarray())?, Answers::of(case));
        logits_match(&model, &answers, 1e-3)?;
        greedy_tokens_match(&model, &answers)
    });
}

/// That the cases can tell models apart.
#[test]
fn cases_have_answers_of_their_own() {
    let mut seen = BTreeMap::new();
    for case in exact_cases().into_iter().filter(|path| path.is_dir()) {
        let answers = Answers::of(&case);
        assert_eq!(answers.prompts.iter().map(Vec::len).collect::<Vec<_>>(), [1, 21, 80]);
        assert_eq!(answers.greedy.len(), 64);
        let other = seen.insert(answers.greedy, case.clone());
        assert!(other.is_none(), "{} and {other:?}", case.display());
    }
}
