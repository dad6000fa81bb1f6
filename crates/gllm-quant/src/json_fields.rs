//! Fields of a JSON object from a configuration file: each is absent or of its type, and an error says which it was.

use gllm_core::LoadProblem;
use serde_json::{Map, Value};

use crate::GroupSize;

/// What reading a field gives; the caller knows the file.
pub(crate) type Field<T> = Result<T, LoadProblem>;

/// A JSON object, and where it lies in its file.
pub(crate) struct Fields<'a> {
    path: String,
    object: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The object that lies at `path`, such as `quantization_config`.
    pub(crate) fn new(path: impl Into<String>, value: &'a Value) -> Field<Self> {
        let path = path.into();
        match value.as_object() {
            Some(object) => Ok(Self { path, object }),
            None => Err(LoadProblem::Field { field: path, expected: "an object".into(), found: shortened(value) }),
        }
    }

    /// The value of a field; `None` if it isn't there or is `null`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// The names of the fields, in the order of the file.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.object.keys().map(String::as_str)
    }

    /// Whether there is a field that says something: not `null`, `false`, and not an empty object or list.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        match self.get(name) {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Object(object)) => !object.is_empty(),
            Some(Value::Array(list)) => !list.is_empty(),
            Some(_) => true,
        }
    }

    /// An object within this one.
    pub(crate) fn object(&self, name: &str) -> Field<Option<Fields<'a>>> {
        self.get(name).map(|value| Fields::new(format!("{}.{name}", self.path), value)).transpose()
    }

    /// A string.
    pub(crate) fn string(&self, name: &str) -> Field<Option<&'a str>> {
        self.typed(name, "a string", Value::as_str)
    }

    /// A whole number.
    pub(crate) fn integer(&self, name: &str) -> Field<Option<i64>> {
        self.typed(name, "a whole number", Value::as_i64)
    }

    /// A boolean.
    pub(crate) fn boolean(&self, name: &str) -> Field<Option<bool>> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A list of strings.
    pub(crate) fn strings(&self, name: &str) -> Field<Option<Vec<&'a str>>> {
        self.typed(name, "a list of strings", |value| value.as_array()?.iter().map(Value::as_str).collect())
    }

    /// A list of lists of strings, put together.
    pub(crate) fn lists_of_strings(&self, name: &str) -> Field<Option<Vec<String>>> {
        self.typed(name, "a list of lists of strings", |value| {
            let lists = value.as_array()?.iter().map(Value::as_array).collect::<Option<Vec<_>>>()?;
            lists.into_iter().flatten().map(|text| text.as_str().map(str::to_owned)).collect()
        })
    }

    fn typed<T>(&self, name: &str, expected: &str, read: impl FnOnce(&'a Value) -> Option<T>) -> Field<Option<T>> {
        self.get(name).map(|value| read(value).ok_or_else(|| self.bad(name, expected))).transpose()
    }

    /// How many bits a code has, which must be one of `supported`.
    pub(crate) fn bits(&self, name: &str, supported: &[u32]) -> Field<Option<u32>> {
        let Some(found) = self.integer(name)? else { return Ok(None) };
        let bits = supported.iter().find(|bits| i64::from(**bits) == found);
        let names: Vec<_> = supported.iter().map(u32::to_string).collect();
        bits.map(|bits| Some(*bits)).ok_or_else(|| self.unsupported(name, &names.join(", ")))
    }

    /// How many inputs are a group.
    pub(crate) fn group_size(&self, name: &str) -> Field<Option<GroupSize>> {
        match self.integer(name)? {
            None => Ok(None),
            Some(-1) => Ok(Some(GroupSize::WholeRow)),
            Some(size) => match usize::try_from(size) {
                Ok(size) if size > 0 => Ok(Some(GroupSize::Inputs(size))),
                _ => Err(self.bad(name, "at least 1, or -1 for the whole row")),
            },
        }
    }

    /// Where a field lies in the file.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A field that is missing or of no use.
    pub(crate) fn bad(&self, name: &str, expected: &str) -> LoadProblem {
        let found = self.get(name).map_or_else(|| "nothing".to_owned(), shortened);
        LoadProblem::Field { field: self.path(name), expected: expected.into(), found }
    }

    /// A field that asks for something that isn't there.
    pub(crate) fn unsupported(&self, name: &str, supported: &str) -> LoadProblem {
        let found = match self.get(name) {
            Some(Value::String(text)) => shorten(text.clone()),
            Some(value) => shortened(value),
            None => "nothing".into(),
        };
        LoadProblem::Unsupported { what: self.path(name), found, supported: supported.into() }
    }
}

fn shortened(value: &Value) -> String {
    shorten(value.to_string())
}

/// The beginning of a text, for a message.
pub(crate) fn shorten(text: String) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
