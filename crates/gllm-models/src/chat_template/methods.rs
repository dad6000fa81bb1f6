//! The methods of Python's strings and dicts that templates call, where the engine's own differ from Python or lack.
//!
//! Source: Python 3.11, <https://docs.python.org/3/library/stdtypes.html#string-methods>.

use minijinja::value::{Kwargs, Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::bounds::refused;
use super::python::check_depth;

/// Calls a method that a value of the engine doesn't have by itself.
pub(super) fn call(state: &mut State<'_, '_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        state.consume_fuel(text.len() as u64 / 64)?;
        if let Some(result) = string_method(state, text, method, args) {
            return result;
        }
    }
    if value.kind() == ValueKind::Map && method == "copy" {
        let () = from_args(args)?;
        let pairs = value.try_iter()?.map(|key| Ok((key.clone(), value.get_item(&key)?)));
        return pairs.collect::<Result<Vec<_>, Error>>().map(Value::from_pairs);
    }
    unknown_method_callback(state, value, method, args)
}

fn string_method(state: &mut State<'_, '_>, text: &str, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    Some(match method {
        "strip" => characters(args).map(|set| trim(text, set, true, true).into()),
        "lstrip" => characters(args).map(|set| trim(text, set, true, false).into()),
        "rstrip" => characters(args).map(|set| trim(text, set, false, true).into()),
        "split" => split(text, args, false),
        "rsplit" => split(text, args, true),
        "splitlines" => split_lines(text, args),
        "partition" => partition(text, args, |text, separator| text.split_once(separator), false),
        "rpartition" => partition(text, args, |text, separator| text.rsplit_once(separator), true),
        "removeprefix" => from_args(args).map(|(prefix,): (&str,)| text.strip_prefix(prefix).unwrap_or(text).into()),
        "removesuffix" => from_args(args).map(|(suffix,): (&str,)| text.strip_suffix(suffix).unwrap_or(text).into()),
        "title" => from_args(args).and_then(|()| title(state, text)).map(Value::from),
        "join" => join(state, text, args),
        "format" => match check_format(state, text, args) {
            Ok(()) => return None,
            Err(error) => Err(error),
        },
        _ => return None,
    })
}

/// What Python takes for white space.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1c'..='\x1f')
}

/// `text` without what is in `set` at its ends; without white space where there is no set.
pub(super) fn trim<'t>(text: &'t str, set: Option<&str>, start: bool, end: bool) -> &'t str {
    let is_cut = |c: char| set.map_or_else(|| is_space(c), |set| set.contains(c));
    let text = if start { text.trim_start_matches(is_cut) } else { text };
    if end { text.trim_end_matches(is_cut) } else { text }
}

fn characters(args: &[Value]) -> Result<Option<&str>, Error> {
    from_args(args).map(|(set,)| set)
}

/// `split(sep=None, maxsplit=-1)`, and `rsplit`.
fn split(text: &str, args: &[Value], from_end: bool) -> Result<Value, Error> {
    let (separator, most, kwargs): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
    let separator = separator.map_or_else(|| kwargs.get::<Option<Value>>("sep"), |given| Ok(Some(given)))?;
    let most = most.map_or_else(|| kwargs.get::<Option<i64>>("maxsplit"), |given| Ok(Some(given)))?;
    kwargs.assert_all_used()?;
    let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX - 1);
    let separator = separator.filter(|separator| !separator.is_none() && !separator.is_undefined());
    let mut parts: Vec<&str> = match &separator {
        None => words(text, most, from_end),
        Some(separator) => match separator.as_str() {
            None | Some("") => return Err(refused("the separator of a split must be a text, and not empty")),
            Some(separator) if from_end => text.rsplitn(most + 1, separator).collect(),
            Some(separator) => text.splitn(most + 1, separator).collect(),
        },
    };
    if from_end {
        parts.reverse();
    }
    Ok(Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>()))
}

/// What white space separates, from the start or from the end; what remains after `most` of them is whole.
fn words(text: &str, most: usize, from_end: bool) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = trim(text, None, !from_end, from_end);
    while !rest.is_empty() {
        let border = if from_end { rest.rfind(is_space) } else { rest.find(is_space) };
        let Some(border) = border.filter(|_| words.len() < most) else {
            words.push(rest);
            break;
        };
        let (before, after) = rest.split_at(border);
        if from_end {
            words.push(after.trim_start_matches(is_space));
            rest = trim(before, None, false, true);
        } else {
            words.push(before);
            rest = trim(after, None, true, false);
        }
    }
    words
}

fn split_lines(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (keep_ends, kwargs): (Option<bool>, Kwargs) = from_args(args)?;
    let keep_ends = keep_ends.map_or_else(|| kwargs.get::<Option<bool>>("keepends"), |given| Ok(Some(given)))?;
    kwargs.assert_all_used()?;
    let is_end = |c| matches!(c, '\n'..='\r' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line = rest.find(is_end).unwrap_or(rest.len());
        let end =
            if rest[line..].starts_with("\r\n") { 2 } else { rest[line..].chars().next().map_or(0, char::len_utf8) };
        lines.push(Value::from(&rest[..if keep_ends == Some(true) { line + end } else { line }]));
        rest = &rest[line + end..];
    }
    Ok(Value::from(lines))
}

type SplitOnce = for<'t> fn(&'t str, &str) -> Option<(&'t str, &'t str)>;

/// What is before and behind a separator, and that between them; without one, the text is the last or the first of three.
fn partition(text: &str, args: &[Value], split: SplitOnce, is_last: bool) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(args)?;
    if separator.is_empty() {
        return Err(refused("the separator of a partition must not be empty"));
    }
    let parts = match split(text, separator) {
        Some((before, after)) => [before, separator, after],
        None if is_last => ["", "", text],
        None => [text, "", ""],
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

/// A capital after everything that isn't a letter.
fn title(state: &mut State<'_, '_>, text: &str) -> Result<String, Error> {
    let mut is_inside = false;
    let mut title = String::with_capacity(text.len());
    for c in text.chars() {
        if is_inside {
            title.extend(c.to_lowercase());
        } else if c.is_ascii() {
            title.push(c.to_ascii_uppercase());
        } else {
            // Some letters have a third form.
            let capital = unknown_method_callback(state, &Value::from(c), "capitalize", &[])?;
            title.push_str(capital.as_str().unwrap_or_default());
        }
        is_inside = c.is_lowercase() || c.is_uppercase();
    }
    Ok(title)
}

fn join(state: &State<'_, '_>, separator: &str, args: &[Value]) -> Result<Value, Error> {
    let (items,): (Value,) = from_args(args)?;
    let mut text = String::new();
    for (index, item) in items.try_iter()?.enumerate() {
        let item = item.as_str().ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("only texts can be joined, not {}", item.kind()))
        })?;
        state.consume_fuel(1 + (separator.len() + item.len()) as u64 / 64)?;
        text.push_str(if index > 0 { separator } else { "" });
        text.push_str(item);
    }
    Ok(Value::from(text))
}

/// Refuses a format that pads to a width of more than three digits, or to one that isn't in it, and pays for it.
fn check_format(state: &State<'_, '_>, format: &str, args: &[Value]) -> Result<(), Error> {
    for field in format.split('{').skip(1) {
        let (field, is_closed) = field.split_once('}').map_or((field, false), |(field, _)| (field, true));
        let has_width = field.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 3);
        if has_width || !is_closed && field.contains(':') {
            return Err(refused("a format is too wide"));
        }
    }
    pay_for_format(state, format.matches('{').count(), args)
}

/// Pays for a format whose every field has all arguments.
pub(super) fn pay_for_format(state: &State<'_, '_>, fields: usize, args: &[Value]) -> Result<(), Error> {
    let bytes = args.iter().map(|arg| size(arg, 0)).sum::<Result<u64, Error>>()?;
    state.consume_fuel((fields as u64).saturating_mul(1 + bytes / 64))
}

/// About how many bytes a value has as text.
fn size(value: &Value, depth: usize) -> Result<u64, Error> {
    check_depth(depth)?;
    if let Some(text) = value.as_str() {
        return Ok(text.len() as u64);
    }
    let mut bytes = 32;
    if matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) {
        for item in value.try_iter()? {
            bytes += size(&item, depth + 1)?;
            if value.kind() == ValueKind::Map {
                bytes += size(&value.get_item(&item)?, depth + 1)?;
            }
        }
    }
    Ok(bytes)
}
