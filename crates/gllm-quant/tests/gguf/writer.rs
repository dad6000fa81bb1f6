//! What is written: byte for byte what the `gguf` package writes, and what the reader finds again.

use std::fs;

use gllm_core::{Error, Result};
use gllm_quant::gguf::{Array, GgufFile, Value, Writer};
use gllm_quant::{BlockType, DType};
use proptest::prelude::*;
use safetensors::Dtype;

use crate::golden::{folder, open};

fn to_bytes(writer: &Writer, data: impl Fn(&str) -> Vec<u8>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // In pieces, as a file is copied.
    writer.write(&mut bytes, |name, out| Ok(data(name).chunks(5).try_for_each(|chunk| out.write_all(chunk))?))?;
    Ok(bytes)
}

#[test]
fn the_package_writes_the_same_bytes() {
    let shards = [1, 2, 3].map(|number| format!("sharded-0000{number}-of-00003.gguf"));
    let single = ["little.gguf", "blocks.gguf", "aligned.gguf", "no_tensors.gguf"].map(str::to_owned);
    for name in single.into_iter().chain(shards) {
        let file = open(&name);
        let mut writer = Writer::new();
        for (key, value) in file.metadata().iter() {
            writer.add(key, value.clone()).expect("valid");
        }
        for name in file.names() {
            let tensor = file.get(name).expect("there");
            writer.add_tensor(name, &tensor.shape, tensor.dtype).expect("valid");
        }
        let written = to_bytes(&writer, |name| file.get(name).expect("there").bytes.to_vec()).expect("memory");
        assert!(written == fs::read(folder().join(&name)).expect("readable"), "{name}");
    }
}

#[test]
fn what_the_reader_refuses_is_not_written() {
    let refused = |result: Result<()>, with: &str| {
        let Err(Error::InvalidConfig(error)) = result else { panic!("{with}") };
        assert!(error.to_string().contains(with), "{error}");
    };
    let mut writer = Writer::new();
    writer.add("a", Value::U8(1)).expect("valid");
    refused(writer.add("a", Value::U8(1)), "`a`");
    for value in [Value::U32(0), Value::U32(48), Value::U64(64)] {
        refused(writer.add("general.alignment", value), "power of two");
    }
    writer.add_tensor("t", &[2, 3], DType::F32).expect("valid");
    refused(writer.add_tensor("t", &[1], DType::F32), "`tensor t`: expected a name");
    refused(writer.add_tensor("u", &[], DType::F32), "has 0 dimensions");
    refused(writer.add_tensor("u", &[1; 5], DType::F32), "has 5 dimensions");
    refused(writer.add_tensor("u", &[2, 0], DType::F32), "nothing is in it");
    refused(writer.add_tensor("u", &[usize::MAX, 2], DType::F32), "more than any file holds");
    refused(writer.add_tensor("u", &[128, 2], DType::Block(BlockType::Q4_K)), "no whole blocks of Q4_K");
    refused(writer.add_tensor("u", &[1], DType::Other(Dtype::U16)), "found U16");
    // What was refused left nothing behind.
    to_bytes(&writer, |_| vec![0; 24]).expect("memory");

    for name in ["x", "y"] {
        writer.add_tensor(name, &[usize::MAX >> 1], DType::Other(Dtype::I8)).expect("as large as that");
    }
    refused(to_bytes(&writer, |_| vec![0; 24]).map(drop), "`tensor y`: expected a place");
}

#[test]
fn a_tensor_has_as_many_bytes_as_it_was_announced() {
    let mut writer = Writer::new();
    writer.add_tensor("t", &[2, 3], DType::F32).expect("valid");
    for (bytes, with) in [(20, "24 bytes, and 20 were written"), (25, "24 bytes, and more were written")] {
        let Err(Error::Io(error)) = to_bytes(&writer, |_| vec![0; bytes]) else { panic!("{bytes} bytes") };
        assert!(error.to_string().contains(with), "{error}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<f32>().prop_map(Value::F32),
        any::<bool>().prop_map(Value::Bool),
        any::<String>().prop_map(Value::String),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f64>().prop_map(Value::F64),
    ];
    let array = prop_oneof![
        any::<Vec<u8>>().prop_map(Array::U8),
        any::<Vec<i8>>().prop_map(Array::I8),
        any::<Vec<u16>>().prop_map(Array::U16),
        any::<Vec<i16>>().prop_map(Array::I16),
        any::<Vec<u32>>().prop_map(Array::U32),
        any::<Vec<i32>>().prop_map(Array::I32),
        any::<Vec<f32>>().prop_map(Array::F32),
        any::<Vec<bool>>().prop_map(Array::Bool),
        prop::collection::vec(any::<String>(), 0..5).prop_map(Array::String),
        any::<Vec<u64>>().prop_map(Array::U64),
        any::<Vec<i64>>().prop_map(Array::I64),
        any::<Vec<f64>>().prop_map(Array::F64),
    ];
    prop_oneof![2 => scalar, 1 => array.prop_map(Value::Array)]
}

/// A shape, a type, and a byte that the elements count from.
fn tensor() -> impl Strategy<Value = (Vec<usize>, DType, u8)> {
    let dense = [DType::F32, DType::F16, DType::BF16, DType::Other(Dtype::I8), DType::Other(Dtype::I64)];
    let types: Vec<_> = dense.into_iter().chain(BlockType::ALL.map(DType::Block)).collect();
    let shape = prop::collection::vec(1..4_usize, 1..=4);
    (shape, prop::sample::select(types), any::<u8>()).prop_map(|(mut shape, dtype, first)| {
        if let (DType::Block(of), Some(row)) = (dtype, shape.last_mut()) {
            *row *= of.block_len();
        }
        (shape, dtype, first)
    })
}

fn tensor_bytes(shape: &[usize], dtype: DType) -> usize {
    let elements: usize = shape.iter().product();
    match dtype {
        DType::F32 => 4 * elements,
        DType::F16 | DType::BF16 => 2 * elements,
        DType::Block(of) => elements / of.block_len() * of.block_bytes(),
        DType::Other(of) => elements * of.bitsize() / 8,
        _ => unreachable!("no other types"),
    }
}

proptest! {
    #[test]
    fn the_reader_finds_what_was_written(
        metadata in prop::collection::btree_map(any::<String>(), value(), 0..8),
        tensors in prop::collection::btree_map(any::<String>(), tensor(), 0..6),
        alignment in prop::option::of(0..12_u32),
    ) {
        let data = |name: &str| {
            let (shape, dtype, first) = &tensors[name];
            (0..tensor_bytes(shape, *dtype)).map(|place| first.wrapping_add(place as u8)).collect::<Vec<_>>()
        };
        let mut writer = Writer::new();
        for (key, value) in &metadata {
            writer.add(key, value.clone()).expect("valid");
        }
        if let Some(power) = alignment {
            writer.add("general.alignment", Value::U32(1 << power)).expect("valid");
        }
        for (name, (shape, dtype, _)) in &tensors {
            writer.add_tensor(name, shape, *dtype).expect("valid");
        }
        let bytes = to_bytes(&writer, data).expect("memory");
        let on_disk = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(on_disk.path(), &bytes).expect("writable");
        let file = GgufFile::open(on_disk.path()).unwrap_or_else(|e| panic!("{e}"));

        prop_assert_eq!(file.alignment(), alignment.map_or(32, |power| 1 << power));
        prop_assert!(file.metadata().iter().zip(&metadata).all(|(found, written)| found == (written.0, written.1)));
        prop_assert_eq!(file.metadata().iter().count(), metadata.len() + usize::from(alignment.is_some()));
        prop_assert!(file.names().eq(tensors.keys()));
        for (name, (shape, dtype, _)) in &tensors {
            let found = file.get(name).expect("there");
            prop_assert_eq!((&found.shape, found.dtype), (shape, *dtype));
            prop_assert_eq!(found.bytes.to_vec(), data(name));
        }
    }
}
