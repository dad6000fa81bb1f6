//! Any text as a `config.json`: what it says of quantised layers is read or refused, and names can be asked for.
#![no_main]

use std::path::Path;

use gllm_quant::QuantizationConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(Some(config)) = QuantizationConfig::parse(Path::new("config.json"), text) {
        for module in ["lm_head", "model.layers.0.mlp.down_proj", ""] {
            config.is_quantized(module);
        }
    }
});
