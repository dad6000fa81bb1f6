//! The header of a safetensors file: a JSON object of tensors by name, and of texts.
//!
//! Invariant: the tensors lie one after the other, from the first byte behind the header to the last of the file, each as
//! long as its shape and type say, and reading takes no more memory than a file of its size is worth. Source:
//! <https://github.com/huggingface/safetensors#format>. The `safetensors` crate reads the header through a buffer of
//! sixty times its size, takes the last of two tensors with one name, and adds lengths that may overflow.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use gllm_core::LoadProblem;
use safetensors::Dtype;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::memory::{self, GROWING, Memory};
use crate::named::{self, MAX_NAME_BYTES, Named};

/// Bytes of the largest header, as the format says.
const MAX_BYTES: usize = 100_000_000;
const MAX_DIMENSIONS: usize = 8;
/// The key of the texts.
const METADATA: &str = "__metadata__";

/// A file's header.
pub(crate) struct Header {
    /// Where the tensors' data starts in the file.
    pub(crate) data: usize,
    /// By their keys.
    pub(crate) metadata: BTreeMap<String, String>,
    /// In the order of their data.
    pub(crate) tensors: Named<Tensor>,
}

/// A tensor's place in the data.
pub(crate) struct Tensor {
    /// Outermost dimension first.
    pub(crate) shape: Vec<usize>,
    pub(crate) dtype: Dtype,
    /// From the start of the data.
    pub(crate) extent: Range<usize>,
}

fn corrupt(reason: impl Into<String>) -> LoadProblem {
    LoadProblem::Corrupt { format: "safetensors".into(), reason: reason.into() }
}

impl Header {
    /// Reads and checks the header of the file of these bytes.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, LoadProblem> {
        let Some((length, rest)) = file.split_first_chunk() else {
            return Err(corrupt(format!("it has {} bytes, not even a header's length", file.len())));
        };
        let length = u64::from_le_bytes(*length);
        if length > MAX_BYTES as u64 {
            return Err(corrupt(format!("its header has {length} bytes, at most {MAX_BYTES} are read")));
        }
        let Some((header, data)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) else {
            return Err(corrupt(format!("its header has {length} bytes, {} are left of the file", rest.len())));
        };
        Memory::of_file(file.len()).take(1, worth(header)).ok_or_else(|| corrupt(memory::EXCEEDED))?;
        let Entries { metadata, mut tensors } =
            serde_json::from_slice(header).map_err(|error| corrupt(format!("its header is invalid: {error}")))?;

        tensors.sort_unstable_by_key(|(_, tensor)| (tensor.extent.start, tensor.extent.end));
        let mut end = 0;
        for (name, tensor) in &tensors {
            tensor.check(end).map_err(|reason| corrupt(format!("tensor `{name}` {reason}")))?;
            end = tensor.extent.end;
        }
        if end != data.len() {
            let reason = format!("its header describes {end} bytes of tensors, the file holds {}", data.len());
            return Err(corrupt(reason));
        }
        let tensors = Named::new(tensors).map_err(|name| corrupt(format!("tensor `{name}` is there twice")))?;
        Ok(Self { data: file.len() - data.len(), metadata, tensors })
    }
}

impl Tensor {
    /// What is wrong with the place of the tensor, which should start at `start`.
    fn check(&self, start: usize) -> Result<(), String> {
        let Self { shape, dtype, extent } = self;
        // Also where one dimension is 0, the others must be such that nobody's product overflows.
        let product = shape.iter().try_fold(dtype.bitsize(), |product, dim| product.checked_mul((*dim).max(1)));
        let bits = product.map(|product| if shape.contains(&0) { 0 } else { product });
        let bytes = bits.filter(|bits| bits.is_multiple_of(8)).map(|bits| bits / 8);
        let bytes = bytes.ok_or_else(|| format!("of type {dtype} has shape {shape:?}: no whole bytes, or too many"))?;
        if extent.start != start {
            return Err(format!("starts at byte {} of the data, the one before ends at {start}", extent.start));
        }
        match extent.end.checked_sub(extent.start) {
            Some(length) if length == bytes => Ok(()),
            _ => Err(format!("of type {dtype} and shape {shape:?} takes {bytes} bytes, its offsets are {extent:?}")),
        }
    }
}

/// Bytes that reading a header takes at most.
#[expect(clippy::naive_bytecount, reason = "once a file")]
fn worth(header: &[u8]) -> usize {
    let count = |byte: u8| header.iter().filter(|other| **other == byte).count();
    let tensor = GROWING * size_of::<(String, Tensor)>() + named::ENTRY_BYTES + SHAPE_BYTES;
    let text = GROWING * size_of::<(String, String)>();
    // Each of the texts beside tensors has four quotes with its key. The parser collects a text with escapes before it
    // gives it away, and errors quote it.
    let parts =
        [(count(b'{'), tensor), (count(b'"') / 4, text), (header.len(), 1), (longest_text(header), 2 * GROWING)];
    parts.iter().fold(0, |sum: usize, (count, bytes)| sum.saturating_add(count.saturating_mul(*bytes)))
}

/// Bytes of the longest text of a JSON document, as they stand there.
fn longest_text(json: &[u8]) -> usize {
    let (mut longest, mut length, mut in_text, mut is_escaped) = (0, 0, false, false);
    for byte in json {
        length += 1;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_text,
            b'"' => {
                if in_text {
                    longest = longest.max(length);
                }
                (in_text, length) = (!in_text, 0);
            }
            _ => {}
        }
    }
    if in_text { longest.max(length) } else { longest }
}

/// The object that a header is.
struct Entries {
    metadata: BTreeMap<String, String>,
    /// In the order of the header.
    tensors: Vec<(String, Tensor)>,
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OfEntries)
    }
}

struct OfEntries;

impl<'de> Visitor<'de> for OfEntries {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let (mut metadata, mut tensors) = (None, Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            if name.len() > MAX_NAME_BYTES {
                return Err(Error::custom(format!(
                    "a name of {} bytes, at most {MAX_NAME_BYTES} are read",
                    name.len()
                )));
            }
            if name != METADATA {
                tensors.push((name, map.next_value::<Fields>()?.into()));
            } else if metadata.replace(map.next_value()?).is_some() {
                return Err(Error::duplicate_field(METADATA));
            }
        }
        Ok(Entries { metadata: metadata.unwrap_or_default(), tensors })
    }
}

/// The object that describes a tensor.
#[derive(Deserialize)]
struct Fields {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (usize, usize),
}

impl From<Fields> for Tensor {
    fn from(Fields { dtype, shape: Shape(shape), data_offsets: (start, end) }: Fields) -> Self {
        Self { shape, dtype, extent: start..end }
    }
}

/// At most [`MAX_DIMENSIONS`].
struct Shape(Vec<usize>);

/// Bytes that one takes beside itself.
const SHAPE_BYTES: usize = MAX_DIMENSIONS * size_of::<usize>();

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OfShape)
    }
}

struct OfShape;

impl<'de> Visitor<'de> for OfShape {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_DIMENSIONS} dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut dimensions: A) -> Result<Shape, A::Error> {
        let mut shape = Vec::with_capacity(MAX_DIMENSIONS);
        while let Some(dimension) = dimensions.next_element()? {
            if shape.len() == MAX_DIMENSIONS {
                return Err(Error::invalid_length(MAX_DIMENSIONS + 1, &self));
            }
            shape.push(dimension);
        }
        Ok(Shape(shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_text_is_found_as_it_stands() {
        let longest = |json: &str| longest_text(json.as_bytes());
        assert_eq!(longest(""), 0);
        assert_eq!(longest(r#"{"a":"bcd"}"#), 4);
        assert_eq!(longest(r#"{"a\"b\\":1,"":[]}"#), 7);
        assert_eq!(longest(r#"{"a": "ends nowh"#), 9);
    }
}
