//! The GPU path on software Vulkan (lavapipe): a few small models, few shapes.

use gllm_models::{EmbedOptions, EmbeddingEngine, device};
use gllm_tests::{embed, golden, max_abs_difference, read_npy, read_texts, software_vulkan};

#[test]
fn small_models_match_on_software_vulkan() {
    let Some(device) = software_vulkan() else { return };
    let texts = read_texts(&golden().join("bert/texts.json"));
    for case in ["mean", "max-relu", "lasttoken-gelu-new", "sqrt-len", "dense"] {
        let folder = golden().join("bert").join(case);
        let engine = EmbeddingEngine::load(&folder, &device).unwrap_or_else(|e| panic!("{case}: {e}"));
        let found = embed(&engine, &texts, &EmbedOptions::default());
        let difference = max_abs_difference(&found, &read_npy(&folder.join("expected.npy")));
        println!("{case}: {difference:e}");
        assert!(difference <= 1e-4, "{case}: {difference:e}");
    }
}

#[test]
fn auto_does_not_take_a_software_adapter() {
    if software_vulkan().is_none() {
        return;
    }
    let taken = device::open(gllm::Device::Auto).expect("a CPU at least").description;
    assert!(!taken.contains("llvmpipe"), "{taken}");
}
