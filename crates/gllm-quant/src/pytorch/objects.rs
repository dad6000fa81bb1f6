//! The Python objects that a pickle builds, as plain data.
//!
//! Values are small and copied; what they contain lies in one arena and is referred to by place. So an
//! object that contains itself, or one nested a million deep, is neither walked nor freed by recursion.

use std::ops::Range;

use safetensors::Dtype;

use super::globals::{self, Global};
use crate::memory::GROWING;

/// Room that a list makes for its first items.
const FIRST_ITEMS: usize = 4;

/// A Python value; text and long integers are slices of the pickle.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Integer(i64),
    /// An integer of more than 64 bits: little-endian, two's complement.
    LongInteger(&'a [u8]),
    Text(&'a str),
    Global(Global),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

impl Value<'_> {
    /// What kind of value this is, for error messages.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Integer(_) | Self::LongInteger(_) => "an integer",
            Self::Text(_) => "a string",
            Self::Global(_) => "a global",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// Where a tensor's elements are, by the key that the container knows them by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    /// `None` for a storage of bytes.
    pub(super) dtype: Option<Dtype>,
    pub(super) elements: usize,
}

impl Storage<'_> {
    pub(super) fn element_size(&self) -> usize {
        self.dtype.map_or(1, globals::element_size)
    }

    /// The storage's length in bytes; `None` if no memory is that large.
    pub(super) fn bytes(&self) -> Option<usize> {
        self.elements.checked_mul(self.element_size())
    }
}

/// A view into a storage, in elements of `dtype`; not compared with the storage yet.
#[derive(Debug)]
pub(super) struct Tensor {
    /// Place among the storages.
    pub(super) storage: usize,
    pub(super) dtype: Dtype,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    /// As many as there are dimensions.
    pub(super) strides: Vec<usize>,
}

/// The arena: what the values of one pickle refer to. Places in it come from its own methods, and
/// nothing is ever taken out.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    tuples: Vec<Range<usize>>,
    /// The tuples' items.
    items: Vec<Value<'a>>,
    lists: Vec<Vec<Value<'a>>>,
    dicts: Vec<Vec<(Value<'a>, Value<'a>)>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Tensor>,
    /// Bytes that all this came to take since they were last asked for.
    grown: usize,
}

impl<'a> Objects<'a> {
    /// Bytes that what was made since the last call may take.
    pub(super) fn grown(&mut self) -> usize {
        std::mem::take(&mut self.grown)
    }

    fn grow<T>(&mut self, count: usize) {
        self.grown += GROWING * count * size_of::<T>();
    }

    pub(super) fn new_tuple(&mut self, items: impl IntoIterator<Item = Value<'a>>) -> Value<'a> {
        let start = self.items.len();
        self.items.extend(items);
        self.grow::<Value<'_>>(self.items.len() - start);
        self.grow::<Range<usize>>(1);
        self.tuples.push(start..self.items.len());
        Value::Tuple(self.tuples.len() - 1)
    }

    pub(super) fn new_list(&mut self) -> Value<'a> {
        self.grow::<Vec<Value<'_>>>(1);
        self.lists.push(Vec::new());
        Value::List(self.lists.len() - 1)
    }

    pub(super) fn new_dict(&mut self) -> Value<'a> {
        self.grow::<Vec<(Value<'_>, Value<'_>)>>(1);
        self.dicts.push(Vec::new());
        Value::Dict(self.dicts.len() - 1)
    }

    pub(super) fn new_storage(&mut self, storage: Storage<'a>) -> Value<'a> {
        self.grow::<Storage<'_>>(1);
        self.storages.push(storage);
        Value::Storage(self.storages.len() - 1)
    }

    pub(super) fn new_tensor(&mut self, tensor: Tensor) -> Value<'a> {
        self.grow::<Tensor>(1);
        self.grow::<usize>(tensor.shape.len() + tensor.strides.len());
        self.tensors.push(tensor);
        Value::Tensor(self.tensors.len() - 1)
    }

    pub(super) fn tuple(&self, place: usize) -> &[Value<'a>] {
        &self.items[self.tuples[place].clone()]
    }

    pub(super) fn list(&self, place: usize) -> &[Value<'a>] {
        &self.lists[place]
    }

    pub(super) fn append(&mut self, list: usize, items: impl IntoIterator<Item = Value<'a>>) {
        let before = self.lists[list].len();
        self.lists[list].extend(items);
        let added = self.lists[list].len() - before;
        self.grow::<Value<'_>>(if before == 0 { added.max(FIRST_ITEMS) } else { added });
    }

    /// The pairs in the order in which they were set; a key that was set twice is there twice.
    pub(super) fn dict(&self, place: usize) -> &[(Value<'a>, Value<'a>)] {
        &self.dicts[place]
    }

    pub(super) fn set(&mut self, dict: usize, key: Value<'a>, value: Value<'a>) {
        self.grow::<(Value<'_>, Value<'_>)>(if self.dicts[dict].is_empty() { FIRST_ITEMS } else { 1 });
        self.dicts[dict].push((key, value));
    }

    pub(super) fn storage(&self, place: usize) -> &Storage<'a> {
        &self.storages[place]
    }

    pub(super) fn storages(&self) -> &[Storage<'a>] {
        &self.storages
    }

    pub(super) fn tensor(&self, place: usize) -> &Tensor {
        &self.tensors[place]
    }
}
