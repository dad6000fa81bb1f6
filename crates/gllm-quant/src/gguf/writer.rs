//! Writing a GGUF file, version 3, little-endian.
//!
//! What is written is what [`super::GgufFile`] reads: it is checked by the same rules before the first byte goes out.
//! Tensors are streamed, one after the other, and none is held. Keys and tensors are in the order in which they were
//! added, and each tensor is padded to the alignment, the last one too, as the `gguf` package does it.

use std::collections::BTreeSet;
use std::io::{self, Write};

use gllm_core::{InvalidConfig, LoadProblem, Result};

use crate::named::MAX_NAME_BYTES;

use super::value::{Value, write_string};
use super::{ALIGNMENT, MAGIC, read_alignment, tensors};
use crate::DType;

const VERSION: u32 = 3;

/// What a file will hold.
///
/// ```
/// # fn main() -> gllm_core::Result<()> {
/// use gllm_quant::DType;
/// use gllm_quant::gguf::{Value, Writer};
/// let mut writer = Writer::new();
/// writer.add("general.architecture", Value::String("bert".into()))?;
/// writer.add_tensor("norm.weight", &[2], DType::F32)?;
/// let mut file = Vec::new();
/// writer.write(&mut file, |_, out| Ok(out.write_all(&[0; 8])?))?;
/// assert!(file.starts_with(b"GGUF"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Writer {
    entries: Vec<(String, Value)>,
    keys: BTreeSet<String>,
    tensors: Vec<Tensor>,
    names: BTreeSet<String>,
}

#[derive(Debug)]
struct Tensor {
    name: String,
    /// Outermost dimension first.
    shape: Vec<usize>,
    type_number: u32,
    bytes: u64,
}

impl Writer {
    /// A file of nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key and its value. `general.alignment` also says what tensors are aligned to, else it is 32 bytes.
    ///
    /// # Errors
    /// [`InvalidConfig`] for a key that is there already or longer than 65,535 bytes, or an alignment that isn't a `u32` that is a power of two.
    pub fn add(&mut self, key: &str, value: Value) -> Result<()> {
        if key == ALIGNMENT {
            alignment(Some(&value))?;
        }
        short(key, "key")?;
        if !self.keys.insert(key.to_owned()) {
            return Err(InvalidConfig::new(key, "a key that isn't there yet", "it twice").into());
        }
        self.entries.push((key.to_owned(), value));
        Ok(())
    }

    /// Adds a tensor, whose data are asked for later. The shape is outermost dimension first.
    ///
    /// # Errors
    /// [`InvalidConfig`] for a name that is there already or longer than 65,535 bytes, a type that GGUF doesn't have, a shape of none or more than
    /// 4 dimensions, with a 0, or whose rows aren't whole blocks.
    pub fn add_tensor(&mut self, name: &str, shape: &[usize], dtype: DType) -> Result<()> {
        let field = || format!("tensor {name}");
        let type_number = tensors::type_number(dtype)
            .ok_or_else(|| InvalidConfig::new(field(), tensors::type_names(), dtype.to_string()))?;
        let bytes = tensors::tensor_bytes(shape, dtype)
            .map_err(|reason| InvalidConfig::new(field(), "a shape that GGUF has", format!("that it {reason}")))?;
        short(name, "name")?;
        if !self.names.insert(name.to_owned()) {
            return Err(InvalidConfig::new(field(), "a name that isn't there yet", "it twice").into());
        }
        self.tensors.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), type_number, bytes: bytes as u64 });
        Ok(())
    }

    /// Writes the file. `data` is called for each tensor, in order, and writes its elements, row-major and
    /// little-endian, to where it is told.
    ///
    /// # Errors
    /// What `data` says; [`InvalidConfig`] if the tensors are too large for a file; [`gllm_core::Error::Io`] if `out` can't be written, or `data` writes more or fewer bytes than
    /// the tensor has. What is in `out` then is no file.
    pub fn write(&self, mut out: impl Write, mut data: impl FnMut(&str, &mut dyn Write) -> Result<()>) -> Result<()> {
        let alignment = alignment(self.entries.iter().find(|(key, _)| key == ALIGNMENT).map(|(_, value)| value))?;
        let header = self.header(alignment)?;
        out.write_all(&header)?;
        pad(&mut out, header.len() as u64, alignment)?;
        for Tensor { name, bytes, .. } in &self.tensors {
            let mut sink = TensorSink { out: &mut out, name, bytes: *bytes, left: *bytes };
            data(name, &mut sink)?;
            sink.finish()?;
            pad(&mut out, *bytes, alignment)?;
        }
        Ok(out.flush()?)
    }

    fn header(&self, alignment: u64) -> Result<Vec<u8>> {
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            write_string(key, &mut header);
            value.write(&mut header);
        }
        let mut offset = 0_u64;
        for Tensor { name, shape, type_number, bytes } in &self.tensors {
            write_string(name, &mut header);
            header.extend((shape.len() as u32).to_le_bytes());
            header.extend(shape.iter().rev().flat_map(|dim| (*dim as u64).to_le_bytes()));
            header.extend(type_number.to_le_bytes());
            header.extend(offset.to_le_bytes());
            let end = bytes.checked_next_multiple_of(alignment).and_then(|bytes| offset.checked_add(bytes));
            offset = end.ok_or_else(|| {
                InvalidConfig::new(format!("tensor {name}"), "a place in a file", "more than any file holds")
            })?;
        }
        Ok(header)
    }
}

fn short(name: &str, what: &str) -> Result<()> {
    if name.len() > MAX_NAME_BYTES {
        let expected = format!("at most {MAX_NAME_BYTES} bytes");
        return Err(InvalidConfig::new(what, expected, format!("{} bytes", name.len())).into());
    }
    Ok(())
}

fn alignment(value: Option<&Value>) -> Result<u64> {
    match read_alignment(value) {
        Ok(alignment) => Ok(alignment as u64),
        Err(LoadProblem::Field { field, expected, found }) => Err(InvalidConfig::new(field, expected, found).into()),
        Err(other) => Err(InvalidConfig::new(ALIGNMENT, "an alignment", other.to_string()).into()),
    }
}

/// Pads what is `length` bytes long.
fn pad(out: &mut impl Write, length: u64, alignment: u64) -> io::Result<()> {
    let padding = length.next_multiple_of(alignment) - length;
    io::copy(&mut io::Read::take(io::repeat(0), padding), out).map(drop)
}

/// Takes as many bytes as a tensor has.
struct TensorSink<'a, W> {
    out: W,
    name: &'a str,
    bytes: u64,
    left: u64,
}

impl<W: Write> Write for TensorSink<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(self.other_than("more"));
        }
        let written = self.out.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W> TensorSink<'_, W> {
    fn finish(self) -> io::Result<()> {
        if self.left == 0 { Ok(()) } else { Err(self.other_than(&format!("{}", self.bytes - self.left))) }
    }

    fn other_than(&self, found: &str) -> io::Error {
        let text = format!("tensor `{}` has {} bytes, and {found} were written", self.name, self.bytes);
        io::Error::new(io::ErrorKind::InvalidInput, text)
    }
}
