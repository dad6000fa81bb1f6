//! The GPU path, on software Vulkan (lavapipe) unless a real GPU is asked for: a few small models, few shapes.

use std::path::Path;

use burn::tensor::{Device, Tensor};
use gllm_models::{EmbedOptions, EmbeddingEngine, FileType, GeneratorModel, Step, device, export_gguf};
use gllm_tests::gguf::Gguf;
use gllm_tests::{embed, golden, gpu, max_abs_difference, read_npy, read_texts, software_vulkan};

#[test]
fn small_models_match_on_a_gpu() {
    let Some(device) = gpu() else { return };
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
fn a_small_decoder_matches_the_cpu_on_a_gpu() {
    let Some(device) = gpu() else { return };
    // One model, because its kernels are compiled for minutes: windows, soft caps and norms before and after.
    let case = "gemma2";
    let path = golden().join("decoders").join(case);
    // The logits of a prompt in two pieces, then of two sequences at once.
    let logits = |device: &Device| {
        let model = GeneratorModel::load(&path, device).unwrap_or_else(|e| panic!("{case}: {e}"));
        let mut caches = [model.new_cache(), model.new_cache()];
        let mut rows = Vec::new();
        let prompt: Vec<u32> = (0..40).map(|i| (7 * i + 3) % 60).collect();
        for (cache, len) in caches.iter_mut().zip([30, 5]) {
            let steps = &mut [Step { tokens: &prompt[..len], cache }];
            rows.push(model.logits(model.forward(steps).unwrap_or_else(|e| panic!("{case}: {e}"))));
        }
        let [one, two] = &mut caches;
        let steps = &mut [Step { tokens: &prompt[30..], cache: one }, Step { tokens: &prompt[5..6], cache: two }];
        rows.push(model.logits(model.forward(steps).unwrap_or_else(|e| panic!("{case}: {e}"))));
        let host = |x: Tensor<2>| x.try_into_vec_as::<f32>().expect("floats");
        rows.into_iter().map(host).collect::<Vec<_>>()
    };
    let difference = max_abs_difference(&logits(&device), &logits(&Device::flex()));
    println!("{case}: {difference:e}");
    assert!(difference <= 1e-3, "{case}: {difference:e}");
}

#[test]
fn auto_does_not_take_a_software_adapter() {
    if software_vulkan().is_none() {
        return;
    }
    let taken = device::open(gllm::Device::Auto).expect("a CPU at least").description;
    assert!(!taken.contains("llvmpipe"), "{taken}");
}

#[test]
fn quantised_weights_match_their_floats() {
    let Some(device) = gpu() else { return };
    let texts = read_texts(&golden().join("bert/texts.json"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let vectors = |path: &Path| {
        let engine = EmbeddingEngine::load(path, &device).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        embed(&engine, &texts[..2], &EmbedOptions::default())
    };
    // Codes of 8 and 4 bits, and a type with minima, which becomes half floats, where there are any.
    for (of, tolerance) in [(FileType::Q8_0, 1e-5), (FileType::Q4_0, 1e-5), (FileType::Q4_1, 2e-3)] {
        let [quantised, floats] = ["quantised.gguf", "floats.gguf"].map(|name| folder.path().join(name));
        export_gguf(&golden().join("gguf_models/bert-f32.gguf"), &quantised, of, &mut ())
            .unwrap_or_else(|e| panic!("{of}: {e}"));
        let mut file = Gguf::read(&quantised);
        file.dequantize();
        file.write(&floats);
        let (found, expected) = (vectors(&quantised), vectors(&floats));
        let largest = expected.iter().flatten().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let difference = max_abs_difference(&found, &expected) / largest;
        println!("{of}: {difference:e}");
        assert!(difference <= tolerance, "{of}: {difference:e}");
    }
}
