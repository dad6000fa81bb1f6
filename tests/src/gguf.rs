//! GGUF files with something changed in them, for tests of what is refused.

use std::fs;
use std::path::Path;

use gllm_quant::DType;
use gllm_quant::gguf::{Array, GgufFile, Value};

/// Tensors lie at multiples of this.
const ALIGNMENT: usize = 32;

/// What a file of `f32` tensors says.
#[derive(Debug)]
pub struct Gguf {
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
}

impl Gguf {
    /// Reads the file at `path`.
    ///
    /// # Panics
    /// If it isn't GGUF, or has other tensors.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let file = GgufFile::open(path).unwrap_or_else(|e| panic!("{e}"));
        let tensor = |name: &str| {
            let raw = file.get(name).expect("a tensor of the file");
            assert_eq!(raw.dtype, DType::F32, "{name}");
            (name.to_owned(), raw.shape, raw.bytes.to_vec())
        };
        Self {
            metadata: file.metadata().iter().map(|(key, value)| (key.to_owned(), value.clone())).collect(),
            tensors: file.names().map(tensor).collect(),
        }
    }

    /// The value of `key`.
    ///
    /// # Panics
    /// If there is no such key.
    pub fn get(&mut self, key: &str) -> &mut Value {
        let found = self.metadata.iter_mut().find(|(name, _)| name == key);
        found.map(|(_, value)| value).unwrap_or_else(|| panic!("no {key}"))
    }

    /// The strings of `key`.
    ///
    /// # Panics
    /// If it has none.
    pub fn strings(&mut self, key: &str) -> &mut Vec<String> {
        match self.get(key) {
            Value::Array(Array::String(strings)) => strings,
            other => panic!("{key}: {other}"),
        }
    }

    /// Sets `key`, whether it is there or not.
    pub fn set(&mut self, key: &str, value: Value) {
        self.remove(key);
        self.metadata.push((key.into(), value));
    }

    /// Takes `key` out.
    pub fn remove(&mut self, key: &str) {
        self.metadata.retain(|(name, _)| name != key);
    }

    /// Takes the tensor called `name` out.
    pub fn remove_tensor(&mut self, name: &str) {
        self.tensors.retain(|(found, ..)| found != name);
    }

    /// Writes the file.
    ///
    /// # Panics
    /// If it can't.
    pub fn write(&self, path: &Path) {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            string(&mut out, key);
            write_value(&mut out, value);
        }
        let mut data = Vec::new();
        for (name, shape, bytes) in &self.tensors {
            string(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            // The innermost dimension first.
            out.extend(shape.iter().rev().flat_map(|&size| (size as u64).to_le_bytes()));
            out.extend(0_u32.to_le_bytes());
            out.extend((data.len() as u64).to_le_bytes());
            data.extend(bytes);
            data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out.extend(data);
        fs::write(path, out).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.bytes());
}

/// The types that models have.
fn write_value(out: &mut Vec<u8>, value: &Value) {
    let mut number = |kind: u32, bytes: &[u8]| {
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::U32(value) => number(4, &value.to_le_bytes()),
        Value::F32(value) => number(6, &value.to_le_bytes()),
        Value::Bool(value) => number(7, &[u8::from(*value)]),
        Value::String(text) => {
            number(8, &[]);
            string(out, text);
        }
        Value::Array(array) => {
            number(9, &[]);
            write_array(out, array);
        }
        other => panic!("{other}: not written by this"),
    }
}

fn write_array(out: &mut Vec<u8>, array: &Array) {
    let mut head = |kind: u32| {
        out.extend(kind.to_le_bytes());
        out.extend((array.len() as u64).to_le_bytes());
    };
    match array {
        Array::U8(values) => {
            head(0);
            out.extend(values);
        }
        Array::I32(values) => {
            head(5);
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Array::F32(values) => {
            head(6);
            out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
        Array::String(values) => {
            head(8);
            values.iter().for_each(|text| string(out, text));
        }
        _ => panic!("an array that isn't written by this"),
    }
}
