//! A model's own tokenizer: its special tokens, its truncation, its limits.

use std::path::Path;

use gllm_core::{InferenceError, LoadError, LoadProblem, Result, Truncation};
use rayon::prelude::*;
use serde::Deserialize;
use tokenizers::{PostProcessor, TruncationDirection};

use crate::config::read_json;

/// A text as a model reads it, special tokens included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// `[tokens]`.
    pub ids: Vec<u32>,
    /// `[tokens]`: the segment of each token.
    pub type_ids: Vec<u32>,
    /// Tokens of the whole text, before it was cut.
    pub total: usize,
}

/// `tokenizer.json`, with the limits that the files beside it set.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    direction: TruncationDirection,
    lowercase: bool,
    max_length: Option<usize>,
}

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    /// A float, because "no limit" is written as an integer of 31 digits.
    model_max_length: Option<f64>,
    truncation_side: Option<String>,
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
struct SentenceBertConfig {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

impl Tokenizer {
    /// Reads `tokenizer.json` in `folder` and, where they are, `tokenizer_config.json` and
    /// `sentence_bert_config.json`.
    ///
    /// # Errors
    /// [`LoadError`] if `tokenizer.json` is missing or one of the files is malformed.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        if !path.is_file() {
            return Err(LoadError::new(folder, LoadProblem::MissingFile { expected: "tokenizer.json".into() }).into());
        }
        let corrupt =
            |reason: String| LoadError::new(&path, LoadProblem::Corrupt { format: "tokenizer".into(), reason });
        let mut inner = tokenizers::Tokenizer::from_file(&path).map_err(|e| corrupt(e.to_string()))?;
        let config: TokenizerConfig = read_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let sentence: SentenceBertConfig = read_json(&folder.join("sentence_bert_config.json"))?.unwrap_or_default();

        let direction = match (config.truncation_side.as_deref(), inner.get_truncation()) {
            (Some("left"), _) => TruncationDirection::Left,
            (None, Some(truncation)) => truncation.direction,
            _ => TruncationDirection::Right,
        };
        // Cutting is done in `encode`, which knows the limit in force and counts what was cut.
        inner.with_truncation(None).map_err(|e| corrupt(e.to_string()))?.with_padding(None);
        #[expect(clippy::cast_sign_loss, reason = "within 1 to 1e12")]
        let tokenizer_limit = config.model_max_length.filter(|max| (1.0..1e12).contains(max)).map(|max| max as usize);
        Ok(Self {
            inner,
            direction,
            lowercase: sentence.do_lower_case,
            max_length: sentence.max_seq_length.or(tokenizer_limit),
        })
    }

    /// Longest input in tokens, special tokens included, where the files say one.
    #[must_use]
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Special tokens that are added to every text.
    #[must_use]
    pub fn added_tokens(&self) -> usize {
        self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(false))
    }

    /// Tokens of `texts`, each cut to `max_length` (special tokens included) or refused, as `truncation` says.
    ///
    /// # Errors
    /// [`InferenceError`] that names the text.
    pub fn encode<T: AsRef<str> + Sync>(
        &self,
        texts: &[T],
        max_length: usize,
        truncation: Truncation,
    ) -> Result<Vec<Tokens>> {
        let encode = |(index, text): (usize, &T)| {
            let tokens = self
                .encode_one(text.as_ref(), max_length)
                .map_err(|e| InferenceError::Tokenize { index, reason: e.to_string() })?;
            if truncation == Truncation::Error && tokens.total > max_length {
                return Err(InferenceError::TooLong { index, tokens: tokens.total, limit: max_length });
            }
            Ok(tokens)
        };
        Ok(texts.par_iter().enumerate().map(encode).collect::<std::result::Result<_, _>>()?)
    }

    fn encode_one(&self, text: &str, max_length: usize) -> tokenizers::Result<Tokens> {
        let lowered = self.lowercase.then(|| text.to_lowercase());
        let mut encoding = self.inner.encode_fast(lowered.as_deref().unwrap_or(text), false)?;
        let added = self.added_tokens();
        let total = encoding.len() + added;
        if total > max_length {
            encoding.truncate(max_length.saturating_sub(added), 0, self.direction);
            // The cut parts aren't wanted, and would each get their special tokens.
            encoding.take_overflowing();
        }
        let encoding = self.inner.post_process(encoding, None, true)?;
        Ok(Tokens { ids: encoding.get_ids().to_vec(), type_ids: encoding.get_type_ids().to_vec(), total })
    }
}
