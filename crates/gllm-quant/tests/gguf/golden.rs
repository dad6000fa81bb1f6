//! What the `gguf` package wrote: every key and every tensor as its own reader finds them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use gllm_quant::gguf::{Array, GgufFile, Value};
use gllm_quant::{BlockType, DType, WeightFiles};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Expected {
    version: u32,
    big_endian: bool,
    alignment: usize,
    metadata: BTreeMap<String, serde_json::Value>,
    tensors: BTreeMap<String, ExpectedTensor>,
}

#[derive(Deserialize)]
struct ExpectedTensor {
    shape: Vec<usize>,
    #[serde(rename = "type")]
    dtype: String,
    bytes: String,
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from("../../tests/golden/gguf")
}

fn expected() -> BTreeMap<String, Expected> {
    let text = fs::read_to_string(folder().join("expected.json")).expect("readable");
    serde_json::from_str(&text).expect("valid")
}

pub(crate) fn open(name: &str) -> GgufFile {
    GgufFile::open(&folder().join(name)).unwrap_or_else(|e| panic!("{e}"))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).expect("below 16");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The value in the form of `expected.json`.
fn to_json(value: &Value) -> serde_json::Value {
    let bits_32 = |value: &f32| format!("{:08x}", value.to_bits());
    let bits_64 = |value: &f64| format!("{:016x}", value.to_bits());
    let content = match value {
        Value::F32(value) => json!(bits_32(value)),
        Value::F64(value) => json!(bits_64(value)),
        Value::Bool(value) => json!(value),
        Value::String(value) => json!(value),
        Value::U64(value) => json!(value),
        Value::Array(array) => match array {
            Array::U8(values) => json!(values),
            Array::I8(values) => json!(values),
            Array::U16(values) => json!(values),
            Array::I16(values) => json!(values),
            Array::U32(values) => json!(values),
            Array::I32(values) => json!(values),
            Array::F32(values) => json!(values.iter().map(bits_32).collect::<Vec<_>>()),
            Array::Bool(values) => json!(values),
            Array::String(values) => json!(values),
            Array::U64(values) => json!(values),
            Array::I64(values) => json!(values),
            Array::F64(values) => json!(values.iter().map(bits_64).collect::<Vec<_>>()),
            other => panic!("{other:?}"),
        },
        integer => json!(i64::try_from(integer.integer().expect("an integer")).expect("of 64 bits")),
    };
    let key = if matches!(value, Value::Array(_)) { "array" } else { "value" };
    json!({"type": value.type_name(), key: content})
}

#[test]
fn every_key_and_tensor_is_as_the_package_finds_it() {
    let expected = expected();
    assert_eq!(expected.len(), 8);
    for (name, expected) in expected {
        let file = open(&name);
        let found = (file.version(), file.is_big_endian(), file.alignment());
        assert_eq!(found, (expected.version, expected.big_endian, expected.alignment), "{name}");
        let metadata: BTreeMap<_, _> =
            file.metadata().iter().map(|(key, value)| (key.into(), to_json(value))).collect();
        assert_eq!(metadata, expected.metadata, "{name}");
        assert_eq!(file.names().len(), expected.tensors.len(), "{name}");
        for (tensor, expected) in expected.tensors {
            let found = file.get(&tensor).unwrap_or_else(|| panic!("{name}: {tensor}"));
            assert_eq!((found.shape, found.dtype.to_string()), (expected.shape, expected.dtype), "{name}: {tensor}");
            assert_eq!(hex(&found.bytes), expected.bytes, "{name}: {tensor}");
        }
    }
}

#[test]
fn both_byte_orders_say_the_same() {
    let (little, big) = (open("little.gguf"), open("big.gguf"));
    // As text, so that a NaN is like itself.
    assert_eq!(format!("{:?}", little.metadata()), format!("{:?}", big.metadata()));
    assert!(little.names().eq(big.names()));
    for name in little.names() {
        let (one, other) = (little.get(name).expect("there"), big.get(name).expect("there"));
        assert_eq!((one.shape, one.dtype, one.bytes), (other.shape, other.dtype, other.bytes), "{name}");
    }
}

#[test]
fn values_are_in_the_order_of_the_shape() {
    let tensor = open("big.gguf").get("f32").expect("there");
    assert_eq!((tensor.shape, tensor.dtype), (vec![2, 3], DType::F32));
    assert_eq!(DType::F32.to_f32(&tensor.bytes), Some(vec![0.0, -1.5, 3.0, -4.5, 6.0, -7.5]));
    let tensor = open("big.gguf").get("bf16").expect("there");
    assert_eq!(DType::BF16.to_f32(&tensor.bytes).expect("floats")[..4], [0.0, -1.5, 3.0, -4.5]);
}

#[test]
fn every_block_type_is_read() {
    let file = open("blocks.gguf");
    assert_eq!(file.names().len(), BlockType::ALL.len());
    for of in BlockType::ALL {
        let tensor = file.get(&of.to_string()).expect("there");
        assert_eq!(tensor.dtype, DType::Block(of));
        assert_eq!(tensor.shape, [2, 2 * of.block_len()]);
        assert_eq!(tensor.bytes.len(), 4 * of.block_bytes());
    }
}

#[test]
fn little_endian_tensors_are_slices_of_the_mapping() {
    let file = open("aligned.gguf");
    let at = |name: &str| file.get(name).expect("there").bytes.as_ptr();
    assert_eq!(at("more"), at("more"));
    assert_eq!(at("more") as usize - at("one") as usize, 64);
    assert_eq!(at("last") as usize - at("more") as usize, 192);
}

#[test]
fn types_that_cannot_be_computed_are_refused_by_name() {
    for (name, of) in [("refused_nvfp4.gguf", "40 (NVFP4)"), ("refused_q1_0.gguf", "41 (Q1_0)")] {
        let error = WeightFiles::open(&folder().join(name)).expect_err("must be refused").to_string();
        assert!(error.contains(of) && error.contains(name) && error.contains("`weight`"), "{error}");
    }
}
