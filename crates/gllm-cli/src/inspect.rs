//! `gllm inspect`: what is in weight files, without loading a model.
//!
//! JSON has all of it; the text, for people, shows long lists by their beginning. Names and strings come from a file
//! that anybody made, so what could steer a terminal is shown as a space or an escape.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::path::PathBuf;

use gllm::Error;
use gllm::weights::gguf::{GgufFile, Value};
use gllm::weights::{TensorInfo, WeightFile, WeightFiles};
use indicatif::DecimalBytes;
use serde::Serialize;

use crate::args::InspectArgs;
use crate::console::{answer, answer_json};
use crate::exit::Failure;
use crate::line::{flat, shortened};
use crate::table::table;

/// Characters of a list that are shown.
const LIST_LENGTH: usize = 60;

pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let path = args.file.as_path();
    let files = if path.is_dir() { WeightFiles::open(path)? } else { WeightFiles::open_file(path)? };
    let files = files.files().iter().map(File::new).collect::<Result<Vec<_>, _>>()?;
    let report = Report::new(files);
    if args.json { answer_json(&report) } else { answer(report) }
}

/// The form of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    files: Vec<File>,
    /// The types of tensors, that with the most bytes first.
    types: Vec<Type>,
    total: Sizes,
}

#[derive(Debug, Serialize)]
struct File {
    path: PathBuf,
    format: &'static str,
    bytes: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    gguf: Option<Gguf>,
    metadata: Vec<Entry>,
    tensors: Vec<Tensor>,
}

/// What only GGUF files have.
#[derive(Debug, Serialize)]
struct Gguf {
    version: u32,
    byte_order: &'static str,
    alignment: usize,
}

#[derive(Debug, Serialize)]
struct Entry {
    key: String,
    /// As GGUF calls it; of a list, that of its values.
    #[serde(rename = "type")]
    type_name: &'static str,
    value: Value,
}

#[derive(Debug, Serialize)]
struct Tensor {
    name: String,
    #[serde(rename = "type")]
    dtype: String,
    shape: Vec<usize>,
    bytes: usize,
}

#[derive(Debug, Serialize)]
struct Type {
    #[serde(rename = "type")]
    dtype: String,
    #[serde(flatten)]
    sizes: Sizes,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Sizes {
    tensors: usize,
    elements: u64,
    bytes: u64,
}

impl Report {
    fn new(files: Vec<File>) -> Self {
        let mut total = Sizes::default();
        let mut types = BTreeMap::<&str, Sizes>::new();
        for tensor in files.iter().flat_map(|file| &file.tensors) {
            total.add(tensor);
            types.entry(&tensor.dtype).or_default().add(tensor);
        }
        let types = types.into_iter().map(|(dtype, sizes)| Type { dtype: dtype.to_owned(), sizes });
        let mut types: Vec<_> = types.collect();
        types.sort_by_key(|of| std::cmp::Reverse(of.sizes.bytes));
        Self { files, types, total }
    }
}

impl Sizes {
    fn add(&mut self, tensor: &Tensor) {
        self.tensors += 1;
        self.elements += tensor.shape.iter().map(|dim| *dim as u64).product::<u64>();
        self.bytes += tensor.bytes as u64;
    }
}

impl File {
    fn new(file: &WeightFile) -> Result<Self, Error> {
        let path = file.path();
        let bytes = path.metadata().map_err(|e| Error::io("cannot read", path, &e))?.len();
        let (format, gguf, metadata) = match file {
            WeightFile::Safetensors(file) => {
                let text = |(key, text): (&str, &str)| Entry::new(key, &Value::String(text.to_owned()));
                ("safetensors", None, file.metadata().into_iter().map(text).collect())
            }
            WeightFile::Pytorch(_) => ("PyTorch", None, Vec::new()),
            WeightFile::Gguf(file) => {
                let entries = file.metadata().iter().map(|(key, value)| Entry::new(key, value));
                ("GGUF", Some(Gguf::new(file)), entries.collect())
            }
            _ => ("another format", None, Vec::new()),
        };
        let tensor = |name: &str| file.describe(name).map(|info| Tensor::new(name.to_owned(), info));
        let tensors = file.names().into_iter().filter_map(tensor).collect();
        Ok(Self { path: path.to_owned(), format, bytes, gguf, metadata, tensors })
    }
}

impl Gguf {
    fn new(file: &GgufFile) -> Self {
        let byte_order = if file.is_big_endian() { "big-endian" } else { "little-endian" };
        Self { version: file.version(), byte_order, alignment: file.alignment() }
    }
}

impl Entry {
    fn new(key: &str, value: &Value) -> Self {
        Self { key: key.to_owned(), type_name: value.type_name(), value: value.clone() }
    }

    /// Key, type and value, for people.
    fn row(&self) -> [String; 3] {
        let key = flat(&self.key).collect();
        match &self.value {
            Value::Array(array) => {
                let list = serde_json::to_string(array).unwrap_or_default();
                [key, format!("{}[{}]", self.type_name, array.len()), shortened(&list, LIST_LENGTH)]
            }
            value => [key, self.type_name.to_owned(), value.to_string()],
        }
    }
}

impl Tensor {
    fn new(name: String, info: TensorInfo) -> Self {
        Self { name, dtype: info.dtype.to_string(), shape: info.shape, bytes: info.bytes }
    }

    /// Name, type, shape and bytes, for people.
    fn row(&self) -> [String; 4] {
        let dims: Vec<_> = self.shape.iter().map(ToString::to_string).collect();
        [flat(&self.name).collect(), self.dtype.clone(), dims.join(" x "), self.bytes.to_string()]
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            write!(f, "{file}\n\n")?;
        }
        let row = |name: &str, sizes: &Sizes| {
            let bytes = DecimalBytes(sizes.bytes).to_string();
            [name.to_owned(), sizes.tensors.to_string(), sizes.elements.to_string(), bytes]
        };
        let mut rows = vec![["TYPE", "TENSORS", "ELEMENTS", "SIZE"].map(str::to_owned)];
        rows.extend(self.types.iter().map(|of| row(&of.dtype, &of.sizes)));
        rows.push(row("total", &self.total));
        f.write_str(&table(&rows))
    }
}

impl Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match &self.gguf {
            Some(Gguf { version, byte_order, alignment }) => {
                format!("{} {version}, {byte_order}, aligned to {alignment} bytes", self.format)
            }
            None => self.format.to_owned(),
        };
        write!(f, "file    {}\nformat  {format}\nsize    {}", self.path.display(), DecimalBytes(self.bytes))?;
        if !self.metadata.is_empty() {
            let header = ["KEY", "TYPE", "VALUE"].map(str::to_owned);
            let rows: Vec<_> = std::iter::once(header).chain(self.metadata.iter().map(Entry::row)).collect();
            write!(f, "\n\n{}", table(&rows))?;
        }
        if !self.tensors.is_empty() {
            let header = ["TENSOR", "TYPE", "SHAPE", "BYTES"].map(str::to_owned);
            let rows: Vec<_> = std::iter::once(header).chain(self.tensors.iter().map(Tensor::row)).collect();
            write!(f, "\n\n{}", table(&rows))?;
        }
        Ok(())
    }
}
