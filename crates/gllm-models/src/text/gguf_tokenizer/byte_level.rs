//! Byte-level BPE, as GPT-2 brought it.
//!
//! The family that `tokenizer.ggml.pre` names says how texts are normalised and split before bytes are merged.

use gllm_core::Result;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{SplitDelimiterBehavior, Tokenizer};

use super::pre_tokenizers::Family;
use super::template;
use super::vocabulary::{MERGES, PRE, Vocabulary};
use crate::config::{bad_field, unsupported};

const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";

pub(super) fn build(vocabulary: &Vocabulary<'_>) -> Result<Tokenizer> {
    let name = vocabulary.metadata().string(PRE)?.unwrap_or("default");
    let Some(family) = Family::of(name) else {
        return Err(vocabulary.error(unsupported(PRE, name, &Family::names())));
    };
    let ids = vocabulary.ids();
    let merges = merges(vocabulary, &ids)?;
    let model = BPE::builder().vocab_and_merges(ids, merges).ignore_merges(family.ignores_merges).build();

    let mut splits: Vec<PreTokenizerWrapper> = Vec::new();
    for &pattern in family.splits {
        let split = Split::new(SplitPattern::Regex(pattern.into()), SplitDelimiterBehavior::Isolated, false);
        splits.push(split.map_err(|e| vocabulary.failed(&e))?.into());
    }
    let add_prefix_space = vocabulary.flag(ADD_SPACE, false)?;
    splits.push(ByteLevel::new(add_prefix_space, true, false).into());

    let mut tokenizer = Tokenizer::new(model.map_err(|e| vocabulary.failed(&e))?);
    tokenizer
        .with_normalizer(family.is_composed.then_some(NFC))
        .map_err(|e| vocabulary.failed(&e))?
        .with_pre_tokenizer(Some(Sequence::new(splits)))
        .with_decoder(Some(ByteLevel::default()))
        .with_post_processor(template::of_flags(vocabulary, family.adds)?);
    Ok(tokenizer)
}

/// The merges by rank, checked: both parts and what they become are tokens.
fn merges(vocabulary: &Vocabulary<'_>, ids: &Vocab) -> Result<Merges> {
    let problem = |rank: usize, merge: &str, what: &str| {
        vocabulary.error(bad_field(&format!("{MERGES}[{rank}]"), what, format!("{merge:?}")))
    };
    let Some(merges) = vocabulary.metadata().strings(MERGES)? else {
        return Err(vocabulary.error(bad_field(MERGES, "an array of STRING", "no such key")));
    };
    let parse = |(rank, merge): (usize, &String)| {
        // A token of this kind has no space in it: spaces are written `Ġ`.
        let parts = merge.split_once(' ').filter(|(a, b)| !a.is_empty() && !b.is_empty() && !b.contains(' '));
        let (a, b) = parts.ok_or_else(|| problem(rank, merge, "two tokens with a space between them"))?;
        if !ids.contains_key(a) || !ids.contains_key(b) {
            return Err(problem(rank, merge, "two tokens of the vocabulary"));
        }
        if !ids.contains_key(&format!("{a}{b}")) {
            return Err(problem(rank, merge, "two tokens that become one of the vocabulary"));
        }
        Ok((a.to_owned(), b.to_owned()))
    };
    merges.iter().enumerate().map(parse).collect()
}
