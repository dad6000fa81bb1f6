//! What a packer put in comes out, whatever the sizes.

use gllm_quant::GroupQuantized;
use proptest::prelude::*;

use crate::layers::{Layer, awq, compressed, gptq};

/// Compares a layer read with the one packed.
fn check(layer: &Layer, found: &GroupQuantized) {
    assert_eq!([found.outputs, found.inputs], layer.shape());
    assert_eq!((found.bits as usize, found.group_size), (layer.bits, layer.group_size));
    let order: Vec<usize> = match &found.order {
        Some(order) => order.iter().map(|input| *input as usize).collect(),
        None => (0..layer.inputs).collect(),
    };
    let groups = order.iter().map(|input| layer.g_idx[*input]).collect::<Vec<_>>();
    assert_eq!(groups, (0..layer.inputs).map(|place| place / layer.group_size).collect::<Vec<_>>());
    for (found, codes) in found.codes.chunks_exact(layer.inputs).zip(layer.codes.chunks_exact(layer.inputs)) {
        assert_eq!(found, order.iter().map(|input| codes[*input]).collect::<Vec<_>>());
    }
    assert_eq!(found.zeros, layer.zeros);
    assert_eq!(found.scales, layer.scales.iter().map(|scale| scale.to_f32()).collect::<Vec<_>>());
    assert_eq!(found.dequantize(), layer.weights());
}

fn bits() -> impl Strategy<Value = usize> {
    prop_oneof![Just(4), Just(8)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn awq_gives_the_codes_back(outputs in 1..20_usize, groups in 1..6_usize, size in 1..70_usize, seed: u64) {
        let layer = Layer::new(outputs * 8, groups, size, 4, seed);
        check(&layer, &layer.awq().read(&awq(size as i64), layer.shape()).expect("valid"));
    }

    #[test]
    fn gptq_gives_the_codes_back(
        bits in bits(), outputs in 1..20_usize, groups in 1..6_usize, size in 1..10_usize, dealt: bool, seed: u64,
    ) {
        let size = size * 8;
        let mut layer = Layer::new(outputs * 8, groups, size, bits, seed);
        if dealt {
            layer = layer.dealt();
        }
        check(&layer, &layer.gptq(0).read(&gptq(bits, size as i64, "gptq_v2"), layer.shape()).expect("valid"));
        layer.zeros.iter_mut().for_each(|zero| *zero = (*zero).max(1));
        check(&layer, &layer.gptq(1).read(&gptq(bits, size as i64, "gptq"), layer.shape()).expect("valid"));
    }

    #[test]
    fn compressed_tensors_gives_the_codes_back(
        bits in bits(), outputs in 1..80_usize, groups in 1..6_usize, size in 1..70_usize, symmetric: bool, seed: u64,
    ) {
        let mut layer = Layer::new(outputs, groups, size, bits, seed);
        if symmetric {
            layer = layer.symmetric();
        }
        for (format, tensors) in [("pack-quantized", layer.packed()), ("int-quantized", layer.int8())] {
            let tensors = if symmetric { tensors.without("weight_zero_point") } else { tensors };
            let config = compressed(format, bits, Some(size), symmetric);
            check(&layer, &tensors.read(&config, layer.shape()).expect("valid"));
            if groups == 1 {
                let config = compressed(format, bits, None, symmetric);
                check(&layer, &tensors.read(&config, layer.shape()).expect("valid"));
            }
        }
    }
}

#[test]
fn a_group_size_of_minus_one_is_the_whole_row() {
    let layer = Layer::new(16, 1, 40, 4, 5);
    check(&layer, &layer.awq().read(&awq(-1), layer.shape()).expect("valid"));
    check(&layer, &layer.gptq(0).read(&gptq(4, -1, "gptq_v2"), layer.shape()).expect("valid"));
}

#[test]
fn without_g_idx_groups_are_of_neighbours() {
    let layer = Layer::new(16, 3, 16, 4, 6);
    let tensors = layer.gptq(0).without("g_idx");
    check(&layer, &tensors.read(&gptq(4, 16, "gptq_v2"), layer.shape()).expect("valid"));
}

#[test]
fn a_word_of_zeros_borrows_and_carries() {
    // 0 to 7, each lowered by 1 as one number: 0x76543210 - 0x11111111.
    let mut layer = Layer::new(8, 1, 8, 4, 7);
    layer.zeros = (0..8).collect();
    let mut tensors = layer.gptq(0);
    tensors = tensors.with(
        "qzeros",
        crate::layers::Tensor {
            dtype: safetensors::Dtype::I32,
            shape: vec![1, 1],
            bytes: 0x6543_20ff_u32.to_le_bytes().to_vec(),
        },
    );
    check(&layer, &tensors.read(&gptq(4, 8, "gptq"), layer.shape()).expect("valid"));
}
