//! The tokenizer of a GGUF file, rebuilt from what its metadata says of the vocabulary.
//!
//! A file has the tokens, their kinds and what ranks them, but not how texts are normalised and split: that follows
//! from two names, `tokenizer.ggml.model` for the kind of tokenizer and, where that is a byte-level BPE,
//! `tokenizer.ggml.pre` for the family whose regular expressions it takes. Names that aren't known are refused. The
//! reference is the tokenizer that the file was converted from, not what llama.cpp makes of the metadata: where the two
//! differ (Unicode normalisation, special tokens that take the white space before them), the original is followed.
//!
//! What no file records, and what is done: added tokens aren't restricted to whole words and leave white space alone,
//! but for a mask token outside WordPiece, which takes the white space before it, as in RoBERTa and its descendants.
//!
//! Source: `convert_hf_to_gguf.py` and `llama-vocab.cpp` of llama.cpp (<https://github.com/ggml-org/llama.cpp>);
//! `tokenizer.json` of the families for their regular expressions and normalisers.

mod byte_level;
pub(crate) mod pre_tokenizers;
mod sentence_piece;
mod template;
mod unigram;
mod vocabulary;
mod word_piece;

use std::collections::BTreeSet;

use gllm_core::Result;
use gllm_quant::gguf::Metadata;
use tokenizers::{AddedToken, Tokenizer};

use vocabulary::{Kind, MODEL, Vocabulary};

use crate::config::unsupported;

/// A tokenizer, and the ids of its tokens that stand for no text.
pub(crate) struct Rebuilt {
    pub(crate) tokenizer: Tokenizer,
    /// The token that ends a text.
    pub(crate) end: Option<u32>,
    /// Of those that begin and end a sequence, pad it, or are unknown.
    pub(crate) without_text: BTreeSet<u32>,
}

/// Rebuilds a file's tokenizer.
///
/// # Errors
/// [`gllm_core::LoadError`] that names the file and the key that is missing, malformed or not supported.
pub(crate) fn rebuild(metadata: &Metadata) -> Result<Rebuilt> {
    let vocabulary = Vocabulary::read(metadata)?;
    let mut tokenizer = match vocabulary.model() {
        "bert" => word_piece::build(&vocabulary)?,
        "gpt2" => byte_level::build(&vocabulary)?,
        "llama" => sentence_piece::build(&vocabulary)?,
        "t5" => unigram::build(&vocabulary)?,
        other => return Err(vocabulary.error(unsupported(MODEL, other, "bert, gpt2, llama, t5"))),
    };
    tokenizer.add_tokens(added_tokens(&vocabulary)).map_err(|e| vocabulary.failed(&e))?;
    let special = vocabulary.special();
    let without_text = [special.cls, special.bos, special.eos, special.sep, special.pad, special.unknown];
    Ok(Rebuilt { tokenizer, end: special.eos, without_text: without_text.into_iter().flatten().collect() })
}

/// The tokens that are found in a text before it is split.
fn added_tokens<'a>(vocabulary: &'a Vocabulary<'_>) -> impl Iterator<Item = AddedToken> + 'a {
    let is_word_piece = vocabulary.model() == "bert";
    let mask = vocabulary.special().mask;
    vocabulary.tokens().filter_map(move |(id, text, kind)| {
        let is_special = match kind {
            Kind::Control | Kind::Unknown => true,
            Kind::UserDefined => false,
            Kind::Normal | Kind::Unused | Kind::Byte => return None,
        };
        let token =
            AddedToken::from(if is_word_piece { word_piece::text(text, kind) } else { text.into() }, is_special);
        // Lower-cased like the text where the text is.
        let token = token.normalized(is_word_piece && !is_special);
        Some(token.lstrip(!is_word_piece && mask == Some(id)))
    })
}
