//! The bytes that each token adds to a text.
//!
//! A tokenizer's decoder turns tokens into text as a whole. For the decoders of models that write texts, that is the
//! tokens' bytes, one after the other, but for white space at the start of the text: byte-level BPE spells bytes as
//! characters, SentencePiece spaces as `▁` and the bytes of rare characters as `<0xAB>`. Decoders that do more, such as
//! WordPiece's, are refused: models that write don't have them.
//!
//! Source: `decoders` of tokenizers, which is what these bytes must agree with.

use std::collections::BTreeSet;

use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{Decoder, DecoderWrapper, Tokenizer};

/// What the decoders of a tokenizer make of its tokens, one by one.
#[derive(Debug)]
pub struct TokenBytes {
    bytes: Vec<u8>,
    /// `[ids]`: where each token's bytes end.
    ends: Vec<usize>,
    /// Tokens that stand for no text: they aren't shown.
    special: BTreeSet<u32>,
    /// Tokens that were added to a trained vocabulary, special or not.
    added: BTreeSet<u32>,
    /// Ids that no token has.
    absent: BTreeSet<u32>,
    pub(super) leading: Leading,
}

/// What becomes of white space at the start of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leading {
    Kept,
    /// Up to so many spaces go.
    Stripped(usize),
    /// All spaces of the first token go, unless it was added.
    Dropped,
}

/// A token on its way through the decoders.
enum Piece {
    Text(String),
    Bytes(Vec<u8>),
}

impl TokenBytes {
    /// Reads the bytes of every token of `tokenizer`; an error is the name of what isn't supported.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Result<Self, String> {
        let decoders = decoders(tokenizer)?;
        let leading = leading(&decoders)?;
        let n_ids = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        let mut found = Self {
            bytes: Vec::new(),
            ends: Vec::with_capacity(n_ids),
            special: BTreeSet::new(),
            added: tokenizer.get_added_tokens_decoder().into_keys().collect(),
            absent: BTreeSet::new(),
            leading,
        };
        for id in 0..n_ids as u32 {
            match tokenizer.id_to_token(id) {
                Some(text) if tokenizer.get_added_vocabulary().is_special_token(&text) => {
                    found.special.insert(id);
                    found.bytes.extend(text.into_bytes());
                }
                Some(text) => found.bytes.extend(decode(text, &decoders)?),
                None => {
                    found.absent.insert(id);
                }
            }
            found.ends.push(found.bytes.len());
        }
        Ok(found)
    }

    /// The bytes of the token `id`, of a special one its name; none, if there is no such token.
    #[must_use]
    pub fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        match self.ends.get(id) {
            Some(&end) => &self.bytes[if id == 0 { 0 } else { self.ends[id - 1] }..end],
            None => &[],
        }
    }

    /// The text of the token `id`; the replacement character stands for what isn't UTF-8 by itself.
    #[must_use]
    pub fn text(&self, id: u32) -> String {
        String::from_utf8_lossy(self.bytes(id)).into_owned()
    }

    /// Whether the token `id` stands for no text.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// Ids are below this.
    #[must_use]
    pub fn n_ids(&self) -> usize {
        self.ends.len()
    }

    /// Whether the token `id` is a part of texts.
    pub(super) fn is_text(&self, id: u32) -> bool {
        (id as usize) < self.ends.len() && !self.special.contains(&id) && !self.absent.contains(&id)
    }

    /// Whether the token `id` was added to a trained vocabulary.
    pub(super) fn is_added(&self, id: u32) -> bool {
        self.added.contains(&id)
    }
}

/// The decoders, one after the other.
fn decoders(tokenizer: &Tokenizer) -> Result<Vec<&DecoderWrapper>, String> {
    match tokenizer.get_decoder() {
        Some(DecoderWrapper::Sequence(sequence)) => Ok(sequence.get_decoders().iter().collect()),
        Some(decoder) => Ok(vec![decoder]),
        None => Err("none".into()),
    }
}

/// What the decoders do to the start of a text; an error, if one does something else that takes several tokens.
fn leading(decoders: &[&DecoderWrapper]) -> Result<Leading, String> {
    let mut leading = Leading::Kept;
    let mut is_one = false;
    for decoder in decoders {
        match decoder {
            DecoderWrapper::Fuse(_) => is_one = true,
            DecoderWrapper::Metaspace(metaspace) if !is_one => {
                if metaspace.prepend_scheme != PrependScheme::Never {
                    leading = Leading::Dropped;
                }
            }
            DecoderWrapper::ByteLevel(_) | DecoderWrapper::ByteFallback(_) | DecoderWrapper::Replace(_) if !is_one => {}
            DecoderWrapper::Strip(strip)
                if is_one && leading == Leading::Kept && strip.content == ' ' && strip.stop == 0 =>
            {
                leading = Leading::Stripped(strip.start);
            }
            other => return Err(name(other)),
        }
    }
    Ok(leading)
}

/// The bytes of a token whose text in the vocabulary is `text`.
fn decode(text: String, decoders: &[&DecoderWrapper]) -> Result<Vec<u8>, String> {
    let mut piece = Piece::Text(text);
    for decoder in decoders {
        let Piece::Text(text) = piece else { break };
        piece = match decoder {
            DecoderWrapper::ByteLevel(_) => Piece::Bytes(spelled_bytes(&text).unwrap_or_else(|| text.into_bytes())),
            DecoderWrapper::ByteFallback(_) => match fallback_byte(&text) {
                Some(byte) => Piece::Bytes(vec![byte]),
                None => Piece::Text(text),
            },
            DecoderWrapper::Metaspace(metaspace) => Piece::Text(text.replace(metaspace.get_replacement(), " ")),
            // Each token by itself.
            DecoderWrapper::Replace(replace) => {
                Piece::Text(replace.decode_chain(vec![text]).map_err(|e| e.to_string())?.concat())
            }
            _ => Piece::Text(text),
        };
    }
    Ok(match piece {
        Piece::Text(text) => text.into_bytes(),
        Piece::Bytes(bytes) => bytes,
    })
}

/// The bytes that byte-level BPE spells as `text`; `None` if it is no such spelling.
///
/// Bytes that Latin-1 prints are spelled as it does, the others by the characters from U+0100 on. Source:
/// `bytes_to_unicode` of GPT-2.
fn spelled_bytes(text: &str) -> Option<Vec<u8>> {
    let is_printed = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let byte = |c: char| match u8::try_from(u32::from(c)) {
        Ok(byte) => Some(byte).filter(is_printed),
        Err(_) => (0..=u8::MAX).filter(|byte| !is_printed(byte)).nth(u32::from(c).checked_sub(0x100)? as usize),
    };
    text.chars().map(byte).collect()
}

/// The byte that `<0xAB>` stands for.
fn fallback_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}

fn name(decoder: &DecoderWrapper) -> String {
    let json = serde_json::to_value(decoder).unwrap_or_default();
    json["type"].as_str().unwrap_or("unknown").to_owned()
}
