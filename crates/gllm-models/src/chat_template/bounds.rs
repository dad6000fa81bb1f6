//! The limits of a rendering, and the filters that hold values to them.
//!
//! Steps and strings are metered by the engine, as fuel: one unit for an instruction, for 64 bytes. Values made of parts
//! are metered here, where they get a name (see [`super::rewrite`]): how many parts they have, shared ones counted each
//! time; how deep they are nested; how long their strings are.
//!
//! Invariant: what passed [`Limits::bound`] holds nothing lazy and no namespace but itself, so that work on it and its
//! end take time and stack in proportion to the limits.

use std::io;

use minijinja::functions::namespace;
use minijinja::value::{Tuple, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State};
use serde_json::Value as Json;

use super::environment::is_iterable;
use super::python::{Budget, check_depth, too_long};
use super::rewrite::{BOUNDED, FACTOR, ITERATED, STORED, TEXT};

/// Bytes of the longest prompt.
pub(super) const MAX_OUTPUT: usize = 16 << 20;

/// What a rendering may take. All grows with what is rendered.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Steps of the engine.
    pub(super) fuel: u64,
    /// Parts of a value, and itself.
    parts: usize,
    /// Bytes of a value's strings.
    pub(super) bytes: usize,
}

impl Limits {
    /// For a rendering of `inputs`.
    pub(super) fn of<'a>(inputs: impl IntoIterator<Item = &'a Json>) -> Self {
        let mut size = Size::default();
        inputs.into_iter().for_each(|input| size.add(input));
        let Size { parts, bytes } = size;
        Self {
            fuel: 1_000_000 + 2048 * parts as u64 + 4 * bytes as u64,
            parts: (16 << 10) + 4 * parts + bytes,
            bytes: (256 << 10) + 16 * bytes,
        }
    }

    /// Registers the filters that [`super::rewrite`] applies, and the function that makes namespaces.
    pub(super) fn add_to(self, environment: &mut Environment<'_>) {
        environment.add_function("namespace", move |state: &State<'_, '_>, attributes: Option<ValueOrKwargs>| {
            let bound = |attributes: ValueOrKwargs| self.bound(state, attributes.into_value(), false);
            namespace(attributes.map(bound).transpose()?.map(ValueOrKwargs::from))
        });
        environment.add_filter(BOUNDED, move |state: &State<'_, '_>, value: Value| self.bound(state, value, true));
        environment.add_filter(ITERATED, move |state: &State<'_, '_>, value: Value| {
            if is_iterable(&value) { self.bound(state, value, true) } else { Err(refused("the value isn't iterable")) }
        });
        environment.add_filter(STORED, move |state: &State<'_, '_>, value: Value| self.bound(state, value, false));
        environment.add_filter(TEXT, move |state: &State<'_, '_>, value: Value| self.text(state, value));
        environment.add_filter(FACTOR, |value: Value| match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => Err(refused("lists cannot be repeated")),
            _ => Ok(value),
        });
    }

    /// `value` with lists in place of what is lazy.
    fn bound(self, state: &State<'_, '_>, value: Value, may_be_namespace: bool) -> Result<Value, Error> {
        let mut left = Left { parts: self.parts, bytes: self.bytes, limits: self };
        let bound =
            if may_be_namespace && is_namespace(&value) { left.pairs(&value, 0) } else { left.visit(&value, 0) }?;
        state.consume_fuel((self.parts - left.parts) as u64 / 8)?;
        Ok(bound.unwrap_or(value))
    }

    /// `str(value)`; undefined values stay so, for the engine to treat.
    pub(super) fn text(self, state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
        if value.is_undefined() || value.kind() == ValueKind::String {
            return Ok(value);
        }
        let mut text = Budget::new(self.bytes);
        text.str(&value)?;
        let text = text.finish();
        state.consume_fuel(text.len() as u64 / 4)?;
        Ok(Value::from(text))
    }
}

/// What remains of the limits for a value.
struct Left {
    parts: usize,
    bytes: usize,
    limits: Limits,
}

impl Left {
    /// Counts a value and its parts. What must take its place, if anything.
    fn visit(&mut self, value: &Value, depth: usize) -> Result<Option<Value>, Error> {
        check_depth(depth)?;
        self.parts = self.parts.checked_sub(1).ok_or_else(|| refused("a value has too many parts"))?;
        match value.kind() {
            ValueKind::String => {
                let length = value.as_str().map_or(0, str::len);
                self.bytes = self.bytes.checked_sub(length).ok_or_else(|| too_long(self.limits.bytes))?;
                Ok(None)
            }
            ValueKind::Map if is_namespace(value) => Err(refused("namespaces cannot be parts of values")),
            ValueKind::Map => self.pairs(value, depth),
            ValueKind::Seq | ValueKind::Iterable => self.items(value, depth),
            _ => Ok(None),
        }
    }

    fn pairs(&mut self, map: &Value, depth: usize) -> Result<Option<Value>, Error> {
        let mut changed = Vec::new();
        for key in map.try_iter()? {
            self.visit(&key, depth + 1)?;
            if let Some(value) = self.visit(&map.get_item(&key)?, depth + 1)? {
                changed.push((key, value));
            }
        }
        if changed.is_empty() {
            return Ok(None);
        }
        let unchanged = map.try_iter()?.map(|key| Ok((key.clone(), map.get_item(&key)?)));
        let mut pairs: Vec<(Value, Value)> = unchanged.collect::<Result<_, Error>>()?;
        let mut changed = changed.into_iter().peekable();
        for (key, value) in &mut pairs {
            if let Some((_, new)) = changed.next_if(|(changed, _)| changed == key) {
                *value = new;
            }
        }
        Ok(Some(Value::from_pairs(pairs)))
    }

    fn items(&mut self, list: &Value, depth: usize) -> Result<Option<Value>, Error> {
        let mut is_changed = !list.is_tuple() && list.downcast_object_ref::<Vec<Value>>().is_none();
        let mut items = Vec::new();
        for item in list.try_iter()? {
            let bound = self.visit(&item, depth + 1)?;
            is_changed |= bound.is_some();
            items.push(bound.unwrap_or(item));
        }
        Ok(is_changed.then(|| if list.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) }))
    }
}

/// Namespaces are the only values that change, so they alone could come to hold themselves.
fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

pub(super) fn refused(reason: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

/// The size of JSON.
#[derive(Default)]
struct Size {
    parts: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, json: &Json) {
        self.parts += 1;
        match json {
            Json::String(text) => self.bytes += text.len(),
            Json::Array(items) => items.iter().for_each(|item| self.add(item)),
            Json::Object(pairs) => {
                self.parts += pairs.len();
                self.bytes += pairs.keys().map(String::len).sum::<usize>();
                pairs.values().for_each(|value| self.add(value));
            }
            _ => {}
        }
    }
}

/// A prompt that is written, up to [`MAX_OUTPUT`] bytes.
#[derive(Default)]
pub(super) struct Prompt(pub(super) Vec<u8>);

impl io::Write for Prompt {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > MAX_OUTPUT - self.0.len() {
            return Err(io::Error::other("the prompt is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
