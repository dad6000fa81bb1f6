//! Tokens of a text that is being written → pieces of it, as soon as they are certain.
//!
//! The pieces together are what the tokenizer makes of all tokens at once, special tokens left out. Bytes of a character
//! that isn't whole yet wait for the rest; bytes that can't become one are the replacement character. (A decoder with
//! byte fallback replaces, where one byte of several is at fault, the whole characters beside it too; here they stay.)
//! A token costs what it adds, however long the text is.

use std::str;
use std::sync::Arc;

use super::token_bytes::{Leading, TokenBytes};

/// A text on its way from tokens to a reader.
#[derive(Clone, Debug)]
pub struct TextStream {
    tokens: Arc<TokenBytes>,
    /// What is still to be done to the start of the text.
    leading: Leading,
    /// Bytes of a character that isn't whole yet.
    pending: Vec<u8>,
}

impl TextStream {
    /// A text that stands by itself, as the answer in a conversation: SentencePiece's space before it isn't shown.
    ///
    /// ```no_run
    /// # fn main() -> gllm_core::Result<()> {
    /// use std::sync::Arc;
    /// use gllm_models::text::{TextStream, Tokenizer};
    /// let tokenizer = Tokenizer::load("qwen2.5-0.5b-instruct-q8_0.gguf".as_ref())?;
    /// let mut stream = TextStream::new(Arc::new(tokenizer.token_bytes()?));
    /// // The first two bytes of a character that joins others, and its last.
    /// assert_eq!([stream.push(378), stream.push(235)], ["", "\u{200d}"]);
    /// assert_eq!(stream.finish(), "");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn new(tokens: Arc<TokenBytes>) -> Self {
        Self { leading: tokens.leading, tokens, pending: Vec::new() }
    }

    /// A text that goes on where another one ends: white space at its start is a part of it.
    #[must_use]
    pub fn continuing(tokens: Arc<TokenBytes>) -> Self {
        Self { leading: Leading::Kept, tokens, pending: Vec::new() }
    }

    /// Adds the token `id`, and gives what became certain by it; nothing, maybe.
    pub fn push(&mut self, id: u32) -> String {
        if !self.tokens.is_text(id) {
            return String::new();
        }
        let mut bytes = self.tokens.bytes(id);
        match self.leading {
            Leading::Kept => self.pending.extend_from_slice(bytes),
            Leading::Stripped(most) => {
                let spaces = bytes.iter().take(most).take_while(|byte| **byte == b' ').count();
                bytes = &bytes[spaces..];
                self.leading = if bytes.is_empty() { Leading::Stripped(most - spaces) } else { Leading::Kept };
                self.pending.extend_from_slice(bytes);
            }
            Leading::Dropped => {
                let is_kept = |byte: &&u8| **byte != b' ' || self.tokens.is_added(id);
                self.pending.extend(bytes.iter().filter(is_kept));
                self.leading = Leading::Kept;
            }
        }
        self.take_certain()
    }

    /// What is left at the end of the text: the replacement character for an unfinished one.
    pub fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }

    fn take_certain(&mut self) -> String {
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, behind) = rest.split_at(error.valid_up_to());
                    // Valid, as the error says.
                    text.push_str(str::from_utf8(valid).unwrap_or_default());
                    rest = behind;
                    let Some(invalid) = error.error_len() else { break };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[invalid..];
                }
            }
        }
        let certain = self.pending.len() - rest.len();
        self.pending.drain(..certain);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use gllm_core::Truncation;
    use proptest::prelude::*;

    use super::super::Tokenizer;
    use super::*;

    const BYTE_LEVEL: [&str; 4] = ["qwen2", "llama-bpe", "gpt-2", "deepseek-v3"];

    /// Beside the texts of the golden data.
    const TEXTS: [&str; 8] = [
        "👩‍👩‍👧‍👦 and 🏳️‍🌈 and 👍🏽",
        "日本語の文章、한국어 문장, 今天天气很好。",
        "  two spaces,\ttab\n\n\nlines  ",
        "e\u{301}\u{302} \u{200d}\u{200b} Ω≈ç√∫",
        "\u{0}\u{1}\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}",
        "fn main() { println!(\"{}\", 1 << 3); }",
        "\u{fffd} is a character like any other \u{fffd}",
        "",
    ];

    fn golden() -> PathBuf {
        PathBuf::from("../../tests/golden")
    }

    fn gguf(name: &str) -> Tokenizer {
        Tokenizer::load(&golden().join("gguf_tokenizers").join(format!("{name}.gguf"))).expect("a tokenizer")
    }

    fn folder(name: &str) -> Tokenizer {
        Tokenizer::load(&golden().join("tokenizers").join(name)).expect("a tokenizer")
    }

    fn texts() -> Vec<String> {
        let texts = fs::read_to_string(golden().join("tokenizers/texts.json")).expect("the golden texts");
        let mut texts: Vec<String> = serde_json::from_str(&texts).expect("a list of texts");
        texts.extend(TEXTS.map(str::to_owned));
        texts
    }

    fn streamed(tokens: &Arc<TokenBytes>, ids: &[u32]) -> String {
        let mut stream = TextStream::new(Arc::clone(tokens));
        let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
        text.push_str(&stream.finish());
        assert_eq!(stream.finish(), "");
        text
    }

    fn agrees(tokenizer: &Tokenizer) {
        let tokens = Arc::new(tokenizer.token_bytes().expect("a decoder that is supported"));
        let texts = texts();
        assert!(texts.len() > 60);
        for encoded in tokenizer.encode(&texts, usize::MAX, Truncation::Error).expect("tokens") {
            let expected = tokenizer.decode(&encoded.ids, true).expect("a text");
            assert_eq!(streamed(&tokens, &encoded.ids), expected, "{:?}", encoded.ids);
        }
    }

    #[test]
    fn byte_level_texts_are_those_of_the_decoder() {
        BYTE_LEVEL.map(gguf).iter().for_each(agrees);
        agrees(&folder("byte_level_bpe"));
    }

    #[test]
    fn sentence_piece_texts_are_those_of_the_decoder() {
        agrees(&gguf("sentence_piece"));
        agrees(&gguf("unigram"));
        agrees(&folder("unigram"));
    }

    #[test]
    fn word_piece_is_refused() {
        let error = folder("wordpiece").token_bytes().expect_err("no model writes with it").to_string();
        assert!(error.contains("`WordPiece`") && error.contains("tokenizer.json"), "{error}");
    }

    #[test]
    fn a_character_comes_whole_and_at_once() {
        let tokenizer = gguf("qwen2");
        let tokens = Arc::new(tokenizer.token_bytes().expect("a decoder"));
        // A small vocabulary: its bytes are their own tokens.
        let byte = |byte: u8| {
            let is_it = |id: &u32| tokens.is_text(*id) && tokens.bytes(*id) == [byte];
            (0..tokens.n_ids() as u32).find(is_it).expect("every byte is a token")
        };
        let mut stream = TextStream::new(Arc::clone(&tokens));
        let pieces: Vec<String> = "a👋é".bytes().map(|b| stream.push(byte(b))).collect();
        assert_eq!(pieces, ["a", "", "", "", "👋", "", "é"]);
        // What can't become a character is replaced as soon as that is certain.
        let pieces: Vec<String> = [0xE6, 0x97, b'x', 0xFF, 0xC3].map(|b| stream.push(byte(b))).to_vec();
        assert_eq!(pieces, ["", "", "\u{fffd}x", "\u{fffd}", ""]);
        assert_eq!(stream.finish(), "\u{fffd}");
    }

    #[test]
    fn the_space_of_sentence_piece_is_shown_where_a_text_goes_on() {
        let tokenizer = gguf("sentence_piece");
        let tokens = Arc::new(tokenizer.token_bytes().expect("a decoder"));
        let ids = &tokenizer.encode(&["Hello world"], 99, Truncation::Error).expect("tokens")[0].ids;
        assert_eq!(streamed(&tokens, ids), "Hello world");
        let mut stream = TextStream::continuing(tokens);
        let text: String = ids.iter().map(|id| stream.push(*id)).collect();
        assert_eq!(text, " Hello world");
    }

    #[test]
    fn special_tokens_have_a_text_but_are_none() {
        let tokenizer = gguf("qwen2");
        let tokens = Arc::new(tokenizer.token_bytes().expect("a decoder"));
        let special: Vec<u32> = (0..tokens.n_ids() as u32).filter(|id| tokens.is_special(*id)).collect();
        assert!(!special.is_empty());
        assert!(special.iter().all(|id| !tokens.text(*id).is_empty()));
        assert_eq!(streamed(&tokens, &special), "");
        assert_eq!(tokens.bytes(u32::MAX), b"");
        assert_eq!(streamed(&tokens, &[u32::MAX]), "");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn random_tokens_of_byte_level_vocabularies(ids in prop::collection::vec(0u32..1100, 0..120), which in 0usize..4) {
            let tokenizer = gguf(BYTE_LEVEL[which]);
            let tokens = Arc::new(tokenizer.token_bytes().expect("a decoder"));
            prop_assert_eq!(streamed(&tokens, &ids), tokenizer.decode(&ids, true).expect("a text"));
        }

        #[test]
        fn random_tokens_of_sentence_piece(ids in prop::collection::vec(0u32..1100, 0..120), which in 0usize..2) {
            let tokenizer = gguf(["sentence_piece", "unigram"][which]);
            let tokens = Arc::new(tokenizer.token_bytes().expect("a decoder"));
            // Random bytes aren't characters, and of those the decoder makes something else.
            let ids: Vec<u32> =
                ids.into_iter().filter(|id| !tokens.is_text(*id) || tokens.bytes(*id).is_ascii() || tokens.bytes(*id).len() > 1).collect();
            prop_assert_eq!(streamed(&tokens, &ids), tokenizer.decode(&ids, true).expect("a text"));
        }
    }
}
