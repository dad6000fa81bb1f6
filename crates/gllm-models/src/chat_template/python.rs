//! How Python writes values as text: `str`, `repr` and `json.dumps`.
//!
//! Invariant: a text is written within a [`Budget`] of bytes and of depth, however the value shares its parts.
//! Source: Python 3.11, <https://docs.python.org/3/library/json.html>.

use std::fmt::Write;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// The deepest nesting of a value. Variables come as JSON, which is read to a depth of 128.
pub(super) const MAX_DEPTH: usize = 160;

/// A text that must not grow too long.
pub(super) struct Budget {
    text: String,
    limit: usize,
}

impl Budget {
    /// An empty text of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { text: String::new(), limit }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn push(&mut self, text: &str) -> Result<(), Error> {
        if text.len() > self.limit - self.text.len() {
            return Err(too_long(self.limit));
        }
        self.text.push_str(text);
        Ok(())
    }

    /// `str(value)`.
    pub(super) fn str(&mut self, value: &Value) -> Result<(), Error> {
        match value.as_str() {
            Some(text) => self.push(text),
            None if value.is_undefined() => Ok(()),
            None => self.repr(value, 0),
        }
    }

    /// `repr(value)`.
    fn repr(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        check_depth(depth)?;
        match value.kind() {
            ValueKind::Undefined => self.push("Undefined"),
            ValueKind::String => self.push(&quoted(value.as_str().unwrap_or_default())),
            ValueKind::Number => self.push(&number(value)),
            ValueKind::Map => {
                self.push("{")?;
                for (index, key) in value.try_iter()?.enumerate() {
                    self.push(if index > 0 { ", " } else { "" })?;
                    self.repr(&key, depth + 1)?;
                    self.push(": ")?;
                    self.repr(&value.get_item(&key)?, depth + 1)?;
                }
                self.push("}")
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let (open, close) = if value.is_tuple() { ("(", ")") } else { ("[", "]") };
                self.push(open)?;
                let mut length = 0;
                for item in value.try_iter()? {
                    self.push(if length > 0 { ", " } else { "" })?;
                    self.repr(&item, depth + 1)?;
                    length += 1;
                }
                self.push(if length == 1 && value.is_tuple() { "," } else { "" })?;
                self.push(close)
            }
            // None, True and False; what else there is, is no data.
            _ => self.push(&value.to_string()),
        }
    }

    /// `json.dumps(value)`.
    pub(super) fn json(&mut self, value: &Value, style: &JsonStyle, depth: usize) -> Result<(), Error> {
        check_depth(depth)?;
        match value.kind() {
            ValueKind::None => self.push("null"),
            ValueKind::Bool => self.push(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.push(&json_number(value)),
            ValueKind::String => self.json_string(value.as_str().unwrap_or_default(), style),
            ValueKind::Map => {
                let mut keys = value.try_iter()?.collect::<Vec<_>>();
                if style.sort_keys {
                    keys.sort();
                }
                self.push("{")?;
                for (index, key) in keys.iter().enumerate() {
                    self.json_separator(index, style, depth + 1)?;
                    match key.as_str() {
                        Some(key) => self.json_string(key, style)?,
                        None if matches!(key.kind(), ValueKind::None | ValueKind::Bool | ValueKind::Number) => {
                            self.push("\"")?;
                            self.json(key, style, depth)?;
                            self.push("\"")?;
                        }
                        None => return Err(not_json(key)),
                    }
                    self.push(&style.key_separator)?;
                    self.json(&value.get_item(key)?, style, depth + 1)?;
                }
                self.json_end(keys.len(), style, depth)?;
                self.push("}")
            }
            ValueKind::Seq | ValueKind::Iterable => {
                self.push("[")?;
                let mut length = 0;
                for item in value.try_iter()? {
                    self.json_separator(length, style, depth + 1)?;
                    self.json(&item, style, depth + 1)?;
                    length += 1;
                }
                self.json_end(length, style, depth)?;
                self.push("]")
            }
            _ => Err(not_json(value)),
        }
    }

    /// What stands before the item at `index`.
    fn json_separator(&mut self, index: usize, style: &JsonStyle, depth: usize) -> Result<(), Error> {
        if index > 0 {
            self.push(&style.item_separator)?;
        }
        self.json_line(style, depth)
    }

    /// What stands before the closing bracket.
    fn json_end(&mut self, length: usize, style: &JsonStyle, depth: usize) -> Result<(), Error> {
        if length == 0 { Ok(()) } else { self.json_line(style, depth) }
    }

    fn json_line(&mut self, style: &JsonStyle, depth: usize) -> Result<(), Error> {
        let Some(indent) = &style.indent else { return Ok(()) };
        self.push("\n")?;
        (0..depth).try_for_each(|_| self.push(indent))
    }

    fn json_string(&mut self, text: &str, style: &JsonStyle) -> Result<(), Error> {
        self.push("\"")?;
        let mut rest = text;
        let is_plain = |c: char| !matches!(c, '"' | '\\' | '\0'..='\x1f') && (c.is_ascii() || !style.ensure_ascii);
        while let Some(at) = rest.find(|c| !is_plain(c)) {
            self.push(&rest[..at])?;
            let c = rest[at..].chars().next().unwrap_or_default();
            self.push(&escaped(c))?;
            rest = &rest[at + c.len_utf8()..];
        }
        self.push(rest)?;
        self.push("\"")
    }
}

/// The arguments of `json.dumps`.
pub(super) struct JsonStyle {
    pub(super) ensure_ascii: bool,
    /// What a level is indented by; without, all is on one line.
    pub(super) indent: Option<String>,
    pub(super) item_separator: String,
    pub(super) key_separator: String,
    pub(super) sort_keys: bool,
}

/// A character as JSON escapes it.
fn escaped(c: char) -> String {
    match c {
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        '\x08' => "\\b".into(),
        '\x0c' => "\\f".into(),
        c => c.encode_utf16(&mut [0; 2]).iter().fold(String::new(), |mut text, unit| {
            let _ = write!(text, "\\u{unit:04x}");
            text
        }),
    }
}

/// The text of a string literal.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut literal = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => literal.push_str("\\\\"),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            c if c == quote => literal.extend(['\\', c]),
            c if is_printable(c) => literal.push(c),
            c => {
                let _ = match u32::from(c) {
                    code @ ..0x100 => write!(literal, "\\x{code:02x}"),
                    code @ ..0x1_0000 => write!(literal, "\\u{code:04x}"),
                    code => write!(literal, "\\U{code:08x}"),
                };
            }
        }
    }
    literal.push(quote);
    literal
}

/// Whether a literal has the character as it is. Of the general categories that Python escapes (Cc, Cf, Cs, Co, Cn, Zl,
/// Zp, Zs), the unassigned code points aren't known here.
fn is_printable(c: char) -> bool {
    c == ' '
        || !(c.is_control()
            || c.is_whitespace()
            || matches!(
                c,
                '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}' | '\u{180e}'
            )
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
            || c >= '\u{f0000}')
}

/// `repr` of a number.
fn number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => repr_float(float, "nan", "inf"),
        _ => value.to_string(),
    }
}

fn json_number(value: &Value) -> String {
    match f64::try_from(value.clone()) {
        Ok(float) if !value.is_integer() => repr_float(float, "NaN", "Infinity"),
        _ => value.to_string(),
    }
}

/// The shortest digits that read back as the number, as Python lays them out.
fn repr_float(float: f64, nan: &str, infinity: &str) -> String {
    if float.is_nan() {
        return nan.into();
    }
    if float.is_infinite() {
        return format!("{}{infinity}", if float < 0.0 { "-" } else { "" });
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent @ (..-4 | 16..)) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => format!("{float:?}"),
    }
}

pub(super) fn check_depth(depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::new(ErrorKind::InvalidOperation, "a value is nested too deeply"));
    }
    Ok(())
}

pub(super) fn too_long(limit: usize) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a text is longer than {limit} bytes"))
}

fn not_json(value: &Value) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("{} cannot be written as JSON", value.kind()))
}
