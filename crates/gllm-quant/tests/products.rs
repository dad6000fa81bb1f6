//! Products on packed weights against the same products in f64 on the weights as floats.

use gllm_quant::{BlockType, QLinear, QTensor, blocks};

/// Types without a kernel; they are dequantised instead.
const WITHOUT_KERNEL: [BlockType; 10] = [
    BlockType::Q8_1,
    BlockType::Q8_K,
    BlockType::IQ2_XXS,
    BlockType::IQ2_XS,
    BlockType::IQ3_XXS,
    BlockType::IQ1_S,
    BlockType::IQ3_S,
    BlockType::IQ2_S,
    BlockType::IQ1_M,
    BlockType::MXFP4,
];

/// Looks random, and is the same on every run.
fn noise(seed: u32) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(seed), |x| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))).map(|x| x >> 8)
}

fn floats(seed: u32, len: usize) -> Vec<f32> {
    noise(seed).skip(1).take(len).map(|x| x as f32 / (1 << 23) as f32 - 1.0).collect()
}

#[test]
fn products_are_those_of_the_floats() {
    for of in BlockType::ALL.into_iter().filter(|of| !WITHOUT_KERNEL.contains(of)) {
        for [outputs, inputs, rows] in [[1, 256, 1], [24, 512, 3], [70, 1280, 13]] {
            let weights = blocks::quantize(of, &floats(1, outputs * inputs)).expect("a type that can be made");
            let weights = QTensor::new(of, [outputs, inputs], weights.into()).expect("whole blocks");
            let bias = floats(3, outputs);
            let layer = QLinear::new(&weights, Some(bias.clone())).expect("a type with a kernel");
            let x = floats(2, rows * inputs);
            let found = layer.forward(&x);
            let expected = x.chunks(inputs).flat_map(|x| {
                let bias = bias.iter().map(|bias| f64::from(*bias));
                bias.enumerate().map(|(output, bias)| blocks::dot(of, weights.row(output), x) + bias)
            });
            let (mut error, mut size) = (0.0, 0.0);
            for (found, expected) in found.iter().zip(expected) {
                error += (f64::from(*found) - expected).powi(2);
                size += expected.powi(2);
            }
            let relative = (error / size).sqrt();
            assert!(relative <= 1e-2, "{of} {outputs} × {inputs}, {rows} rows: {relative}");
        }
    }
}

#[test]
fn types_without_a_kernel_say_so() {
    for of in WITHOUT_KERNEL {
        let bytes = vec![0; of.block_bytes()];
        let weights = QTensor::new(of, [1, of.block_len()], bytes.into()).expect("a block");
        assert!(QLinear::new(&weights, None).is_none(), "{of}");
    }
}

#[test]
fn a_number_that_is_not_finite_reaches_the_result() {
    let weights = QTensor::new(BlockType::Q8_0, [1, 32], vec![0; 34].into()).expect("a block");
    let layer = QLinear::new(&weights, None).expect("a type with a kernel");
    let mut x = [1.0; 32];
    x[5] = f32::NAN;
    assert!(layer.forward(&x)[0].is_nan());
    assert!(layer.forward(&[]).is_empty());
}
