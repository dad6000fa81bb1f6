//! BERT's WordPiece.
//!
//! Files write its vocabulary with "phantom spaces": `▁word` for what BERT calls `word`, and `piece` for `##piece`;
//! tokens that stand for no text as they are. Whether texts are lower-cased is in files of late. In the others it
//! follows from the tokens: every vocabulary that has upper-case letters has the Latin ones. Accents are stripped where
//! texts are lower-cased, unless the file says otherwise. Words of more than 100 characters are unknown: every
//! published BERT has that limit.

use gllm_core::Result;
use tokenizers::Tokenizer;
use tokenizers::decoders::wordpiece::WordPiece as Decoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;

use super::template::Template;
use super::vocabulary::{CLS_ID, Kind, SEP_ID, UNKNOWN_ID, Vocabulary};

const LOWERCASE: &str = "tokenizer.ggml.normalizer.lowercase";
const STRIP_ACCENTS: &str = "tokenizer.ggml.normalizer.strip_accents";
const MARK: &str = "##";

pub(super) fn build(vocabulary: &Vocabulary<'_>) -> Result<Tokenizer> {
    let special = vocabulary.special();
    let unknown = vocabulary.require(special.unknown, UNKNOWN_ID)?;
    let first = vocabulary.require(special.cls.or(special.bos), CLS_ID)?;
    let last = vocabulary.require(special.sep.or(special.eos), SEP_ID)?;

    let kind_of_unknown = vocabulary.kind(unknown);
    let ids: tokenizers::models::bpe::Vocab =
        vocabulary.tokens().map(|(id, token, kind)| (text(token, kind), id)).collect();
    let model = WordPiece::builder()
        .vocab(ids)
        .unk_token(text(vocabulary.text(unknown), kind_of_unknown))
        .continuing_subword_prefix(MARK.into())
        .max_input_chars_per_word(100)
        .build()
        .map_err(|e| vocabulary.failed(&e))?;

    let lowercase = vocabulary.flag(LOWERCASE, !has_upper_case(vocabulary))?;
    let strip_accents = vocabulary.flag(STRIP_ACCENTS, lowercase)?;
    let template = Template { first: &[first], between: &[last], last: &[last], second_segment: 1 };
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_normalizer(Some(BertNormalizer::new(true, true, Some(strip_accents), lowercase)))
        .map_err(|e| vocabulary.failed(&e))?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_decoder(Some(Decoder::new(MARK.into(), true)))
        .with_post_processor(template.build(vocabulary)?);
    Ok(tokenizer)
}

/// A token as BERT writes it.
pub(super) fn text(token: &str, kind: Kind) -> String {
    match token.strip_prefix('\u{2581}') {
        _ if kind == Kind::Control => token.to_owned(),
        Some(word) if !word.is_empty() => word.to_owned(),
        // Alone, it can't be a phantom space before a token of no characters: it is one itself, within a word.
        _ => format!("{MARK}{token}"),
    }
}

fn has_upper_case(vocabulary: &Vocabulary<'_>) -> bool {
    vocabulary.tokens().any(|(_, text, kind)| kind == Kind::Normal && text.contains(|c: char| c.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phantom_spaces_are_undone() {
        assert_eq!(text("\u{2581}word", Kind::Normal), "word");
        assert_eq!(text("piece", Kind::Normal), "##piece");
        assert_eq!(text("[CLS]", Kind::Control), "[CLS]");
        assert_eq!(text("\u{2581}[NEW]", Kind::UserDefined), "[NEW]");
        // `##▁`, `▁`, `#` within a word, `##`.
        assert_eq!(text("\u{2581}", Kind::Normal), "##\u{2581}");
        assert_eq!(text("\u{2581}\u{2581}", Kind::Normal), "\u{2581}");
        assert_eq!(text("#", Kind::Normal), "###");
        assert_eq!(text("", Kind::Normal), "##");
    }
}
