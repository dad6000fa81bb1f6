//! A folder with a `pytorch_model.bin`: zip archives and pickles.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gllm_fuzz::open(bytes, "pytorch_model.bin"));
