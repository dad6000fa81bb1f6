//! Products on packed weights against the same products in f64 on the weights as floats.

use gllm_quant::{BlockType, GroupQuantized, QLinear, QTensor, blocks};

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

/// What rounding may cost: activations have 15 bits for weights of 8, and 8 for smaller ones; groups' scales have 11.
fn bound(bits: usize) -> f64 {
    if bits >= 8 { 5e-4 } else { 1e-2 }
}

/// The size of the difference, relative to that of what is expected.
fn relative_error(found: &[f32], expected: impl Iterator<Item = f64>) -> f64 {
    let squares = found.iter().zip(expected).fold((0.0, 0.0), |(error, size), (found, expected)| {
        (error + (f64::from(*found) - expected).powi(2), size + expected.powi(2))
    });
    (squares.0 / squares.1).sqrt()
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
            let relative = relative_error(&found, expected);
            assert!(
                relative <= bound(of.block_bytes() * 8 / of.block_len()),
                "{of} {outputs} × {inputs}, {rows} rows: {relative}"
            );
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

#[test]
fn products_with_groups_are_those_of_the_floats() {
    let [outputs, inputs, rows] = [40, 256, 5];
    for (bits, group_size, is_sorted) in [(4, 32, false), (4, 64, true), (4, 128, true), (8, 256, false), (8, 32, true)]
    {
        let groups = inputs / group_size;
        let small = |seed, len, below: u32| noise(seed).skip(1).take(len).map(move |x| (x >> 4) % below);
        // Every input once: 77 has no divisor in common with 256.
        let order = is_sorted.then(|| (0..inputs as u32).map(|i| i * 77 % inputs as u32).collect());
        let weight = GroupQuantized {
            outputs,
            inputs,
            bits,
            group_size,
            codes: small(1, outputs * inputs, 1 << bits).map(|code| code as u8).collect(),
            scales: floats(2, outputs * groups).iter().map(|x| 0.01 + x.abs()).collect(),
            zeros: small(3, outputs * groups, 1 << bits).map(|zero| zero as u8).collect(),
            order,
        };
        let layer = QLinear::from_groups(&weight, None).expect("groups of 32 or more");
        let (x, floats) = (floats(4, rows * inputs), weight.dequantize());
        let found = layer.forward(&x);
        let expected = x.chunks(inputs).flat_map(|x| {
            let dot = move |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
            floats.chunks(inputs).map(dot)
        });
        let relative = relative_error(&found, expected);
        assert!(relative <= bound(bits as usize), "{bits} bits, groups of {group_size}: {relative}");
    }
}

#[test]
fn groups_without_a_packed_form_say_so() {
    let weight = |group_size: usize, scale| GroupQuantized {
        outputs: 1,
        inputs: 96,
        bits: 4,
        group_size,
        codes: vec![1; 96],
        scales: vec![scale; 96 / group_size],
        zeros: vec![0; 96 / group_size],
        order: None,
    };
    assert!(QLinear::from_groups(&weight(96, 0.5), None).is_some());
    assert!(QLinear::from_groups(&weight(48, 0.5), None).is_none(), "a group of 48");
    assert!(QLinear::from_groups(&weight(96, 1e-7), None).is_none(), "a scale too small for half precision");
    assert!(QLinear::from_groups(&weight(96, 1e7), None).is_none(), "a scale too large for half precision");
}

#[test]
fn layers_in_one_go_are_as_one_after_the_other() {
    let layer = |of: BlockType, seed: u32, [outputs, inputs]: [usize; 2]| {
        let weights = blocks::quantize(of, &floats(seed, outputs * inputs)).expect("a type that can be made");
        let weights = QTensor::new(of, [outputs, inputs], weights.into()).expect("whole blocks");
        QLinear::new(&weights, Some(floats(seed + 1, outputs))).expect("a type with a kernel")
    };
    let combine = |gate: &mut [f32], up: &[f32]| gate.iter_mut().zip(up).for_each(|(gate, up)| *gate = gate.abs() * up);
    // Also such as need activations in different forms.
    let cases = [
        [BlockType::Q5_0, BlockType::Q5_0, BlockType::Q6_K],
        [BlockType::Q4_0, BlockType::Q5_0, BlockType::Q4_K],
        [BlockType::Q4_K, BlockType::Q4_K, BlockType::Q5_0],
        [BlockType::Q5_0, BlockType::Q8_0, BlockType::Q4_0],
        [BlockType::Q8_0, BlockType::Q8_0, BlockType::Q8_0],
        [BlockType::Q4_0, BlockType::Q4_0, BlockType::Q8_0],
    ];
    for [of_gate, of_up, of_down] in cases {
        let (inputs, width, outputs) = (256, 512, 70);
        let [gate, up] = [(of_gate, 1), (of_up, 3)].map(|(of, seed)| layer(of, seed, [width, inputs]));
        let down = layer(of_down, 5, [outputs, width]);
        for rows in [1, 3, 29] {
            let x = floats(7, rows * inputs);
            let mut between = gate.forward(&x);
            combine(&mut between, &up.forward(&x));
            let expected = down.forward(&between);
            let found = QLinear::forward_through([&gate, &up], &down, &x, &combine, vec![f32::NAN; 3]);
            assert_eq!(found, expected, "{of_gate} {of_up} {of_down}, {rows} rows");
        }
    }
}
