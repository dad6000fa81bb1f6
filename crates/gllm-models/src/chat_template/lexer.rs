//! The blocks and tokens of a template: as much of Jinja's lexical grammar as rewriting a template takes.
//!
//! Invariant: blocks end where Jinja2 and the engine say, outside strings and brackets. Source: Jinja2's `lexer.py`.

/// `{{ … }}` or `{% … %}`.
pub(super) struct Block<'s> {
    /// Where its `{` is.
    pub(super) start: usize,
    /// Behind its last token.
    pub(super) tokens_end: usize,
    /// Behind its `}`.
    pub(super) end: usize,
    /// The name that a statement begins with.
    pub(super) statement: Option<&'s str>,
    /// What is inside, with the name of the statement.
    pub(super) tokens: Vec<Token<'s>>,
}

/// What a token is.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Name,
    Text,
    Number,
    Operator,
}

/// A token of an expression or a statement.
pub(super) struct Token<'s> {
    pub(super) kind: Kind,
    pub(super) text: &'s str,
    /// Its place in the source.
    pub(super) start: usize,
    /// How many brackets are open around it; an opening or closing bracket isn't inside itself.
    pub(super) depth: usize,
}

impl Token<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        self.kind == Kind::Name && self.text == name
    }

    /// Whether a bracket behind it is of a call or an item, and no value of its own.
    pub(super) fn ends_value(&self) -> bool {
        let is_keyword = matches!(self.text, "and" | "elif" | "else" | "if" | "in" | "is" | "not" | "or");
        self.is_closing() || self.kind == Kind::Text || (self.kind == Kind::Name && !is_keyword)
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.text, ")" | "]" | "}")
    }
}

/// The first block that begins at `from` or behind it. Comments and raw text are passed over.
pub(super) fn next_block(source: &str, mut from: usize) -> Option<Block<'_>> {
    loop {
        let start = from
            + source
                .get(from..)?
                .match_indices('{')
                .map(|(at, _)| at)
                .find(|at| matches!(source.as_bytes().get(from + at + 1), Some(b'{' | b'%' | b'#')))?;
        match source.as_bytes()[start + 1] {
            b'#' => from = start + 2 + source[start + 2..].find("#}")? + 2,
            b'%' => match tag(&source[start + 2..], "raw") {
                Some(length) => from = end_of_raw(source, start + 2 + length)?,
                None => return Some(block(source, start, "%}")),
            },
            _ => return Some(block(source, start, "}}")),
        }
    }
}

/// Behind the statement that ends raw text.
fn end_of_raw(source: &str, from: usize) -> Option<usize> {
    source[from..].match_indices("{%").find_map(|(at, _)| {
        let at = from + at + 2;
        tag(&source[at..], "endraw").map(|length| at + length)
    })
}

/// The length of a statement that is `name` alone, if that is what `text`, behind `{%`, begins with.
fn tag(text: &str, name: &str) -> Option<usize> {
    let unsigned = |text: &str| text.strip_prefix(['-', '+']).unwrap_or(text).len();
    let rest = text[text.len() - unsigned(text)..].trim_ascii_start().strip_prefix(name)?.trim_ascii_start();
    let rest = rest[rest.len() - unsigned(rest)..].strip_prefix("%}")?;
    Some(text.len() - rest.len())
}

/// The block at `start`. One that has no end takes all that follows.
fn block<'s>(source: &'s str, start: usize, close: &str) -> Block<'s> {
    let bytes = source.as_bytes();
    let mut position = start + 2 + usize::from(matches!(bytes.get(start + 2), Some(b'-' | b'+')));
    let mut tokens: Vec<Token<'s>> = Vec::new();
    let mut depth: usize = 0;
    let (tokens_end, end) = loop {
        let rest = &source[position..];
        if rest.is_empty() {
            break (position, position);
        }
        let signed = usize::from(rest.starts_with(['-', '+']));
        if depth == 0 && rest[signed..].starts_with(close) {
            break (position, position + signed + close.len());
        }
        let (kind, length) = lex(rest);
        let Some(kind) = kind else {
            position += length;
            continue;
        };
        let text = &rest[..length];
        let opens = matches!(text, "(" | "[" | "{");
        let closes = matches!(text, ")" | "]" | "}");
        depth = depth.saturating_sub(usize::from(closes));
        tokens.push(Token { kind, text, start: position, depth });
        depth += usize::from(opens);
        position += length;
    };
    let statement = tokens.first().filter(|first| close == "%}" && first.kind == Kind::Name).map(|first| first.text);
    Block { start, tokens_end, end, statement, tokens }
}

/// The kind and the length of what `text`, which isn't empty, begins with; white space has no kind.
fn lex(text: &str) -> (Option<Kind>, usize) {
    let first = text.as_bytes()[0];
    let run = |is: fn(char) -> bool| text.find(|c| !is(c)).unwrap_or(text.len());
    match first {
        b'"' | b'\'' => (Some(Kind::Text), string(text.as_bytes())),
        b'0'..=b'9' => {
            let digits = run(|c| c.is_ascii_alphanumeric() || c == '_');
            let (before, after) = text.split_at(digits);
            let is_exponent =
                before.ends_with(['e', 'E']) && !before.contains(['x', 'X']) && after.starts_with(['-', '+']);
            (Some(Kind::Number), if is_exponent { digits + 1 + leading_digits(&after[1..]) } else { digits })
        }
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => (Some(Kind::Name), run(|c| c.is_ascii_alphanumeric() || c == '_')),
        _ if first.is_ascii_whitespace() => (None, run(|c| c.is_ascii_whitespace())),
        _ => {
            let two = ["**", "//", "==", "!=", "<=", ">="].iter().any(|operator| text.starts_with(operator));
            let length = if two { 2 } else { text.chars().next().map_or(1, char::len_utf8) };
            (Some(Kind::Operator), length)
        }
    }
}

fn leading_digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

/// The length of the string literal that `bytes` begin with.
fn string(bytes: &[u8]) -> usize {
    let mut position = 1;
    while let Some(byte) = bytes.get(position) {
        position += match byte {
            b'\\' => 2,
            byte if *byte == bytes[0] => return position + 1,
            _ => 1,
        };
    }
    bytes.len()
}
