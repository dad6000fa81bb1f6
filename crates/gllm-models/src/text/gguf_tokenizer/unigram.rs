//! SentencePiece's Unigram, as T5 and XLM-RoBERTa have it: of all ways to split a text, the likeliest.
//!
//! What the converter does to XLM-RoBERTa's vocabulary is undone: it fills ids that SentencePiece's own file lacks with
//! tokens that are never found, the mask token among them, and a score of -10000, which would change what an unknown
//! character costs. Source: `_xlmroberta_set_vocab` in `convert_hf_to_gguf.py` of llama.cpp; `SpmConverter` of
//! transformers for the normaliser.

use gllm_core::Result;
use gllm_quant::gguf::{Array, Value};
use tokenizers::Tokenizer;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NormalizerWrapper, Replace, Sequence, Strip};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};

use super::charsmap;
use super::template::{self, Added};
use super::vocabulary::{Kind, UNKNOWN_ID, Vocabulary};
use crate::config::bad_field;

const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
const REMOVE_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";
const SPACE: char = '\u{2581}';

pub(super) fn build(vocabulary: &Vocabulary<'_>) -> Result<Tokenizer> {
    let unknown = vocabulary.require(vocabulary.special().unknown, UNKNOWN_ID)?;
    let has_bytes = (0..=u8::MAX).all(|byte| vocabulary.tokens().any(|(_, text, _)| text == format!("<0x{byte:02X}>")));
    let model = Unigram::from(pieces(vocabulary)?, Some(unknown as usize), has_bytes);

    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    if let Some(bytes) = charsmap(vocabulary)? {
        let table = charsmap::parse(bytes).map_err(|reason| {
            vocabulary.error(bad_field(CHARSMAP, "a table of SentencePiece", reason))
        })?;
        normalizers.push(table.into());
    }
    if vocabulary.flag(REMOVE_SPACES, false)? {
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
    let used = |(id, _, kind): &(u32, &str, Kind)| *kind != Kind::Unused || vocabulary.is_lost_mask(*id);
    let n_pieces = vocabulary.tokens().rfind(used).map_or(0, |(id, ..)| id as usize + 1);
    let lowest = vocabulary.tokens().filter(|(_, _, kind)| *kind != Kind::Unused);
    let lowest = lowest.map(|(id, ..)| scores[id as usize]).fold(0.0, f32::min);
    let piece = |(id, text, kind): (u32, &str, Kind)| {
        let score = if kind == Kind::Unused { lowest } else { scores[id as usize] };
        (text.to_owned(), f64::from(score))
    };
    Ok(vocabulary.tokens().take(n_pieces).map(piece).collect())
}

fn charsmap<'a>(vocabulary: &Vocabulary<'a>) -> Result<Option<&'a [u8]>> {
    match vocabulary.metadata().get(CHARSMAP) {
        None => Ok(None),
        Some(Value::Array(Array::U8(bytes))) => Ok(Some(bytes)),
        Some(Value::Array(Array::I8(bytes))) => Ok(Some(bytemuck::cast_slice(bytes))),
        Some(other) => Err(vocabulary.error(bad_field(CHARSMAP, "an array of UINT8 or INT8", other))),
    }
}
