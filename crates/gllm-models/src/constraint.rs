//! Text that keeps to a form: a JSON schema or a regular expression, held to token by token.
//!
//! A constraint reads the text so far and says which tokens may follow, such that the text can still be finished. A
//! token that ends a text may follow where the text is finished, and only there; other special tokens never. The work
//! for a form and for a token is limited, and what is beyond a limit is an error.
//!
//! The work is done by llguidance. Source: <https://github.com/guidance-ai/llguidance>.

mod vocabulary;

use std::fmt;
use std::sync::Arc;

use gllm_core::{InferenceError, InvalidConfig};
use llguidance::api::{GrammarInit, StopReason, TopLevelGrammar};
use llguidance::derivre::RegexAst;
use llguidance::earley::lexerspec::LexerSpec;
use llguidance::earley::{Grammar, SymbolProps};
use llguidance::{JsonCompileOptions, Matcher, panic_utils};
use serde_json::Value;

use crate::sampling::TokenMask;

pub use vocabulary::TokenVocabulary;

/// White space between the parts of a JSON text. Limited, because models that don't know how to go on write it without
/// end; the limit is wide enough for indentation.
const WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,64}";

/// A form, and where in it a text is.
pub struct Constraint {
    vocabulary: Arc<TokenVocabulary>,
    matcher: Matcher,
    allowed: TokenMask,
    /// Whether `allowed` is of the text as it is now.
    is_current: bool,
    /// Whether the only text of this form is the empty one.
    is_empty: bool,
}

// Derived, it would print the whole vocabulary.
impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint").field("stop_reason", &self.matcher.stop_reason()).finish_non_exhaustive()
    }
}

impl Constraint {
    /// JSON that `schema` describes, with white space or without, but not before it.
    ///
    /// # Errors
    /// [`InvalidConfig`] with llguidance's message, if the schema is malformed, has a keyword that isn't supported, is
    /// too large, or no text fulfils it.
    pub fn json_schema(schema: &Value, vocabulary: &Arc<TokenVocabulary>) -> Result<Self, InvalidConfig> {
        let mut grammar = schema.clone();
        if grammar.is_object() {
            let white_space = Some(WHITE_SPACE.to_owned());
            JsonCompileOptions { whitespace_pattern: white_space, ..JsonCompileOptions::default() }
                .apply_to(&mut grammar);
        }
        let grammar = GrammarInit::Serialized(TopLevelGrammar::from_json_schema(grammar));
        let expected = "a JSON schema that can be fulfilled";
        Self::new(grammar, vocabulary).map_err(|said| InvalidConfig::new("json_schema", expected, said))
    }

    /// A text that `pattern` matches as a whole. The syntax is that of the crate `regex`, without anchors and word
    /// boundaries in the middle, and without captures that are referred to.
    ///
    /// # Errors
    /// [`InvalidConfig`] with llguidance's message, if the pattern is malformed, too large, or matches no text.
    pub fn regex(pattern: &str, vocabulary: &Arc<TokenVocabulary>) -> Result<Self, InvalidConfig> {
        let expected = "a regular expression that matches some text";
        regex_grammar(pattern)
            .and_then(|grammar| Self::new(grammar, vocabulary))
            .map_err(|said| InvalidConfig::new("regex", expected, format!("`{pattern}`: {said}")))
    }

    fn new(grammar: GrammarInit, vocabulary: &Arc<TokenVocabulary>) -> Result<Self, String> {
        let matcher = vocabulary.matcher(grammar).map_err(|e| message(&e))?;
        let vocabulary = Arc::clone(vocabulary);
        let mut constraint =
            Self { vocabulary, matcher, allowed: TokenMask::new(), is_current: false, is_empty: false };
        // A form that no text has shows here.
        constraint.update()?;
        constraint.is_empty = constraint.allowed.ids().all(|id| constraint.vocabulary.ends().contains(&id));
        Ok(constraint)
    }

    /// The tokens that may follow.
    ///
    /// # Errors
    /// [`InferenceError::Constraint`] if none may, or to find them is too much work.
    pub fn allowed(&mut self) -> Result<&TokenMask, InferenceError> {
        if !self.is_current {
            self.update().map_err(|reason| InferenceError::Constraint { reason })?;
        }
        Ok(&self.allowed)
    }

    /// Adds the token `id`, one of those that are allowed, to the text.
    ///
    /// # Errors
    /// [`InferenceError::Constraint`] if it isn't allowed.
    pub fn accept(&mut self, id: u32) -> Result<(), InferenceError> {
        self.is_current = false;
        if self.is_ended() && self.vocabulary.ends().contains(&id) {
            return Ok(());
        }
        self.matcher.consume_token(id).map_err(|e| InferenceError::Constraint { reason: message(&e) })
    }

    /// Whether the text is finished; it may be that it can be longer.
    ///
    /// # Errors
    /// [`InferenceError::Constraint`] if an error came before.
    pub fn is_complete(&mut self) -> Result<bool, InferenceError> {
        if self.is_ended() {
            return Ok(true);
        }
        self.matcher.is_accepting().map_err(|e| InferenceError::Constraint { reason: message(&e) })
    }

    /// Whether the text is finished, and nothing but its end may follow.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.is_empty || (self.matcher.is_stopped() && self.matcher.stop_reason().is_ok())
    }

    fn update(&mut self) -> Result<(), String> {
        let allowed = self.matcher.compute_mask_or_eos().map_err(|e| message(&e))?;
        self.allowed.set_words(allowed.as_slice(), self.vocabulary.n_ids());
        self.is_current = true;
        Ok(())
    }
}

/// The grammar of one lexeme.
fn regex_grammar(pattern: &str) -> Result<GrammarInit, String> {
    let build = || {
        let mut lexer = LexerSpec::new()?;
        // Nothing is skipped.
        lexer.setup_lexeme_class(RegexAst::NoMatch)?;
        let text = RegexAst::Regex(pattern.to_owned());
        let lexeme = lexer.add_greedy_lexeme("text".into(), text, false, None, usize::MAX)?;
        let mut grammar = Grammar::new(None);
        let start = grammar.fresh_symbol_ext("start", SymbolProps { is_start: true, ..SymbolProps::default() });
        let text = grammar.fresh_symbol_ext("text", SymbolProps::default());
        grammar.make_terminal(text, lexeme, &lexer)?;
        grammar.add_rule(start, vec![text])?;
        Ok(GrammarInit::Internal(grammar, lexer))
    };
    panic_utils::catch_unwind(build).map_err(|e| message(&e))
}

/// What llguidance says, without the state of its parser, which follows in tags.
fn message(error: &impl fmt::Display) -> String {
    let said = format!("{error:#}");
    let said = said.split("\n<").next().unwrap_or_default();
    if said == StopReason::NoExtensionBias.to_string() { "nothing may follow".into() } else { said.into() }
}

#[cfg(test)]
mod tests;
