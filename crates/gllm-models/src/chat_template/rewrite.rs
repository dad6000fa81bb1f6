//! What is changed in the source of a template before it is compiled.
//!
//! - Line ends become `\n`, as Jinja2 has them.
//! - `{% generation %}`, which marks what a model is trained on, becomes a plain scope.
//! - Values go through a filter where they get a name (`set`, `for`, parameters of macros) and where they are operands of
//!   `*` and `~`: one of those named below. The engine meters its instructions and the strings that they make, but lists
//!   share their parts and are repeated lazily, so that a few instructions can make one of 2^100 elements, or one that is
//!   nested deeper than the stack; the filters refuse these.
//! - Statements that bind names in other ways (`with`, `call`, recursive loops) are refused.
//!
//! Invariant: no line break is added or removed, so that errors name the right line, and no white space of the output.
//! Source: the grammar of Jinja2 (<https://jinja.palletsprojects.com/templates/>).

use super::lexer::{Block, Kind, Token, next_block};

/// The filter of what gets a name.
pub(super) const BOUNDED: &str = "__bounded";
/// The filter of what is iterated over.
pub(super) const ITERATED: &str = "__iterated";
/// The filter of what becomes an attribute of a namespace.
pub(super) const STORED: &str = "__stored";
/// The filter of what is multiplied.
pub(super) const FACTOR: &str = "__factor";
/// The filter of what is joined to a text.
pub(super) const TEXT: &str = "__text";

/// The most names and operators in a block. The engine goes down its stack for each; a thousand take a sixth of the two
/// megabytes that threads have.
const MAX_OPERATORS: usize = 1000;
/// The most branches of conditions, of which the same holds.
const MAX_BRANCHES: usize = 1000;

/// Why a template was refused.
pub(super) struct Refused {
    /// Line, from 1.
    pub(super) line: usize,
    pub(super) reason: String,
}

/// The source that is compiled.
pub(super) fn rewrite(source: &str) -> Result<String, Refused> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut output = String::with_capacity(source.len() * 2);
    let mut position = 0;
    let mut branches = 0;
    while let Some(block) = next_block(&source, position) {
        let refuse =
            |reason: &str| Refused { line: 1 + source[..block.start].matches('\n').count(), reason: reason.into() };
        let nests =
            |token: &&Token<'_>| !matches!((token.kind, token.text), (Kind::Text | Kind::Number, _) | (_, "," | ":"));
        if block.tokens.iter().filter(nests).count() > MAX_OPERATORS {
            return Err(refuse("an expression is too long"));
        }
        branches += usize::from(block.statement == Some("elif"));
        if branches > MAX_BRANCHES {
            return Err(refuse("there are too many branches"));
        }
        let mut edits = Edits::default();
        // First: where two filters end together, that of an operand comes before that of the whole.
        edits.operands(&block.tokens);
        match block.statement {
            Some(name @ ("generation" | "endgeneration")) => {
                let [token] = &block.tokens[..] else { return Err(refuse("`generation` takes no arguments")) };
                edits.replace(token, if name == "generation" { "with" } else { "endwith" });
            }
            Some("set") => edits.set(&block.tokens),
            Some("for") => edits.for_loop(&block.tokens).map_err(refuse)?,
            Some("macro") => edits.insert(block.end, parameters(&block, &source)),
            Some(name @ ("with" | "call")) => return Err(refuse(&format!("`{name}` isn't supported"))),
            _ => {}
        }
        position = edits.apply(&source, position, block.end, &mut output);
    }
    output.push_str(&source[position..]);
    Ok(output)
}

/// Changes of the source, by their places.
#[derive(Default)]
struct Edits(Vec<(usize, usize, String)>);

impl Edits {
    fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.0.push((at, at, text.into()));
    }

    fn replace(&mut self, token: &Token<'_>, text: &str) {
        self.0.push((token.start, token.end(), text.into()));
    }

    /// Puts all of `tokens` through a filter.
    fn filter(&mut self, tokens: &[Token<'_>], filter: &str) {
        if let [first, ..] = tokens
            && let [.., last] = tokens
        {
            self.insert(first.start, "(");
            self.insert(last.end(), format!(")|{filter}"));
        }
    }

    /// `set target = value`; one without a value names a text, which the engine meters.
    fn set(&mut self, tokens: &[Token<'_>]) {
        if let Some(equals) = find(tokens, |token| token.text == "=") {
            let is_attribute = tokens[..equals].iter().any(|token| token.text == ".");
            self.filter(&tokens[equals + 1..], if is_attribute { STORED } else { BOUNDED });
        }
    }

    /// `for target in values if condition`
    fn for_loop(&mut self, tokens: &[Token<'_>]) -> Result<(), &'static str> {
        if find(tokens, |token| token.is_name("recursive")).is_some() {
            return Err("recursive loops aren't supported");
        }
        if let Some(within) = find(tokens, |token| token.is_name("in")) {
            let values = &tokens[within + 1..];
            let end = find(values, |token| token.is_name("if")).unwrap_or(values.len());
            self.filter(&values[..end], ITERATED);
        }
        Ok(())
    }

    /// The operands of `*` and `~`, wherever they are. A product needs no [`TEXT`]: it is no list.
    fn operands(&mut self, tokens: &[Token<'_>]) {
        for place in 1..tokens.len() {
            let (before, after) = (&tokens[..place], &tokens[place + 1..]);
            let (filter, is_alone): (_, fn(Option<&Token<'_>>) -> bool) = match tokens[place].text {
                // Not one that stands before arguments.
                "*" if !matches!(before[place - 1].text, "(" | ",") => (FACTOR, |_| true),
                "~" => {
                    (TEXT, |next| !next.is_some_and(|next| matches!(next.text, "*" | "/" | "//" | "%" | "**" | "-")))
                }
                _ => continue,
            };
            if is_alone(before_operand(before)) {
                self.insert(before[place - 1].end(), format!("|{filter}"));
            }
            let operand = operand(after);
            let end = operand.last().map_or(0, Token::end);
            if is_alone(after.iter().find(|token| token.start >= end)) {
                self.filter(operand, filter);
            }
        }
    }

    /// Copies `source[from..to]`, changed, and says how far it came.
    fn apply(mut self, source: &str, from: usize, to: usize, output: &mut String) -> usize {
        self.0.sort_by_key(|(start, _, text)| (*start, text.starts_with('(')));
        let mut position = from;
        for (start, end, text) in self.0 {
            output.push_str(&source[position..start]);
            output.push_str(&text);
            position = end;
        }
        output.push_str(&source[position..to]);
        to
    }
}

/// The first token outside all brackets that `is` says so of.
fn find(tokens: &[Token<'_>], is: impl Fn(&Token<'_>) -> bool) -> Option<usize> {
    tokens.iter().position(|token| token.depth == 0 && is(token))
}

/// The operand that `tokens` begin with, after its signs: a value with what follows it (attributes, items, calls,
/// filters).
fn operand<'t, 's>(tokens: &'t [Token<'s>]) -> &'t [Token<'s>] {
    let signs = tokens.iter().take_while(|token| matches!(token.text, "-" | "+")).count();
    let tokens = &tokens[signs..];
    let mut end = group(tokens);
    while let Some(token) = tokens.get(end) {
        end += match token.text {
            "." | "|" => 2,
            "(" | "[" => group(&tokens[end..]),
            _ => break,
        };
    }
    &tokens[..end.min(tokens.len())]
}

/// The token before the operand that `tokens` end with.
fn before_operand<'t, 's>(mut tokens: &'t [Token<'s>]) -> Option<&'t Token<'s>> {
    while let [before @ .., last] = tokens {
        // What follows a value belongs to it.
        let is_open = |token: &Token<'_>| token.depth == last.depth && !token.is_closing();
        let before = match before.iter().rposition(is_open).filter(|_| last.is_closing()) {
            Some(open) => &before[..open],
            None => before,
        };
        tokens = match before {
            [before @ .., Token { text: "." | "|", .. }] => before,
            [.., token] if last.is_closing() && token.ends_value() => before,
            [.., token] if last.kind == Kind::Text && token.kind == Kind::Text => before,
            _ => return before.last(),
        };
    }
    None
}

/// How many tokens the value takes that `tokens` begin with: one, or what is between brackets and these.
fn group(tokens: &[Token<'_>]) -> usize {
    let Some(first) = tokens.first() else { return 0 };
    if !matches!(first.text, "(" | "[" | "{") {
        // Texts beside each other are one.
        return tokens.iter().take_while(|token| token.kind == Kind::Text).count().max(1);
    }
    let close = tokens.iter().skip(1).position(|token| token.depth == first.depth && token.is_closing());
    close.map_or(tokens.len(), |close| close + 2)
}

/// Statements for behind the head of a macro that put its parameters through [`BOUNDED`]. The last one ends as the head
/// does, which decides on the white space that follows.
fn parameters(block: &Block<'_>, source: &str) -> String {
    let starts = |place: &usize| block.tokens[*place].depth == 0 && block.tokens[*place].text == "(";
    let Some(open) = (0..block.tokens.len()).find(starts) else { return String::new() };
    let end = &source[block.tokens_end..block.end];
    let inner = &block.tokens[open..];
    let names = inner.windows(2).filter(|pair| {
        let begins = (pair[0].text == "(" && pair[0].depth == 0) || (pair[0].text == "," && pair[0].depth == 1);
        begins && pair[1].kind == Kind::Name
    });
    names.fold(String::new(), |text, pair| text + &format!("{{% set {0} = {0}|{BOUNDED} {end}", pair[1].text))
}
