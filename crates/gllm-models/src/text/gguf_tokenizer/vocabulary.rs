//! The tokens that a GGUF file lists, with their kinds and roles: read once, and checked against each other.
//!
//! Every id is below the number of tokens, every list has an entry for each token, and no two tokens are the same text.
//!
//! One thing is mended: XLM-RoBERTa's mask token isn't in SentencePiece's own file, and the converter of llama.cpp
//! (`_xlmroberta_set_vocab`) writes a token without a use in its place; the key for its id says that it is the one.

use std::collections::HashMap;
use std::fmt::Display;

use gllm_core::{Error, LoadError, LoadProblem, Result};
use gllm_quant::gguf::Metadata;
use tokenizers::models::bpe::Vocab;

use crate::config::{bad_field, unsupported};

pub(super) const MODEL: &str = "tokenizer.ggml.model";
pub(super) const PRE: &str = "tokenizer.ggml.pre";
pub(super) const MERGES: &str = "tokenizer.ggml.merges";
pub(super) const UNKNOWN_ID: &str = "tokenizer.ggml.unknown_token_id";
const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
pub(super) const BOS_ID: &str = "tokenizer.ggml.bos_token_id";
pub(super) const EOS_ID: &str = "tokenizer.ggml.eos_token_id";
pub(super) const CLS_ID: &str = "tokenizer.ggml.cls_token_id";
// So spelled there.
pub(super) const SEP_ID: &str = "tokenizer.ggml.seperator_token_id";
const PAD_ID: &str = "tokenizer.ggml.padding_token_id";
const MASK_ID: &str = "tokenizer.ggml.mask_token_id";

/// XLM-RoBERTa's.
const MASK: &str = "<mask>";

/// What a token is for. Source: `llama_token_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    /// Stands for what no token is.
    Unknown,
    /// Stands for no text; found in a text all the same.
    Control,
    /// Found in a text before it is split.
    UserDefined,
    /// Fills the vocabulary up to the size of the model's.
    Unused,
    /// A byte of a character that no token is.
    Byte,
}

/// Tokens with a role.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Special {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) cls: Option<u32>,
    pub(super) sep: Option<u32>,
    pub(super) unknown: Option<u32>,
    pub(super) pad: Option<u32>,
    pub(super) mask: Option<u32>,
}

/// A file's tokens.
pub(super) struct Vocabulary<'a> {
    metadata: &'a Metadata,
    model: &'a str,
    tokens: Vec<&'a str>,
    /// `[tokens]`
    kinds: Vec<Kind>,
    special: Special,
}

impl<'a> Vocabulary<'a> {
    /// Reads the vocabulary of a file.
    pub(super) fn read(metadata: &'a Metadata) -> Result<Self> {
        let model = metadata.require_string(MODEL)?;
        let tokens = metadata.require_strings(TOKENS)?.iter().map(String::as_str).collect();
        let mut vocabulary = Self { metadata, model, tokens, kinds: Vec::new(), special: Special::default() };
        vocabulary.check_count()?;
        vocabulary.kinds = vocabulary.read_kinds()?;
        vocabulary.special = Special {
            bos: vocabulary.id(BOS_ID)?,
            eos: vocabulary.id(EOS_ID)?,
            cls: vocabulary.id(CLS_ID)?,
            sep: vocabulary.id(SEP_ID)?,
            unknown: vocabulary.id(UNKNOWN_ID)?,
            pad: vocabulary.id(PAD_ID)?,
            mask: vocabulary.id(MASK_ID)?,
        };
        if let Some(mask) = vocabulary.special.mask.filter(|&mask| vocabulary.kind(mask) == Kind::Unused) {
            vocabulary.tokens[mask as usize] = MASK;
            vocabulary.kinds[mask as usize] = Kind::Control;
        }
        vocabulary.check_texts()?;
        Ok(vocabulary)
    }

    /// The kind of tokenizer.
    pub(super) fn model(&self) -> &'a str {
        self.model
    }

    /// The file's metadata.
    pub(super) fn metadata(&self) -> &'a Metadata {
        self.metadata
    }

    /// Id, text and kind of each token, by id.
    pub(super) fn tokens(&self) -> impl DoubleEndedIterator<Item = (u32, &'a str, Kind)> + ExactSizeIterator + '_ {
        let tokens = self.tokens.iter().zip(&self.kinds).enumerate();
        tokens.map(|(id, (text, kind))| (id as u32, *text, *kind))
    }

    /// The text of a token whose id was checked.
    pub(super) fn text(&self, id: u32) -> &'a str {
        self.tokens.get(id as usize).copied().unwrap_or_default()
    }

    /// The kind of a token whose id was checked.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Unused)
    }

    /// Tokens with a role.
    pub(super) fn special(&self) -> Special {
        self.special
    }

    /// `id`, which the key `key` must give.
    pub(super) fn require(&self, id: Option<u32>, key: &str) -> Result<u32> {
        id.ok_or_else(|| self.error(bad_field(key, "a token's id", "no such key")))
    }

    /// The ids by the text, as the models of `tokenizers` take them.
    pub(super) fn ids(&self) -> Vocab {
        self.tokens().map(|(id, text, _)| (text.to_owned(), id)).collect()
    }

    /// `[tokens]`: what ranks each token.
    pub(super) fn scores(&self) -> Result<&'a [f32]> {
        let expected = || format!("{} numbers, one a token", self.tokens.len());
        match self.metadata.f32s(SCORES)? {
            None => Err(self.error(bad_field(SCORES, expected(), "no such key"))),
            Some(scores) if scores.len() != self.tokens.len() => {
                Err(self.error(bad_field(SCORES, expected(), scores.len())))
            }
            Some(scores) => match scores.iter().position(|score| !score.is_finite()) {
                Some(id) => {
                    Err(self.error(bad_field(SCORES, "finite numbers", format!("{} of token {id}", scores[id]))))
                }
                None => Ok(scores),
            },
        }
    }

    /// The bool of `key`, or what is meant where the file has none.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.metadata.bool(key)?.unwrap_or(default))
    }

    /// `problem` with this file.
    pub(super) fn error(&self, problem: LoadProblem) -> Error {
        LoadError::new(self.metadata.path(), problem).into()
    }

    /// What `tokenizers` objected to.
    pub(super) fn failed(&self, reason: &impl Display) -> Error {
        self.error(LoadProblem::Corrupt { format: "tokenizer".into(), reason: reason.to_string() })
    }

    fn check_count(&self) -> Result<()> {
        match self.tokens.len() {
            0 => Err(self.error(bad_field(TOKENS, "at least 1 token", 0))),
            n_tokens if u32::try_from(n_tokens).is_ok() => Ok(()),
            n_tokens => Err(self.error(bad_field(TOKENS, format!("at most {} tokens", u32::MAX), n_tokens))),
        }
    }

    fn check_texts(&self) -> Result<()> {
        let mut places = HashMap::with_capacity(self.tokens.len());
        for (id, text) in self.tokens.iter().enumerate() {
            if let Some(other) = places.insert(text, id) {
                let found = format!("{text:?} as {other} and as {id}");
                return Err(self.error(bad_field(TOKENS, "no token twice", found)));
            }
        }
        Ok(())
    }

    fn read_kinds(&self) -> Result<Vec<Kind>> {
        let n_tokens = self.tokens.len();
        let Some(numbers) = self.metadata.i32s(KINDS)? else { return Ok(vec![Kind::Normal; n_tokens]) };
        if numbers.len() != n_tokens {
            let expected = format!("{n_tokens} numbers, one a token");
            return Err(self.error(bad_field(KINDS, expected, numbers.len())));
        }
        let kind = |number: &i32| {
            Ok(match number {
                // 0 is "undefined", which llama.cpp takes as a token like any other.
                0 | 1 => Kind::Normal,
                2 => Kind::Unknown,
                3 => Kind::Control,
                4 => Kind::UserDefined,
                5 => Kind::Unused,
                6 => Kind::Byte,
                other => return Err(self.error(unsupported(KINDS, other.to_string(), "0 to 6"))),
            })
        };
        numbers.iter().map(kind).collect()
    }

    /// The token's id that `key` gives, where the file has the key.
    fn id(&self, key: &str) -> Result<Option<u32>> {
        let Some(id) = self.metadata.u32(key)? else { return Ok(None) };
        if (id as usize) < self.tokens.len() {
            return Ok(Some(id));
        }
        Err(self.error(bad_field(key, format!("an id below {}, the number of tokens", self.tokens.len()), id)))
    }
}
