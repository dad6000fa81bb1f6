//! SentencePiece's BPE, as LLaMA has it: pairs are merged into the token of the highest score.
//!
//! A list of merges says the same: for every token, each way to make it of two others, by its score, those of equal
//! score by the longer first part. Spaces are `▁`, one is put before a text, and a character that is no token becomes
//! the tokens of its bytes. Source: `SpmConverter` of transformers.

use std::cmp::Reverse;

use gllm_core::Result;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as Decoders;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::normalizers::{NormalizerWrapper, Prepend, Replace, Sequence as Normalizers};
use tokenizers::{DecoderWrapper, Tokenizer};

use super::template::{self, Added};
use super::vocabulary::{Kind, UNKNOWN_ID, Vocabulary};

const SPACE: &str = "\u{2581}";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";

pub(super) fn build(vocabulary: &Vocabulary<'_>) -> Result<Tokenizer> {
    let unknown = vocabulary.require(vocabulary.special().unknown, UNKNOWN_ID)?;
    let ids = vocabulary.ids();
    let merges = merges(vocabulary, &ids)?;
    let model = BPE::builder()
        .vocab_and_merges(ids, merges)
        .unk_token(vocabulary.text(unknown).into())
        .fuse_unk(true)
        .byte_fallback(true)
        .build();

    let failed = |e: &tokenizers::Error| vocabulary.failed(e);
    let adds_space = vocabulary.flag(ADD_SPACE, true)?;
    let mut normalizers: Vec<NormalizerWrapper> = Vec::new();
    if adds_space {
        normalizers.push(Prepend::new(SPACE.into()).into());
    }
    normalizers.push(Replace::new(" ", SPACE).map_err(|e| failed(&e))?.into());
    let mut decoders: Vec<DecoderWrapper> =
        vec![Replace::new(SPACE, " ").map_err(|e| failed(&e))?.into(), ByteFallback::new().into(), Fuse::new().into()];
    if adds_space {
        decoders.push(Strip::new(' ', 1, 0).into());
    }

    let mut tokenizer = Tokenizer::new(model.map_err(|e| failed(&e))?);
    tokenizer
        .with_normalizer(Some(Normalizers::new(normalizers)))
        .map_err(|e| failed(&e))?
        .with_decoder(Some(Decoders::new(decoders)))
        .with_post_processor(template::of_flags(vocabulary, Added { bos: true, ..Added::default() })?);
    Ok(tokenizer)
}

fn merges(vocabulary: &Vocabulary<'_>, ids: &Vocab) -> Result<Merges> {
    let scores = vocabulary.scores()?;
    let is_text = |id: u32| vocabulary.kind(id) == Kind::Normal;
    let part = |text: &str| ids.get(text).copied().filter(|&id| is_text(id));
    let mut merges = Vec::new();
    for (id, token, _) in vocabulary.tokens().filter(|(id, ..)| is_text(*id)) {
        for (border, _) in token.char_indices().skip(1) {
            let (a, b) = token.split_at(border);
            if part(a).is_some() && part(b).is_some() {
                merges.push((scores[id as usize], a, b));
            }
        }
    }
    // Finite, as `scores` makes sure.
    merges.sort_by(|x, y| y.0.total_cmp(&x.0).then_with(|| Reverse(x.1.len()).cmp(&Reverse(y.1.len()))));
    Ok(merges.into_iter().map(|(_, a, b)| (a.to_owned(), b.to_owned())).collect())
}
