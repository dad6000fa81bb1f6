//! GGUF files with something changed in them, for tests of what is refused.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use gllm_quant::gguf::{Array, GgufFile, Value, Writer};
use gllm_quant::{DType, RawTensor};

/// What a file says, to be changed and written again.
#[derive(Debug)]
pub struct Gguf {
    metadata: Vec<(String, Value)>,
    tensors: Vec<(String, RawTensor)>,
}

impl Gguf {
    /// Reads the file at `path`.
    ///
    /// # Panics
    /// If it isn't GGUF.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let file = GgufFile::open(path).unwrap_or_else(|e| panic!("{e}"));
        let tensor = |name: &str| (name.to_owned(), file.get(name).expect("a tensor of the file"));
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
        found.map_or_else(|| panic!("no {key}"), |(_, value)| value)
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
        self.tensors.retain(|(found, _)| found != name);
    }

    /// Makes floats of the tensors that are quantised.
    ///
    /// # Panics
    /// If a tensor isn't made of numbers.
    pub fn dequantize(&mut self) {
        for (name, tensor) in &mut self.tensors {
            if let DType::Block(_) = tensor.dtype {
                let floats = tensor.dtype.to_f32(&tensor.bytes).unwrap_or_else(|| panic!("{name}: no numbers"));
                tensor.bytes = floats.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>().into();
                tensor.dtype = DType::F32;
            }
        }
    }

    /// Writes the file.
    ///
    /// # Panics
    /// If it can't.
    pub fn write(&self, path: &Path) {
        let mut writer = Writer::new();
        for (key, value) in &self.metadata {
            writer.add(key, value.clone()).unwrap_or_else(|e| panic!("{e}"));
        }
        for (name, tensor) in &self.tensors {
            writer.add_tensor(name, &tensor.shape, tensor.dtype).unwrap_or_else(|e| panic!("{e}"));
        }
        let file = File::create(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut tensors = self.tensors.iter();
        let next = |_: &str, out: &mut dyn Write| Ok(out.write_all(&tensors.next().expect("each once").1.bytes)?);
        writer.write(file, next).unwrap_or_else(|e| panic!("{e}"));
    }
}
