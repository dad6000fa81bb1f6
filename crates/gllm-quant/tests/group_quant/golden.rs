//! Layers that AutoAWQ, AutoGPTQ, GPTQModel and compressed-tensors packed, against what they themselves make of them.
//!
//! Expected weights are in the type that the project computes them in, F16, BF16 or F32, and ours are the same numbers
//! once they are rounded to it.

use std::path::{Path, PathBuf};

use gllm_quant::{DType, GroupQuantized, QuantizationConfig, WeightFiles};
use half::{bf16, f16};

const AWQ: [&str; 4] = ["group-128", "group-32", "group-64", "whole-row"];
const GPTQ: [&str; 10] = [
    "8-bits",
    "8-bits-desc-act",
    "group-128-symmetric",
    "group-32",
    "group-64-desc-act",
    "v1-of-v2",
    "v1-of-v2-8-bits",
    "v2-8-bits-desc-act",
    "v2-group-32",
    "whole-row",
];
const COMPRESSED_TENSORS: [&str; 9] = [
    "int8-channel",
    "int8-channel-asymmetric",
    "w4-channel",
    "w4-channel-asymmetric",
    "w4-group-128-bf16",
    "w4-group-32",
    "w4-group-64-asymmetric",
    "w8-channel",
    "w8-group-32-asymmetric",
];

/// Of compressed-tensors 0.12.
const ACT_ORDER: [&str; 2] = ["w4-group-32", "w4-group-64-asymmetric"];

fn path(format: &str, file: &str) -> PathBuf {
    Path::new("../../tests/golden").join(format).join(file)
}

/// The layer of a case, read as its configuration says, and the files of the case.
fn read(format: &str, case: &str) -> (GroupQuantized, WeightFiles) {
    let json = std::fs::read_to_string(path(format, &format!("{case}.json"))).expect("readable");
    let json = format!(r#"{{"quantization_config": {json}}}"#);
    let config = QuantizationConfig::parse("config.json".as_ref(), &json).expect("supported").expect("quantised");
    let files = WeightFiles::open_file(&path(format, &format!("{case}.safetensors"))).expect("valid");
    let (codes, _) = files.get("expected.codes").expect("there");
    let layer = config.weight(&files, "layer", [codes.shape[0], codes.shape[1]]).expect("a valid layer");
    (layer, files)
}

/// `value` in the type `dtype`, widened again.
fn rounded(value: f32, dtype: DType) -> f32 {
    match dtype {
        DType::F16 => f16::from_f32(value).to_f32(),
        DType::BF16 => bf16::from_f32(value).to_f32(),
        DType::F32 => value,
        other => panic!("{other}"),
    }
}

/// Compares a case with what is expected, but for the scales: they lie in the file as each format has them.
fn check(format: &str, case: &str) -> (GroupQuantized, WeightFiles) {
    let (layer, files) = read(format, case);
    let expected = |name: &str| files.get(&format!("expected.{name}")).expect("there").0;

    let codes = expected("codes").bytes;
    for (output, (found, expected)) in
        layer.codes.chunks_exact(layer.inputs).zip(codes.chunks_exact(layer.inputs)).enumerate()
    {
        for (place, code) in found.iter().enumerate() {
            let input = layer.order.as_ref().map_or(place, |order| order[place] as usize);
            assert_eq!(*code, expected[input], "{format}/{case}: output {output}, input {input}");
        }
    }
    assert_eq!(layer.codes.len(), codes.len(), "{format}/{case}");
    assert_eq!(layer.zeros, expected("zeros").bytes, "{format}/{case}");

    let weight = expected("weight");
    let expected = weight.dtype.to_f32(&weight.bytes).expect("a float type");
    let found: Vec<f32> = layer.dequantize().into_iter().map(|value| rounded(value, weight.dtype)).collect();
    assert_eq!(found, expected, "{format}/{case}");
    (layer, files)
}

/// Scales that lie `[groups, outputs]` in the file.
fn check_turned_scales(format: &str, case: &str, layer: &GroupQuantized, files: &WeightFiles) {
    let (scales, _) = files.get("layer.scales").expect("there");
    assert_eq!(scales.shape, [layer.groups(), layer.outputs], "{format}/{case}");
    let expected = scales.dtype.to_f32(&scales.bytes).expect("a float type");
    for (place, scale) in layer.scales.iter().enumerate() {
        let (output, group) = (place / layer.groups(), place % layer.groups());
        let expected = expected[group * layer.outputs + output];
        assert_eq!(scale.to_bits(), expected.to_bits(), "{format}/{case}: {output}, {group}");
    }
}

#[test]
fn awq_as_autoawq_packs_it() {
    for case in AWQ {
        let (layer, files) = check("awq", case);
        check_turned_scales("awq", case, &layer, &files);
        assert_eq!((layer.bits, &layer.order), (4, &None), "{case}");
    }
}

#[test]
fn gptq_as_autogptq_and_gptqmodel_pack_it() {
    for case in GPTQ {
        let (layer, files) = check("gptq", case);
        check_turned_scales("gptq", case, &layer, &files);
        assert_eq!(layer.bits, if case.contains("8-bits") { 8 } else { 4 }, "{case}");
        assert_eq!(layer.order.is_some(), case.contains("desc-act"), "{case}");
    }
}

#[test]
fn compressed_tensors_as_the_package_packs_it() {
    for case in COMPRESSED_TENSORS {
        let (layer, files) = check("compressed_tensors", case);
        let (scales, _) = files.get("layer.weight_scale").expect("there");
        assert_eq!(Some(layer.scales), scales.dtype.to_f32(&scales.bytes), "{case}");
        assert_eq!(layer.bits, if case.starts_with("w4") { 4 } else { 8 }, "{case}");
    }
}

#[test]
fn groups_by_importance_as_compressed_tensors_packed_them() {
    for case in ACT_ORDER {
        let (layer, _) = check("compressed_tensors/act_order", case);
        assert!(layer.order.is_some(), "{case}");
    }
}

/// The zeros that tell the formats apart are in the cases at all.
#[test]
fn zeros_reach_both_ends() {
    for (format, case, smallest, largest) in [
        ("awq", "group-32", 0, 15),
        ("gptq", "group-32", 1, 15),
        ("gptq", "v1-of-v2", 0, 15),
        ("gptq", "v2-group-32", 0, 15),
    ] {
        let zeros = read(format, case).0.zeros;
        assert_eq!((zeros.iter().min(), zeros.iter().max()), (Some(&smallest), Some(&largest)), "{format}/{case}");
    }
}

#[test]
fn group_sizes_are_resolved() {
    for (format, case, group_size) in [
        ("awq", "group-32", 32),
        ("awq", "whole-row", 96),
        ("gptq", "group-128-symmetric", 128),
        ("gptq", "whole-row", 96),
        ("compressed_tensors", "w4-channel", 100),
        ("compressed_tensors", "w4-group-128-bf16", 128),
    ] {
        assert_eq!(read(format, case).0.group_size, group_size, "{format}/{case}");
    }
}
