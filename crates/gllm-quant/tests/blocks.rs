//! Blocks stand for the floats that ggml says, to the bit, and come as close to floats as ggml's do.

use std::path::Path;

use gllm_core::Error;
use gllm_quant::{BlockType, DType, WeightFiles, blocks};
use proptest::prelude::*;

/// Types that are written by rounding alone.
const ROUNDED: [BlockType; 9] = [
    BlockType::Q4_0,
    BlockType::Q4_1,
    BlockType::Q5_0,
    BlockType::Q5_1,
    BlockType::Q8_0,
    BlockType::Q8_K,
    BlockType::TQ1_0,
    BlockType::TQ2_0,
    BlockType::MXFP4,
];

/// Types that are written with a search for scales, and how much of a block's extreme the error of arbitrary values
/// may be.
const SEARCHED: [(BlockType, f32); 7] = [
    (BlockType::Q2_K, 0.4),
    (BlockType::Q3_K, 0.25),
    (BlockType::Q4_K, 0.1),
    (BlockType::Q5_K, 0.05),
    (BlockType::Q6_K, 0.03),
    (BlockType::IQ4_NL, 0.12),
    (BlockType::IQ4_XS, 0.12),
];

/// Types that can't be written.
const READ_ONLY: [BlockType; 8] = [
    BlockType::Q8_1,
    BlockType::IQ1_S,
    BlockType::IQ1_M,
    BlockType::IQ2_XXS,
    BlockType::IQ2_XS,
    BlockType::IQ2_S,
    BlockType::IQ3_XXS,
    BlockType::IQ3_S,
];

fn golden() -> WeightFiles {
    let path = Path::new("../../tests/golden/blocks/blocks.safetensors");
    WeightFiles::open_file(path).unwrap_or_else(|e| panic!("{e}"))
}

fn bytes(golden: &WeightFiles, name: &str) -> Vec<u8> {
    golden.get(name).unwrap_or_else(|| panic!("{name}")).0.bytes.to_vec()
}

fn floats(golden: &WeightFiles, name: &str) -> Vec<f32> {
    DType::F32.to_f32(&bytes(golden, name)).expect("floats")
}

fn quantize(of: BlockType, values: &[f32]) -> Vec<u8> {
    blocks::quantize(of, values).unwrap_or_else(|e| panic!("{of}: {e}"))
}

/// The root of the mean square of what quantising changes.
fn error(of: BlockType, values: &[f32]) -> f64 {
    distance(values, &blocks::dequantize(of, &quantize(of, values)))
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    (squares / a.len() as f64).sqrt()
}

fn written() -> impl Iterator<Item = BlockType> {
    ROUNDED.into_iter().chain(SEARCHED.map(|(of, _)| of))
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

#[test]
fn rounded_blocks_are_those_of_ggml_to_the_byte() {
    let golden = golden();
    let rows = floats(&golden, "rows");
    for of in ROUNDED {
        let expected = bytes(&golden, &format!("{of}.rows"));
        for (at, (found, expected)) in quantize(of, &rows).iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "{of}, byte {at}");
        }
    }
}

#[test]
fn searched_blocks_come_as_close_as_those_of_ggml() {
    let golden = golden();
    let rows = floats(&golden, "rows");
    for (of, _) in SEARCHED {
        let theirs = floats(&golden, &format!("{of}.rows.values"));
        for (at, (row, theirs)) in rows.chunks_exact(256).zip(theirs.chunks_exact(256)).enumerate() {
            let (ours, theirs) = (error(of, row), distance(row, theirs));
            assert!(ours <= 1.01 * theirs, "{of}, row {at}: {ours} for {theirs}");
        }
    }
}

/// The values and the bounds of test-quantize-fns.cpp of llama.cpp.
#[test]
fn errors_are_within_the_bounds_of_llama_cpp() {
    let values: Vec<f32> = (0..32 * 128).map(|at| 0.1 + 2.0 * (at as f32).cos()).collect();
    for of in written() {
        let bound = match of {
            BlockType::TQ1_0 | BlockType::TQ2_0 => 0.01,
            BlockType::Q2_K => 0.0075,
            BlockType::Q3_K => 0.004,
            _ => 0.002,
        };
        // Divided by the root of the count once more, as there.
        let error = error(of, &values) / (values.len() as f64).sqrt();
        assert!(error < bound, "{of}: {error}");
    }
}

#[test]
fn a_block_of_equal_values_has_hardly_an_error() {
    for of in written() {
        for value in [0.0, -0.0, 0.7, -0.7, 65504.0, -65504.0] {
            let error = error(of, &[value; 256]);
            // With the power of two that MXFP4 takes, its greatest value is 6, and values reach up to 8.
            let bound = if of == BlockType::MXFP4 { 0.25 } else { 0.001 };
            assert!(error <= f64::from(value.abs()) * bound, "{of}: {value} is off by {error}");
        }
    }
}

#[test]
fn values_too_small_for_scales_vanish() {
    for of in written() {
        for value in [f32::from_bits(1), f32::MIN_POSITIVE, 1e-20] {
            let found = blocks::dequantize(of, &quantize(of, &[value; 256]));
            assert!(found.iter().all(|found| (0.0..=2e-20).contains(found)), "{of}: {value:e} becomes {}", found[0]);
        }
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let refusal = |of, values: &[f32]| match blocks::quantize(of, values) {
        Err(Error::InvalidConfig(e)) => e,
        other => panic!("{of}: {other:?}"),
    };
    for of in written() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 65536.0] {
            let mut values = [1.0; 512];
            values[300] = value;
            let refused = refusal(of, &values);
            assert_eq!((refused.field.as_str(), refused.found), ("values[300]", value.to_string()), "{of}");
        }
        let refused = refusal(of, &vec![1.0; of.block_len() + 1]);
        assert_eq!(refused.found, format!("{} values", of.block_len() + 1), "{of}");
        assert!(quantize(of, &[]).is_empty());
    }
    for of in READ_ONLY {
        assert_eq!(refusal(of, &[1.0; 256]).found, of.to_string());
    }
    assert_eq!(READ_ONLY.len() + written().count(), BlockType::ALL.len());
}

#[test]
fn blocks_lie_at_any_address_and_what_is_behind_them_is_left_alone() {
    let golden = golden();
    for of in BlockType::ALL {
        let blocks = bytes(&golden, &format!("{of}.rows"));
        let expected = blocks::dequantize(of, &blocks);
        for shift in 1..4 {
            let mut bytes = vec![0xff; shift];
            bytes.extend_from_slice(&blocks);
            bytes.extend(vec![0xff; of.block_bytes() - 1]);
            assert_eq!(blocks::dequantize(of, &bytes[shift..]), expected, "{of}");
        }
        let mut out = vec![7.0; of.block_len() + 1];
        blocks::dequantize_into(of, &blocks, &mut out);
        assert_eq!(out[..of.block_len()], expected[..of.block_len()], "{of}");
        assert_eq!(out[of.block_len()..], [7.0], "{of}");
        assert_eq!(DType::Block(of).to_f32(&blocks), Some(expected));
    }
}

#[test]
fn a_dot_product_is_that_of_the_elements() {
    // A scale of 0.5, then 1, 2, 3.
    let block: Vec<u8> = [0x00, 0x38, 1, 2, 3].into_iter().chain([0; 29]).collect();
    let mut x = [1.0; 32];
    x[2] = -0.25;
    assert!((blocks::dot(BlockType::Q8_0, &block, &x) - (0.5 + 1.0 - 0.375)).abs() < 1e-12);
}

/// Rows of weights of any spread, some of them 0.
fn rows() -> impl Strategy<Value = Vec<f32>> {
    let value = prop_oneof![3 => -1f32..1f32, 1 => Just(0.0), 1 => -0.01f32..0.01f32, 1 => 0.5f32..1f32];
    let extreme = prop_oneof![1e-2f32..1f32, 1f32..6e4f32];
    (extreme, prop::collection::vec(value, 512))
        .prop_map(|(extreme, values)| values.into_iter().map(|value| value * extreme).collect())
}

proptest! {
    #[test]
    fn blocks_stay_close_to_any_values(values in rows()) {
        let bounds = ROUNDED.into_iter().map(|of| {
            let bound = match of {
                BlockType::Q4_0 => 1.0 / 8.0,
                BlockType::Q4_1 => 1.0 / 15.0,
                BlockType::Q5_0 => 1.0 / 16.0,
                BlockType::Q5_1 => 1.0 / 31.0,
                BlockType::Q8_0 | BlockType::Q8_K => 1.0 / 254.0,
                BlockType::MXFP4 => 1.0 / 4.0,
                _ => 1.0 / 2.0,
            };
            (of, bound)
        });
        for (of, bound) in bounds.chain(SEARCHED) {
            for values in values.chunks_exact(of.block_len()) {
                let extreme = values.iter().fold(0.0, |extreme: f32, value| extreme.max(value.abs()));
                let error = error(of, values);
                // What scales lose in half precision comes on top.
                let bound = f64::from(bound * extreme) * 1.01;
                prop_assert!(error <= bound, "{}: {} for {}", of, error, bound);
            }
        }
    }

    #[test]
    fn any_bytes_are_elements(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        for of in BlockType::ALL {
            let elements = blocks::dequantize(of, &bytes);
            prop_assert_eq!(elements.len(), bytes.len() / of.block_bytes() * of.block_len());
        }
    }
}
