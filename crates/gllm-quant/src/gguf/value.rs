//! What a metadata key stands for: a number, a bool, a string, or an array of one of these.
//!
//! Types are called what GGUF calls them. An array of arrays is refused: no model has one.

use std::fmt::{self, Arguments};

use serde::Serialize;

use super::cursor::Cursor;
use super::{Outcome, corrupt, unsupported};

/// The least that a key and its value take in a file: the key's length, the value's type, and a byte.
pub(super) const MIN_ENTRY_BYTES: usize = 13;
/// What an array of strings takes at least for each: its length.
const MIN_STRING_BYTES: usize = 8;

/// Bytes of a string that a message quotes.
const MAX_QUOTED_BYTES: usize = 60;

/// The types in the order of their numbers in a file.
const TYPES: [&str; 13] = [
    "UINT8", "INT8", "UINT16", "INT16", "UINT32", "INT32", "FLOAT32", "BOOL", "STRING", "ARRAY", "UINT64", "INT64",
    "FLOAT64",
];
const ARRAY: u32 = 9;

/// A value. Serialised, it is itself, without its type.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// Values of one type. Serialised, they are a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

impl Value {
    /// Reads the value of `key`, its type first.
    pub(super) fn read(cursor: &mut Cursor<'_>, key: &str) -> Outcome<Self> {
        let what = format_args!("the value of `{key}`");
        Ok(match cursor.u32(what)? {
            0 => Self::U8(cursor.number(what).map(u8::from_le_bytes)?),
            1 => Self::I8(cursor.number(what).map(i8::from_le_bytes)?),
            2 => Self::U16(cursor.number(what).map(u16::from_le_bytes)?),
            3 => Self::I16(cursor.number(what).map(i16::from_le_bytes)?),
            4 => Self::U32(cursor.number(what).map(u32::from_le_bytes)?),
            5 => Self::I32(cursor.number(what).map(i32::from_le_bytes)?),
            6 => Self::F32(cursor.number(what).map(f32::from_le_bytes)?),
            7 => Self::Bool(cursor.number(what).and_then(|byte| to_bool(byte, what))?),
            8 => Self::String(cursor.string(what)?),
            ARRAY => Self::Array(Array::read(cursor, what)?),
            10 => Self::U64(cursor.number(what).map(u64::from_le_bytes)?),
            11 => Self::I64(cursor.number(what).map(i64::from_le_bytes)?),
            12 => Self::F64(cursor.number(what).map(f64::from_le_bytes)?),
            number => return Err(unknown(what, number)),
        })
    }

    /// Its type, as GGUF calls it; of an array, its elements' type.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        TYPES[self.type_number() as usize]
    }

    /// The number of its type in a file; of an array, of its elements' type.
    fn type_number(&self) -> u32 {
        match self {
            Self::U8(_) | Self::Array(Array::U8(_)) => 0,
            Self::I8(_) | Self::Array(Array::I8(_)) => 1,
            Self::U16(_) | Self::Array(Array::U16(_)) => 2,
            Self::I16(_) | Self::Array(Array::I16(_)) => 3,
            Self::U32(_) | Self::Array(Array::U32(_)) => 4,
            Self::I32(_) | Self::Array(Array::I32(_)) => 5,
            Self::F32(_) | Self::Array(Array::F32(_)) => 6,
            Self::Bool(_) | Self::Array(Array::Bool(_)) => 7,
            Self::String(_) | Self::Array(Array::String(_)) => 8,
            Self::U64(_) | Self::Array(Array::U64(_)) => 10,
            Self::I64(_) | Self::Array(Array::I64(_)) => 11,
            Self::F64(_) | Self::Array(Array::F64(_)) => 12,
        }
    }

    /// The value and its type in a few words, for messages.
    pub(super) fn brief(&self) -> String {
        match self {
            Self::Array(_) => format!("an array of {}", self.type_name()),
            Self::String(text) if text.len() > MAX_QUOTED_BYTES => format!("a STRING of {} bytes", text.len()),
            value => format!("{value} ({})", self.type_name()),
        }
    }

    /// Writes the value as it lies in a little-endian file, its type first.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Self::Array(_) = self {
            out.extend(ARRAY.to_le_bytes());
        }
        out.extend(self.type_number().to_le_bytes());
        match self {
            Self::U8(value) => out.extend(value.to_le_bytes()),
            Self::I8(value) => out.extend(value.to_le_bytes()),
            Self::U16(value) => out.extend(value.to_le_bytes()),
            Self::I16(value) => out.extend(value.to_le_bytes()),
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::I32(value) => out.extend(value.to_le_bytes()),
            Self::F32(value) => out.extend(value.to_le_bytes()),
            Self::Bool(value) => out.push((*value).into()),
            Self::String(value) => write_string(value, out),
            Self::Array(array) => array.write(out),
            Self::U64(value) => out.extend(value.to_le_bytes()),
            Self::I64(value) => out.extend(value.to_le_bytes()),
            Self::F64(value) => out.extend(value.to_le_bytes()),
        }
    }

    /// The whole number, of whatever width; `None` of a value that isn't one.
    #[must_use]
    pub fn integer(&self) -> Option<i128> {
        Some(match self {
            Self::U8(value) => (*value).into(),
            Self::I8(value) => (*value).into(),
            Self::U16(value) => (*value).into(),
            Self::I16(value) => (*value).into(),
            Self::U32(value) => (*value).into(),
            Self::I32(value) => (*value).into(),
            Self::U64(value) => (*value).into(),
            Self::I64(value) => (*value).into(),
            _ => return None,
        })
    }
}

/// For people: a number, a string in quotes, or of an array how many values it has of which type.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32(value) => value.fmt(f),
            Self::F64(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::String(value) => fmt::Debug::fmt(value, f),
            Self::Array(array) => write!(f, "[{} of {}]", array.len(), self.type_name()),
            integer => integer.integer().unwrap_or_default().fmt(f),
        }
    }
}

impl Array {
    fn read(cursor: &mut Cursor<'_>, what: Arguments<'_>) -> Outcome<Self> {
        Ok(match cursor.u32(what)? {
            0 => Self::U8(numbers(cursor, what, u8::from_le_bytes)?),
            1 => Self::I8(numbers(cursor, what, i8::from_le_bytes)?),
            2 => Self::U16(numbers(cursor, what, u16::from_le_bytes)?),
            3 => Self::I16(numbers(cursor, what, i16::from_le_bytes)?),
            4 => Self::U32(numbers(cursor, what, u32::from_le_bytes)?),
            5 => Self::I32(numbers(cursor, what, i32::from_le_bytes)?),
            6 => Self::F32(numbers(cursor, what, f32::from_le_bytes)?),
            7 => Self::Bool(bools(cursor, what)?),
            8 => Self::String(strings(cursor, what)?),
            10 => Self::U64(numbers(cursor, what, u64::from_le_bytes)?),
            11 => Self::I64(numbers(cursor, what, i64::from_le_bytes)?),
            12 => Self::F64(numbers(cursor, what, f64::from_le_bytes)?),
            ARRAY => {
                return Err(unsupported(what.to_string(), "an array of arrays", "arrays of numbers, bools or strings"));
            }
            number => return Err(unknown(what, number)),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend((self.len() as u64).to_le_bytes());
        match self {
            Self::U8(values) => out.extend(values),
            Self::I8(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::U16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::I16(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::U32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::I32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F32(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::Bool(values) => out.extend(values.iter().map(|value| u8::from(*value))),
            Self::String(values) => values.iter().for_each(|value| write_string(value, out)),
            Self::U64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::I64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F64(values) => out.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::I8(values) => values.len(),
            Self::U16(values) => values.len(),
            Self::I16(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::I32(values) => values.len(),
            Self::F32(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::String(values) => values.len(),
            Self::U64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Writes the length of `text`, and then `text`.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn unknown(what: Arguments<'_>, number: u32) -> super::LoadProblem {
    corrupt(format!("{what} has type {number}, which GGUF doesn't know"))
}

fn to_bool([byte]: [u8; 1], what: Arguments<'_>) -> Outcome<bool> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(corrupt(format!("{what} is a bool, and {other} is neither 0 nor 1"))),
    }
}

fn numbers<T, const N: usize>(
    cursor: &mut Cursor<'_>,
    what: Arguments<'_>,
    from: impl Fn([u8; N]) -> T,
) -> Outcome<Vec<T>> {
    let count = cursor.count(format_args!("elements of {what}"), N)?;
    let mut numbers = cursor.reserve(count)?;
    // `count` made sure of the product.
    let bytes = cursor.take(count * N, what)?;
    numbers.extend(bytes.as_chunks::<N>().0.iter().map(|chunk| from(cursor.ordered(*chunk))));
    Ok(numbers)
}

fn bools(cursor: &mut Cursor<'_>, what: Arguments<'_>) -> Outcome<Vec<bool>> {
    let count = cursor.count(format_args!("elements of {what}"), 1)?;
    let mut bools = cursor.reserve(count)?;
    for byte in cursor.take(count, what)? {
        bools.push(to_bool([*byte], what)?);
    }
    Ok(bools)
}

fn strings(cursor: &mut Cursor<'_>, what: Arguments<'_>) -> Outcome<Vec<String>> {
    let count = cursor.count(format_args!("elements of {what}"), MIN_STRING_BYTES)?;
    let mut strings = cursor.reserve(count)?;
    for _ in 0..count {
        strings.push(cursor.string(what)?);
    }
    Ok(strings)
}
