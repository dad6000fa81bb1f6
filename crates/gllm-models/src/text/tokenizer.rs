//! A model's own tokenizer: its special tokens, its truncation, its limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use gllm_core::{InferenceError, LoadError, LoadProblem, Result, Truncation};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::{GgufFile, Metadata};
use rayon::prelude::*;
use serde::Deserialize;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{Encoding, PostProcessor, TruncationDirection};

use super::token_bytes::TokenBytes;
use super::{charsmap, gguf_tokenizer};
use crate::config::{read_json, unsupported};
use crate::threads;

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

/// Pairs of a query and a document as a model reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// For each document.
    pub tokens: Vec<Tokens>,
    /// Whether the query was cut, because it leaves no room for a document.
    pub query_truncated: bool,
}

/// `tokenizer.json`, with the limits that the files beside it set, or what a GGUF file says in its place.
#[derive(Debug)]
pub struct Tokenizer {
    /// The file that says what it is.
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    direction: TruncationDirection,
    lowercase: bool,
    max_length: Option<usize>,
    /// The token that ends a text.
    end: Option<u32>,
    /// Ids of the tokens that begin and end a sequence, pad it, or are unknown.
    without_text: BTreeSet<u32>,
}

/// `tokenizer_config.json`.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    /// A float, because "no limit" is written as an integer of 31 digits.
    model_max_length: Option<f64>,
    truncation_side: Option<String>,
    tokenizer_class: Option<String>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
    #[serde(flatten)]
    special: SpecialTokens,
}

/// The tokens that aren't text, in `tokenizer_config.json` or, in older repositories, `special_tokens_map.json`.
#[derive(Debug, Default, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the published names")]
struct SpecialTokens {
    bos_token: Option<SpecialToken>,
    cls_token: Option<SpecialToken>,
    eos_token: Option<SpecialToken>,
    pad_token: Option<SpecialToken>,
    unk_token: Option<SpecialToken>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SpecialToken {
    Plain(String),
    Added { content: String },
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
struct SentenceBertConfig {
    max_seq_length: Option<usize>,
    #[serde(default)]
    do_lower_case: bool,
}

impl Tokenizer {
    /// Reads the tokenizer at `path`: of a folder, its `tokenizer.json` and, where they are, `tokenizer_config.json`
    /// and `sentence_bert_config.json`; of a GGUF file, its metadata.
    ///
    /// ```no_run
    /// # fn main() -> gllm_core::Result<()> {
    /// use gllm_core::Truncation;
    /// let tokenizer = gllm_models::text::Tokenizer::load("all-MiniLM-L6-v2-q8_0.gguf".as_ref())?;
    /// let tokens = tokenizer.encode(&["Hello world"], 256, Truncation::Cut)?;
    /// assert_eq!(tokens[0].ids, [101, 7592, 2088, 102]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`LoadError`] if `tokenizer.json` is missing, one of the files is malformed, or the metadata describe no
    /// tokenizer that is supported.
    pub fn load(path: &Path) -> Result<Self> {
        if path.is_file() { Self::from_gguf(GgufFile::open(path)?.metadata()) } else { Self::from_folder(path) }
    }

    /// Reads the tokenizer that comes with a model's weights: in their file, if that is GGUF, else in their folder.
    ///
    /// # Errors
    /// As [`Tokenizer::load`].
    pub fn of(files: &WeightFiles) -> Result<Self> {
        match files.metadata() {
            Some(metadata) => Self::from_gguf(metadata),
            None => Self::from_folder(files.folder()),
        }
    }

    fn from_gguf(metadata: &Metadata) -> Result<Self> {
        let gguf_tokenizer::Rebuilt { tokenizer, end, without_text } = gguf_tokenizer::rebuild(metadata)?;
        Ok(Self {
            path: metadata.path().into(),
            inner: tokenizer,
            direction: TruncationDirection::Right,
            lowercase: false,
            max_length: None,
            end,
            without_text,
        })
    }

    fn from_folder(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        if !path.is_file() {
            return Err(LoadError::new(folder, LoadProblem::MissingFile { expected: "tokenizer.json".into() }).into());
        }
        let corrupt =
            |reason: String| LoadError::new(&path, LoadProblem::Corrupt { format: "tokenizer".into(), reason });
        let mut inner = tokenizers::Tokenizer::from_file(&path).map_err(|e| corrupt(e.to_string()))?;
        inner.get_normalizer().map_or(Ok(()), charsmap::check).map_err(corrupt)?;
        let config: TokenizerConfig = read_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
        let sentence: SentenceBertConfig = read_json(&folder.join("sentence_bert_config.json"))?.unwrap_or_default();
        let map: SpecialTokens = read_json(&folder.join("special_tokens_map.json"))?.unwrap_or_default();

        let direction = match (config.truncation_side.as_deref(), inner.get_truncation()) {
            (Some("left"), _) => TruncationDirection::Left,
            (None, Some(truncation)) => truncation.direction,
            _ => TruncationDirection::Right,
        };
        // Cutting is done in `encode`, which knows the limit in force and counts what was cut.
        inner.with_truncation(None).map_err(|e| corrupt(e.to_string()))?.with_padding(None);
        #[expect(clippy::cast_sign_loss, reason = "within 1 to 1e12")]
        let tokenizer_limit = config.model_max_length.filter(|max| (1.0..1e12).contains(max)).map(|max| max as usize);
        let adds_end = config.adds_end();
        let add_start = config.add_bos_token.unwrap_or(true);
        let special = config.special.or(map);
        if adds_end {
            let template = special.template(&inner, add_start).map_err(|e| corrupt(e.to_string()))?;
            inner.with_post_processor(Some(template));
        }
        Ok(Self {
            end: special.eos_token.as_ref().and_then(|token| inner.token_to_id(token.content())),
            without_text: special.ids(&inner),
            path,
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
        // All first: of several errors, it is the first text's that is said, not the one that came first.
        let encoded = side_by_side(texts, encode);
        Ok(encoded.into_iter().collect::<std::result::Result<_, _>>()?)
    }

    /// The tokens of `text`, all of them, with the special tokens that are added to every text if `add_special`.
    ///
    /// # Errors
    /// [`InferenceError`] with what the tokenizer said.
    pub fn ids(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = self
            .encode_bare(text)
            .and_then(|bare| if add_special { self.inner.post_process(bare, None, true) } else { Ok(bare) });
        let failed = |e: tokenizers::Error| InferenceError::Tokenize { index: 0, reason: e.to_string() };
        Ok(encoding.map_err(failed)?.get_ids().to_vec())
    }

    /// Tokens of `texts`, each between `start` and `end` instead of the special tokens that are added to every text, and
    /// with them cut to `max_length` or refused, as `truncation` says. A text loses its end.
    ///
    /// # Errors
    /// [`InferenceError`] that names the text.
    pub fn encode_between<T: AsRef<str> + Sync>(
        &self,
        [start, end]: [&[u32]; 2],
        texts: &[T],
        max_length: usize,
        truncation: Truncation,
    ) -> Result<Vec<Tokens>> {
        let around = start.len() + end.len();
        let encode = |(index, text): (usize, &T)| {
            let failed = |e: tokenizers::Error| InferenceError::Tokenize { index, reason: e.to_string() };
            let text = self.encode_bare(text.as_ref()).map_err(failed)?;
            let total = text.len() + around;
            if truncation == Truncation::Error && total > max_length {
                return Err(InferenceError::TooLong { index, tokens: total, limit: max_length });
            }
            let kept = text.len().min(max_length.saturating_sub(around));
            let ids = [start, &text.get_ids()[..kept], end].concat();
            Ok(Tokens { type_ids: vec![0; ids.len()], ids, total })
        };
        let encoded = side_by_side(texts, encode);
        Ok(encoded.into_iter().collect::<std::result::Result<_, _>>()?)
    }

    /// Special tokens that are added to every pair.
    #[must_use]
    pub fn added_to_pair(&self) -> usize {
        self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(true))
    }

    /// Tokens of `query` with each of `documents`, by the tokenizer's own template for pairs, each pair cut to
    /// `max_length` (special tokens included) or refused, as `truncation` says.
    ///
    /// The document is cut; only where the query leaves no room for a token of it are both, the longer one first,
    /// as transformers' `longest_first` does.
    ///
    /// # Errors
    /// [`InferenceError`] that names the document.
    pub fn encode_pairs<T: AsRef<str> + Sync>(
        &self,
        query: &str,
        documents: &[T],
        max_length: usize,
        truncation: Truncation,
    ) -> Result<Pairs> {
        let room = max_length.saturating_sub(self.added_to_pair());
        let failed = |index, e: &tokenizers::Error| InferenceError::Tokenize { index, reason: e.to_string() };
        let query = self.encode_bare(query).map_err(|e| failed(0, &e))?;
        let query_truncated = query.len() >= room;
        let encode = |(index, document): (usize, &T)| {
            let tokens = self.encode_pair(query.clone(), document.as_ref(), room).map_err(|e| failed(index, &e))?;
            if truncation == Truncation::Error && tokens.total > max_length {
                return Err(InferenceError::TooLong { index, tokens: tokens.total, limit: max_length });
            }
            Ok(tokens)
        };
        let encoded = side_by_side(documents, encode);
        let tokens = encoded.into_iter().collect::<std::result::Result<_, _>>()?;
        Ok(Pairs { tokens, query_truncated })
    }

    /// The ids of the tokens that stand for no text: those that begin and end a sequence, pad it, or are unknown.
    #[must_use]
    pub fn ids_without_text(&self) -> &BTreeSet<u32> {
        &self.without_text
    }

    /// The text of `ids`, special tokens left out where `skip_special` is true.
    ///
    /// # Errors
    /// [`LoadError`] with what the tokenizer's decoder said.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let corrupt = |e: tokenizers::Error| LoadProblem::Corrupt { format: "tokenizer".into(), reason: e.to_string() };
        Ok(self.inner.decode(ids, skip_special).map_err(|e| LoadError::new(&self.path, corrupt(e)))?)
    }

    /// What each token adds to a text that is written; made anew by each call.
    ///
    /// # Errors
    /// [`LoadError`] if the tokenizer's decoder isn't supported, as WordPiece's.
    pub fn token_bytes(&self) -> Result<TokenBytes> {
        let supported = "ByteLevel; Metaspace; Replace, ByteFallback, Fuse and Strip in this order";
        let problem = |name| LoadError::new(&self.path, unsupported("decoder", name, supported));
        Ok(TokenBytes::of(&self.inner).map_err(problem)?)
    }

    /// The id of the token called `text`.
    #[must_use]
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.inner.token_to_id(text)
    }

    /// Whether the token `id` is special: it stands for no text.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary();
        self.inner.id_to_token(id).is_some_and(|text| added.is_special_token(&text))
    }

    /// The token that ends a text (`eos_token`), where the files name one.
    #[must_use]
    pub fn end_id(&self) -> Option<u32> {
        self.end
    }

    /// The text's own tokens.
    fn encode_bare(&self, text: &str) -> tokenizers::Result<Encoding> {
        let lowered = self.lowercase.then(|| text.to_lowercase());
        self.inner.encode_fast(lowered.as_deref().unwrap_or(text), false)
    }

    fn encode_one(&self, text: &str, max_length: usize) -> tokenizers::Result<Tokens> {
        let mut encoding = self.encode_bare(text)?;
        let added = self.added_tokens();
        let total = encoding.len() + added;
        if total > max_length {
            self.cut(&mut encoding, max_length.saturating_sub(added));
        }
        self.finish(encoding, None, total)
    }

    /// `room`: for tokens of both texts.
    fn encode_pair(&self, mut query: Encoding, document: &str, room: usize) -> tokenizers::Result<Tokens> {
        let mut document = self.encode_bare(document)?;
        let (n_query, n_document) = (query.len(), document.len());
        let total = n_query + n_document + self.added_to_pair();
        if n_query + n_document > room {
            let (kept_query, kept_document) = if n_query < room {
                (n_query, room - n_query)
            } else if n_document <= room / 2 {
                (room - n_document, n_document)
            } else {
                // Cut to the same length, the odd token to the longer one.
                if n_query > n_document { (room - room / 2, room / 2) } else { (room / 2, room - room / 2) }
            };
            self.cut(&mut query, kept_query);
            self.cut(&mut document, kept_document);
        }
        self.finish(query, Some(document), total)
    }

    fn cut(&self, encoding: &mut Encoding, kept: usize) {
        encoding.truncate(kept, 0, self.direction);
        // The cut parts aren't wanted, and would each get their special tokens.
        encoding.take_overflowing();
    }

    fn finish(&self, first: Encoding, second: Option<Encoding>, total: usize) -> tokenizers::Result<Tokens> {
        let encoding = self.inner.post_process(first, second, true)?;
        Ok(Tokens { ids: encoding.get_ids().to_vec(), type_ids: encoding.get_type_ids().to_vec(), total })
    }
}

/// What `encode` makes of each text and its place, in their order.
fn side_by_side<T: Sync, R: Send>(texts: &[T], encode: impl Fn((usize, &T)) -> R + Sync + Send) -> Vec<R> {
    threads::on_pool(|| texts.par_iter().enumerate().map(encode).collect())
}

impl TokenizerConfig {
    /// Whether texts get a token at their end that `tokenizer.json` doesn't know of.
    ///
    /// The fast tokenizers of Llama and Gemma in transformers 4, which Mistral's models have too, put their own template in
    /// the place of that file's; embedding models that pool the last token were trained so. Version 5 ignores the field.
    fn adds_end(&self) -> bool {
        let is_of = |name: &str| self.tokenizer_class.as_deref().is_some_and(|class| class.starts_with(name));
        self.add_eos_token == Some(true) && (is_of("Llama") || is_of("Gemma"))
    }
}

impl SpecialTokens {
    /// What goes around a text: the token that begins it, if `add_start`, and the one that ends it.
    fn template(&self, tokenizer: &tokenizers::Tokenizer, add_start: bool) -> tokenizers::Result<TemplateProcessing> {
        let id = |token: Option<&SpecialToken>| token.and_then(|token| tokenizer.token_to_id(token.content()));
        let (start, end) = (id(self.bos_token.as_ref()).filter(|_| add_start), id(self.eos_token.as_ref()));
        let special = |name: &str, ids: Option<u32>| {
            let ids: Vec<u32> = ids.into_iter().collect();
            let tokens = ids.iter().filter_map(|id| tokenizer.id_to_token(*id)).collect();
            tokenizers::processors::template::SpecialToken::new(name.into(), ids, tokens)
        };
        TemplateProcessing::builder()
            .try_single("start:0 $A:0 end:0")?
            .try_pair("start:0 $A:0 end:0 start:1 $B:1 end:1")?
            .special_tokens(vec![special("start", start)?, special("end", end)?])
            .build()
            .map_err(Into::into)
    }

    fn ids(&self, tokenizer: &tokenizers::Tokenizer) -> BTreeSet<u32> {
        let Self { bos_token: _, cls_token, eos_token, pad_token, unk_token } = self;
        let tokens = [cls_token, eos_token, pad_token, unk_token].into_iter().flatten();
        tokens.filter_map(|token| tokenizer.token_to_id(token.content())).collect()
    }

    /// These, and from `other` those that are missing here.
    fn or(self, other: Self) -> Self {
        Self {
            bos_token: self.bos_token.or(other.bos_token),
            cls_token: self.cls_token.or(other.cls_token),
            eos_token: self.eos_token.or(other.eos_token),
            pad_token: self.pad_token.or(other.pad_token),
            unk_token: self.unk_token.or(other.unk_token),
        }
    }
}

impl SpecialToken {
    fn content(&self) -> &str {
        match self {
            Self::Plain(content) | Self::Added { content } => content,
        }
    }
}
