//! A folder with a `model.safetensors`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gllm_fuzz::open(bytes, "model.safetensors"));
