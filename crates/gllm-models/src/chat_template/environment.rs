//! The engine as transformers sets Jinja2 up for chat templates.
//!
//! There is no loader, nothing can be included, and nothing that a template calls reaches files or the network. Filters
//! that Jinja2 doesn't have are removed, so that a template takes the same here and there.
//!
//! Source: `chat_template_utils.py` of transformers 5.23.

use std::fmt;

use jiff::civil::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueKind, ValueOrKwargs, from_args};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State};

use super::bounds::{Limits, refused};
use super::methods;
use super::python::{Budget, JsonStyle};

/// Tells the local time.
pub(super) type Clock = fn() -> DateTime;

/// What a template ended itself with.
#[derive(Debug)]
pub(super) struct Raised(pub(super) String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// An environment without templates; [`limited`] adds what depends on limits.
pub(super) fn environment(clock: Clock) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_recursion_limit(200);
    environment.set_unknown_method_callback(methods::call);
    for name in ["bool", "chain", "lines", "pprint", "split", "zip"] {
        environment.remove_filter(name);
    }
    environment.remove_global("debug");
    environment.add_filter("int", |value: Value, default: Option<i64>| {
        let integer = match value.as_str() {
            Some(text) => {
                text.trim().parse().ok().or_else(|| text.trim().parse::<f64>().ok().map(|float| float as i64))
            }
            None => i64::try_from(value.clone()).ok().or_else(|| f64::try_from(value).ok().map(|float| float as i64)),
        };
        integer.or(default).unwrap_or(0)
    });
    environment.add_filter("float", |value: Value, default: Option<f64>| {
        let float = match value.as_str() {
            Some(text) => text.trim().parse().ok(),
            None => f64::try_from(value).ok(),
        };
        float.or(default).unwrap_or(0.0)
    });
    environment.add_filter("format", |state: &mut State<'_, '_>, format: Value, args: Rest<ValueOrKwargs>| {
        let values: Vec<Value> = args.0.iter().cloned().map(ValueOrKwargs::into_value).collect();
        methods::pay_for_format(state, format.as_str().map_or(0, |format| format.matches('%').count()), &values)?;
        minijinja::filters::format(state, &format, args)
    });
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", is_iterable);
    environment.add_function("raise_exception", |message: Value| -> Result<Value, Error> {
        let message = message.to_string();
        Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
    });
    environment.add_function("strftime_now", move |format: &str| {
        jiff::fmt::strtime::format(format, clock())
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("cannot tell the time: {error}")))
    });
    Ok(environment)
}

/// What Jinja2 iterates over, and takes for a sequence: texts and dicts too.
pub(super) fn is_iterable(value: &Value) -> bool {
    use ValueKind::{Iterable, Map, Seq, String, Undefined};
    matches!(value.kind(), Undefined | String | Seq | Iterable | Map)
}

/// `environment` for one rendering.
pub(super) fn limited<'e>(environment: &Environment<'e>, limits: Limits) -> Environment<'e> {
    let mut environment = environment.clone();
    environment.set_fuel(Some(limits.fuel));
    limits.add_to(&mut environment);
    environment.add_filter("trim", move |state: &State<'_, '_>, value: Value, set: Option<String>| {
        let text = limits.text(state, value)?;
        Ok::<_, Error>(methods::trim(text.as_str().unwrap_or_default(), set.as_deref(), true, true).to_owned())
    });
    environment.add_filter("string", move |state: &State<'_, '_>, value: Value| limits.text(state, value));
    environment
        .add_filter("tojson", move |state: &State<'_, '_>, args: Rest<ValueOrKwargs>| to_json(state, limits, args));
    environment.set_formatter(move |output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value| {
        match limits.text(state, value.clone())?.as_str() {
            Some(text) => output.write_str(text).map_err(Error::from),
            None => Ok(()),
        }
    });
    environment
}

/// `tojson(value, ensure_ascii=False, indent=None, separators=None, *, sort_keys=False)`
fn to_json(state: &State<'_, '_>, limits: Limits, args: Rest<ValueOrKwargs>) -> Result<String, Error> {
    type Arguments = (Value, Option<Value>, Option<Value>, Option<Value>, Kwargs);
    let args: Vec<Value> = args.0.into_iter().map(ValueOrKwargs::into_value).collect();
    let (value, ensure_ascii, indent, separators, kwargs): Arguments = from_args(&args)?;
    let argument = |given: Option<Value>, name: &str| -> Result<Option<Value>, Error> {
        let value = given.map_or_else(|| kwargs.get::<Option<Value>>(name), |given| Ok(Some(given)))?;
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ensure_ascii = argument(ensure_ascii, "ensure_ascii")?.is_some_and(|value| value.is_true());
    let indent = argument(indent, "indent")?.map(|value| indentation(&value)).transpose()?;
    let separators = argument(separators, "separators")?;
    let sort_keys = argument(None, "sort_keys")?.is_some_and(|value| value.is_true());
    kwargs.assert_all_used()?;
    let (item_separator, key_separator) = match separators {
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
        Some(pair) => {
            let part = |index| pair.get_item_by_index(index).ok().and_then(|part| part.as_str().map(str::to_owned));
            part(0).zip(part(1)).ok_or_else(|| refused("`separators` must be two texts"))?
        }
    };
    let style = JsonStyle { ensure_ascii, indent, item_separator, key_separator, sort_keys };
    let mut text = Budget::new(limits.bytes);
    text.json(&value, &style, 0)?;
    let text = text.finish();
    state.consume_fuel(text.len() as u64 / 16)?;
    Ok(text)
}

/// What a level of JSON is indented by: so many spaces, or a text.
fn indentation(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    match i64::try_from(value.clone())? {
        width @ ..=1024 => Ok(" ".repeat(usize::try_from(width).unwrap_or(0))),
        _ => Err(refused("`indent` is too wide")),
    }
}
