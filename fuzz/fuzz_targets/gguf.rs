//! A folder with a `.gguf` file: header, metadata, tensors.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gllm_fuzz::open(bytes, "model.gguf"));
