//! What a GGUF file says of its model: keys and typed values.
//!
//! The getters say `None` of an absent key, and an error of a value of another type: a key that is there and can't be
//! read is never taken as absent.

use std::fmt;
use std::path::{Path, PathBuf};

use gllm_core::{LoadError, LoadProblem, Result};

use super::value::{Array, Value};
use crate::named::Named;

const USIZE: &str = "a whole number that isn't negative";
const U32: &str = "a whole number of 32 bits that isn't negative";
const F32: &str = "a FLOAT32 or FLOAT64";
const STRING: &str = "a STRING";
const STRINGS: &str = "an array of STRING";

/// The metadata of a file, in its order.
pub struct Metadata {
    path: PathBuf,
    values: Named<Value>,
}

impl Metadata {
    pub(super) fn new(path: &Path, values: Named<Value>) -> Self {
        Self { path: path.into(), values }
    }

    /// The file that says it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The value of `key`, whatever its type is.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Every key and its value, in file order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter()
    }

    /// The string of `key`.
    ///
    /// # Errors
    /// [`LoadError`] with [`LoadProblem::Field`] if the value isn't a string.
    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, STRING, |value| match value {
            Value::String(value) => Some(value.as_str()),
            _ => None,
        })
    }

    /// The whole number of `key`, of whatever width it is in the file.
    ///
    /// # Errors
    /// [`LoadError`] with [`LoadProblem::Field`] if the value isn't a whole number, or out of range.
    pub fn usize(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, USIZE, |value| value.integer()?.try_into().ok())
    }

    /// The whole number of `key`, of whatever width it is in the file.
    ///
    /// # Errors
    /// [`LoadError`] with [`LoadProblem::Field`] if the value isn't a whole number, or out of range.
    pub fn u32(&self, key: &str) -> Result<Option<u32>> {
        self.typed(key, U32, |value| value.integer()?.try_into().ok())
    }

    /// The floating-point number of `key`, rounded if it is a `f64` in the file.
    ///
    /// # Errors
    /// [`LoadError`] with [`LoadProblem::Field`] if the value isn't a floating-point number.
    pub fn f32(&self, key: &str) -> Result<Option<f32>> {
        self.typed(key, F32, |value| match value {
            Value::F32(value) => Some(*value),
            Value::F64(value) => Some(*value as f32),
            _ => None,
        })
    }

    /// The bool of `key`.
    ///
    /// # Errors
    /// [`LoadError`] with [`LoadProblem::Field`] if the value isn't a bool.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "a BOOL", |value| match value {
            Value::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// The strings of `key`.
    ///
    /// # Errors
    /// [`LoadError`] with [`LoadProblem::Field`] if the value isn't an array of strings.
    pub fn strings(&self, key: &str) -> Result<Option<&[String]>> {
        self.typed(key, STRINGS, |value| match value {
            Value::Array(Array::String(values)) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// The `f32`s of `key`.
    ///
    /// # Errors
    /// [`LoadError`] with [`LoadProblem::Field`] if the value isn't an array of `f32`.
    pub fn f32s(&self, key: &str) -> Result<Option<&[f32]>> {
        self.typed(key, "an array of FLOAT32", |value| match value {
            Value::Array(Array::F32(values)) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// The `i32`s of `key`.
    ///
    /// # Errors
    /// [`LoadError`] with [`LoadProblem::Field`] if the value isn't an array of `i32`.
    pub fn i32s(&self, key: &str) -> Result<Option<&[i32]>> {
        self.typed(key, "an array of INT32", |value| match value {
            Value::Array(Array::I32(values)) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// The `u32`s of `key`.
    ///
    /// # Errors
    /// [`LoadError`] with [`LoadProblem::Field`] if the value isn't an array of `u32`.
    pub fn u32s(&self, key: &str) -> Result<Option<&[u32]>> {
        self.typed(key, "an array of UINT32", |value| match value {
            Value::Array(Array::U32(values)) => Some(values.as_slice()),
            _ => None,
        })
    }

    /// As [`Metadata::string`], of a key that must be there.
    ///
    /// # Errors
    /// As there, also if there is no such key.
    pub fn require_string(&self, key: &str) -> Result<&str> {
        self.require(key, STRING, self.string(key)?)
    }

    /// As [`Metadata::usize`], of a key that must be there.
    ///
    /// # Errors
    /// As there, also if there is no such key.
    pub fn require_usize(&self, key: &str) -> Result<usize> {
        self.require(key, USIZE, self.usize(key)?)
    }

    /// As [`Metadata::u32`], of a key that must be there.
    ///
    /// # Errors
    /// As there, also if there is no such key.
    pub fn require_u32(&self, key: &str) -> Result<u32> {
        self.require(key, U32, self.u32(key)?)
    }

    /// As [`Metadata::f32`], of a key that must be there.
    ///
    /// # Errors
    /// As there, also if there is no such key.
    pub fn require_f32(&self, key: &str) -> Result<f32> {
        self.require(key, F32, self.f32(key)?)
    }

    /// As [`Metadata::strings`], of a key that must be there.
    ///
    /// # Errors
    /// As there, also if there is no such key.
    pub fn require_strings(&self, key: &str) -> Result<&[String]> {
        self.require(key, STRINGS, self.strings(key)?)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        convert(value).map(Some).ok_or_else(|| self.field(key, expected, value.brief()).into())
    }

    fn require<T>(&self, key: &str, expected: &str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| self.field(key, expected, "no such key".into()).into())
    }

    fn field(&self, key: &str, expected: &str, found: String) -> LoadError {
        LoadError::new(&self.path, LoadProblem::Field { field: key.into(), expected: expected.into(), found })
    }
}

// Derived, it would print vocabularies.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(key, value)| (key, value.to_string()))).finish()
    }
}
