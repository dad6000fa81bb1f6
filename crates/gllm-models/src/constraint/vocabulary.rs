//! A model's tokens as constraints need them: a tree of their bytes, built once.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use gllm_core::InvalidConfig;
use llguidance::api::{GrammarInit, ParserLimits};
use llguidance::toktrie::{ApproximateTokEnv, INVALID_TOKEN, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use crate::text::TokenBytes;

/// Longer tokens aren't chosen; the tree can't hold them.
const LONGEST: usize = 1000;

/// Bytes of all tokens together that the tree can hold: it has places for 2^22 nodes.
const MOST_BYTES: usize = 4_000_000;

/// The tokens of a model, for [`Constraint`](super::Constraint)s.
pub struct TokenVocabulary {
    factory: ParserFactory,
    ends: BTreeSet<u32>,
}

// Derived, it isn't.
impl fmt::Debug for TokenVocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVocabulary").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl TokenVocabulary {
    /// The tree of `tokens`, of which `ends` are those that end a text. Takes some tenths of a second.
    ///
    /// # Errors
    /// [`InvalidConfig`] if there are too many tokens.
    pub fn new(tokens: &TokenBytes, ends: &BTreeSet<u32>) -> Result<Self, InvalidConfig> {
        let ids = 0..tokens.n_ids() as u32;
        let ends: BTreeSet<u32> = ends.iter().copied().filter(|end| ids.contains(end)).collect();
        let word = |id: u32| {
            let bytes = tokens.bytes(id);
            if bytes.len() > LONGEST {
                Vec::new()
            } else if tokens.is_special(id) || ends.contains(&id) {
                // No text has this byte, so no constraint allows them as text.
                [&[TokTrie::SPECIAL_TOKEN_MARKER], bytes].concat()
            } else if bytes.first() == Some(&TokTrie::SPECIAL_TOKEN_MARKER) {
                Vec::new()
            } else {
                bytes.to_vec()
            }
        };
        let words: Vec<Vec<u8>> = ids.clone().map(word).collect();
        let n_bytes: usize = words.iter().map(Vec::len).sum();
        let expected = || format!("tokens of at most {MOST_BYTES} bytes together, for output in a form");
        if n_bytes > MOST_BYTES {
            return Err(InvalidConfig::new("vocabulary", expected(), n_bytes.to_string()));
        }

        let end = ends.first().copied().unwrap_or(INVALID_TOKEN);
        let mut trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, end), &words);
        if !ends.is_empty() {
            trie = trie.with_eos_tokens(&ends.iter().copied().collect::<Vec<_>>());
        }
        // Approximate: the model decides how a text is cut into tokens.
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let mut factory =
            ParserFactory::new_simple(&env).map_err(|e| InvalidConfig::new("vocabulary", expected(), e.to_string()))?;
        factory.quiet();
        // States take 1 to 2 KB each.
        *factory.limits_mut() =
            ParserLimits { max_lexer_states: 50_000, verbose_errors: false, ..ParserLimits::default() };
        Ok(Self { factory, ends })
    }

    /// Ids are below this.
    pub(super) fn n_ids(&self) -> usize {
        self.factory.tok_env().tok_trie().vocab_size()
    }

    /// The tokens that end a text.
    pub(super) fn ends(&self) -> &BTreeSet<u32> {
        &self.ends
    }

    /// What matches texts with `grammar`; an error is llguidance's message.
    pub(super) fn matcher(&self, grammar: GrammarInit) -> Result<Matcher, String> {
        let parser = self.factory.create_parser_from_init_default(grammar).map_err(|e| format!("{e:#}"))?;
        Ok(Matcher::new(Ok(parser)))
    }
}
