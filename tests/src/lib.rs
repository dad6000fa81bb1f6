//! What the tests of the workspace share: golden data, comparisons, and the real model.

pub mod gguf;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, DeviceKind, DeviceType};
use gllm_models::{EmbedOptions, EmbeddingEngine};

/// The vectors of `texts`.
///
/// # Panics
/// If there are none.
pub fn embed<T: AsRef<str> + Sync>(engine: &EmbeddingEngine, texts: &[T], options: &EmbedOptions) -> Vec<Vec<f32>> {
    let response = engine.embed(texts, options).unwrap_or_else(|e| panic!("{e}"));
    response.embeddings.into_iter().map(|e| e.embedding).collect()
}

/// The cases of families of encoders that have a file called `answers`, each a folder with a model.
///
/// # Panics
/// If there are none.
#[must_use]
pub fn family_cases(answers: &str) -> Vec<PathBuf> {
    let list = |folder: PathBuf| -> Vec<PathBuf> {
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let paths = entries.map(|entry| entry.expect("a readable folder").path());
        paths.filter(|path| path.is_dir()).collect()
    };
    let mut cases: Vec<PathBuf> = list(golden().join("families")).into_iter().flat_map(list).collect();
    cases.retain(|case| case.join(answers).is_file());
    cases.sort();
    assert!(!cases.is_empty(), "no cases with {answers}");
    cases
}

/// The texts that every family of models is asked about.
///
/// # Panics
/// If they aren't there.
#[must_use]
pub fn family_texts() -> Vec<String> {
    read_texts(&golden().join("families/texts.json"))
}

/// Queries with a document each, for the rerankers of every family.
///
/// # Panics
/// If they aren't there.
#[must_use]
pub fn family_pairs() -> Vec<(String, String)> {
    let file = fs::read_to_string(golden().join("families/pairs.json")).expect("golden pairs");
    let mut file: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    serde_json::from_value(file["pairs"].take()).expect("pairs")
}

/// The folder of golden data: cargo runs a test in the folder of its package.
#[must_use]
pub fn golden() -> PathBuf {
    PathBuf::from("golden")
}

/// A file of a JSON list of strings.
///
/// # Panics
/// If it isn't one.
#[must_use]
pub fn read_texts(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The rows of a two-dimensional float32 array, as numpy saves it.
///
/// # Panics
/// If it isn't one.
#[must_use]
pub fn read_npy(path: &Path) -> Vec<Vec<f32>> {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert!(bytes.starts_with(b"\x93NUMPY\x01"), "{}: not a version 1 array", path.display());
    let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..header_end]);
    assert!(header.contains("'<f4'") && header.contains("False"), "{}: {header}", path.display());
    let shape = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(shape, _)| shape);
    let columns = shape.and_then(|shape| shape.split(',').nth(1)).and_then(|n| n.trim().parse().ok());
    let columns: usize = columns.unwrap_or_else(|| panic!("{}: {header}", path.display()));
    let values: Vec<f32> =
        bytes[header_end..].as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
    values.chunks_exact(columns).map(<[f32]>::to_vec).collect()
}

/// The largest absolute difference between two lists of vectors of the same shape.
///
/// # Panics
/// If the shapes differ, or a value isn't a number.
#[must_use]
pub fn max_abs_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len(), "rows");
    let pairs = a.iter().zip(b).flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len(), "columns");
        a.iter().zip(b)
    });
    pairs.fold(0.0, |worst, (a, b)| {
        assert!(a.is_finite() && b.is_finite(), "not a number");
        worst.max((a - b).abs())
    })
}

/// The smallest cosine between vectors of the same place.
#[must_use]
pub fn min_cosine(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let cosine = |(a, b): (&Vec<f32>, &Vec<f32>)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    a.iter().zip(b).map(cosine).fold(f64::INFINITY, f64::min)
}

/// Whether this is continuous integration, where a test that needs something must fail, not skip, without it.
#[must_use]
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// The GPU to test: the software adapter of Vulkan, or the first real one where `GLLM_TEST_GPU` is set; `None`, said on
/// stderr, where there is none.
///
/// # Panics
/// In continuous integration, if there is none, and anywhere without the real one that is asked for.
#[must_use]
pub fn gpu() -> Option<Device> {
    if std::env::var_os("GLLM_TEST_GPU").is_none() {
        return software_vulkan();
    }
    let device = Device::wgpu(DeviceKind::DiscreteGpu(0));
    let all = Device::enumerate(DeviceType::Wgpu).into_vec();
    assert!(all.contains(&device), "GLLM_TEST_GPU is set, and there is no GPU among {all:?}");
    Some(device)
}

/// The software adapter of Vulkan; `None`, said on stderr, where there is none.
///
/// # Panics
/// In continuous integration, if there is none.
#[must_use]
pub fn software_vulkan() -> Option<Device> {
    let device = Device::wgpu(DeviceKind::Cpu);
    let there = Device::enumerate(DeviceType::Wgpu).into_vec().contains(&device);
    if !there {
        skip("no software Vulkan (Debian: mesa-vulkan-drivers and libvulkan1)");
    }
    there.then_some(device)
}

/// Says that a test is skipped for lack of `what`.
///
/// # Panics
/// In continuous integration, where nothing may be skipped.
pub fn skip(what: &str) {
    assert!(!is_ci(), "{what}, and in continuous integration tests may not be skipped");
    eprintln!("skipped: {what}");
}

/// The folder of the real all-MiniLM-L6-v2 in the user's own store, downloaded if it isn't there; `None`, said on
/// stderr, where it can't be had.
///
/// # Panics
/// In continuous integration, if it can't be had.
#[must_use]
pub fn minilm() -> Option<PathBuf> {
    real_model("all-MiniLM-L6-v2")
}

/// The file of the real Qwen2.5-Coder-0.5B-Instruct in GGUF, as [`minilm`].
///
/// # Panics
/// In continuous integration, if it can't be had.
#[must_use]
pub fn qwen() -> Option<PathBuf> {
    real_model("qwen2.5-coder-0.5b-instruct")
}

fn real_model(alias: &str) -> Option<PathBuf> {
    let store = gllm::hub::HubConfig::from_env().map(gllm::hub::Store::new);
    let path = store.and_then(|store| store.fetch(&gllm::hub::ModelId::parse(alias)?, &mut ()));
    path.inspect_err(|e| skip(&format!("no {alias}: {e}"))).ok()
}

/// Numbers that look random, the same for the same seed: splitmix64.
///
/// Source: <https://prng.di.unimi.it/splitmix64.c>.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Those of `seed`.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self(seed)
    }

    /// One from 0 to `end`, without `end`.
    ///
    /// # Panics
    /// If `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}
