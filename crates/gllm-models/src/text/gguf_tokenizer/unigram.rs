//! SentencePiece's Unigram, as T5 and XLM-RoBERTa have it: of all ways to split a text, the likeliest.
//!
//! Tokens that only fill the vocabulary have a score of -10000 in files, which would change what an unknown character
//! costs: it costs 10 more than the unlikeliest token. They are left out at the end, and elsewhere no more unlikely
//! than others. Source: `_xlmroberta_set_vocab` of llama.cpp's converter; `SpmConverter` of transformers for the
//! normaliser.

use gllm_core::Result;
use gllm_quant::gguf::{Array, Value};
use tokenizers::Tokenizer;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NormalizerWrapper, Replace, Sequence, Strip};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};

use super::template::{self, Added};
use super::vocabulary::{Kind, UNKNOWN_ID, Vocabulary};
use crate::config::bad_field;
use crate::text::charsmap;

const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
const REMOVE_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";
const SPACE: char = '\u{2581}';

pub(super) fn build(vocabulary: &Vocabulary<'_>) -> Result<Tokenizer> {
    let unknown = vocabulary.require(vocabulary.special().unknown, UNKNOWN_ID)?;
    // Files that were converted from tokenizer.json don't call these tokens bytes.
    let ids = vocabulary.ids();
    let has_bytes = (0..=u8::MAX).all(|byte| ids.contains_key(&format!("<0x{byte:02X}>")));
    let model = Unigram::from(pieces(vocabulary)?, Some(unknown as usize), has_bytes);

    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    if let Some(bytes) = charsmap(vocabulary)? {
        let table = charsmap::parse(bytes)
            .map_err(|reason| vocabulary.error(bad_field(CHARSMAP, "a table of SentencePiece", reason)))?;
        normalizers.push(table.into());
    }
    // Converted from tokenizer.json, files have the value of another setting here. They are XLM-RoBERTa's, which always
    // removes spaces, and has a mask token, which T5 hasn't.
    if vocabulary.flag(REMOVE_SPACES, false)? || vocabulary.special().mask.is_some() {
        let runs = Replace::new(ReplacePattern::Regex(" {2,}".into()), SPACE.to_string());
        normalizers.push(Strip::new(false, true).into());
        normalizers.push(runs.map_err(|e| vocabulary.failed(&e))?.into());
    }
    let scheme = if vocabulary.flag(ADD_SPACE, true)? { PrependScheme::Always } else { PrependScheme::Never };
    let spaces = Metaspace::new(SPACE, scheme, true);

    let mut tokenizer = Tokenizer::new(model.map_err(|e| vocabulary.failed(&e))?);
    tokenizer
        .with_normalizer(Some(Sequence::new(normalizers)))
        .map_err(|e| vocabulary.failed(&e))?
        .with_pre_tokenizer(Some(spaces.clone()))
        .with_decoder(Some(spaces))
        .with_post_processor(template::of_flags(vocabulary, Added { eos: true, ..Added::default() })?);
    Ok(tokenizer)
}

/// Texts and scores, as they were before the conversion.
fn pieces(vocabulary: &Vocabulary<'_>) -> Result<Vec<(String, f64)>> {
    let scores = vocabulary.scores()?;
    let score = |id: u32| scores[id as usize];
    let used = || vocabulary.tokens().filter(|(.., kind)| *kind != Kind::Unused).map(|(id, ..)| id);
    // A mended mask token has the score of those that fill the vocabulary.
    let lowest = used().filter(|&id| vocabulary.special().mask != Some(id)).map(score).fold(0.0, f32::min);
    let n_pieces = used().max().map_or(0, |last| last as usize + 1);
    let pieces = vocabulary.tokens().take(n_pieces);
    Ok(pieces.map(|(id, text, _)| (text.to_owned(), score(id).max(lowest).into())).collect())
}

fn charsmap<'a>(vocabulary: &Vocabulary<'a>) -> Result<Option<&'a [u8]>> {
    match vocabulary.metadata().get(CHARSMAP) {
        None => Ok(None),
        Some(Value::Array(Array::U8(bytes))) => Ok(Some(bytes)),
        Some(Value::Array(Array::I8(bytes))) => Ok(Some(bytemuck::cast_slice(bytes))),
        Some(other) => Err(vocabulary.error(bad_field(CHARSMAP, "an array of UINT8 or INT8", other))),
    }
}
