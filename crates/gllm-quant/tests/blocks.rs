//! What ggml makes of blocks: the same floats, to the bit.

use std::path::Path;

use gllm_quant::{BlockType, DType, WeightFiles, blocks};

fn golden() -> WeightFiles {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/blocks/blocks.safetensors");
    WeightFiles::open_file(&path).unwrap_or_else(|e| panic!("{e}"))
}

fn bytes(golden: &WeightFiles, name: &str) -> Vec<u8> {
    golden.get(name).unwrap_or_else(|| panic!("{name}")).0.bytes.to_vec()
}

fn floats(golden: &WeightFiles, name: &str) -> Vec<f32> {
    DType::F32.to_f32(&bytes(golden, name)).expect("floats")
}

#[test]
fn elements_are_those_of_ggml_to_the_bit() {
    let golden = golden();
    for of in BlockType::ALL {
        for kind in ["rows", "random"] {
            let name = format!("{of}.{kind}");
            let found = blocks::dequantize(of, &bytes(&golden, &name));
            let expected = floats(&golden, &format!("{name}.values"));
            assert_eq!(found.len(), expected.len(), "{name}");
            for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found.to_bits(), expected.to_bits(), "{name}, element {at}: {found} for {expected}");
            }
        }
    }
}
