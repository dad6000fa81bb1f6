//! A `tokenizer.json` as the metadata of a GGUF file: the tokens by id, what each is, and how a text becomes them.
//!
//! Invariant: there are as many tokens as the model has word embeddings; ids that no token has are unused. Source:
//! `get_vocab_base` and the `_set_vocab_…` of llama.cpp's converter, and the tokenizers of llama.cpp, which each
//! implement one combination of a normaliser and a pre-tokeniser. What they don't is refused by name.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gllm_core::{LoadError, LoadProblem, Result};
use serde::Deserialize;
use serde_json::Value as Json;

use super::metadata::Entries;
use super::special_tokens;
use crate::config::{bad_field, unsupported};
use crate::text::gguf_tokenizer::pre_tokenizers::{LLAMA_3, QWEN_2};

/// The space of `SentencePiece`.
const SPACE: char = '\u{2581}';
/// The score of a token that no text gives.
const UNUSED_SCORE: f32 = -10_000.0;

/// What a token is, as llama.cpp numbers it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
}

/// The parts of `tokenizer.json` that are read by type.
#[derive(Deserialize)]
struct File {
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    special: bool,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Model {
    WordPiece {
        vocab: BTreeMap<String, u32>,
        continuing_subword_prefix: String,
    },
    Unigram {
        vocab: Vec<(String, f64)>,
        unk_id: Option<u32>,
        #[serde(default)]
        byte_fallback: bool,
    },
    #[serde(rename = "BPE")]
    Bpe {
        vocab: BTreeMap<String, u32>,
        merges: Vec<(String, String)>,
        #[serde(default)]
        byte_fallback: bool,
    },
    #[serde(other)]
    Other,
}

/// Tokens by id.
struct Vocabulary {
    tokens: Vec<(String, Kind)>,
}

/// Writes the tokenizer in `folder` for a model with `vocab_size` word embeddings.
///
/// # Errors
/// [`LoadError`] if there is none, it is malformed, or llama.cpp has none like it.
pub(super) fn write(folder: &Path, vocab_size: usize, metadata: &mut Entries) -> Result<()> {
    let path = folder.join("tokenizer.json");
    if !path.is_file() {
        return Err(LoadError::new(folder, LoadProblem::MissingFile { expected: "tokenizer.json".into() }).into());
    }
    let failed = |problem| LoadError::new(&path, problem);
    let corrupt = |reason: String| failed(LoadProblem::Corrupt { format: "tokenizer".into(), reason });
    // Older files leave fields out; written again, they are whole.
    let tokenizer = tokenizers::Tokenizer::from_file(&path).map_err(|e| corrupt(e.to_string()))?;
    let json: Json = serde_json::to_value(&tokenizer).map_err(|e| corrupt(e.to_string()))?;
    let file = File::deserialize(&json).map_err(|e| corrupt(e.to_string()))?;
    file.write(&json, vocab_size, metadata).map_err(failed)?;
    let ids = file.added_tokens.iter().map(|added| (added.content.as_str(), added.id)).collect();
    special_tokens::write(folder, &json, &ids, vocab_size, metadata)
}

impl File {
    fn write(&self, json: &Json, vocab_size: usize, metadata: &mut Entries) -> std::result::Result<(), LoadProblem> {
        match &self.model {
            Model::WordPiece { vocab, continuing_subword_prefix: prefix } => {
                check_word_piece(json, prefix)?;
                let named = vocab.iter().map(|(token, id)| (*id, token.as_str()));
                let vocabulary = Vocabulary::new(named, &self.added_tokens, vocab_size)?;
                metadata.text("tokenizer.ggml.model", "bert");
                metadata.text("tokenizer.ggml.pre", word_piece_name(vocab_size));
                vocabulary.spaced(prefix).write(metadata);
            }
            Model::Unigram { byte_fallback: true, .. } => {
                return Err(unsupported("byte_fallback of a Unigram tokenizer", "true", "false"));
            }
            Model::Unigram { vocab, unk_id, .. } => {
                let named = (0..).zip(vocab.iter().map(|(token, _)| token.as_str()));
                let mut vocabulary = Vocabulary::new(named, &self.added_tokens, vocab_size)?;
                if let Some(unknown) = unk_id.and_then(|id| vocabulary.tokens.get_mut(id as usize)) {
                    unknown.1 = Kind::Unknown;
                }
                metadata.text("tokenizer.ggml.model", "t5");
                metadata.text("tokenizer.ggml.pre", "default");
                vocabulary.write(metadata);
                let scores = vocab.iter().map(|(_, score)| *score as f32).chain(std::iter::repeat(UNUSED_SCORE));
                metadata.f32s("tokenizer.ggml.scores", scores.take(vocab_size).collect());
                write_sentence_piece(json, metadata)?;
            }
            Model::Bpe { byte_fallback: true, .. } => {
                return Err(unsupported("tokenizer", "BPE with byte fallback", SUPPORTED));
            }
            Model::Bpe { vocab, merges, .. } => {
                for part in parts(&json["normalizer"], "normalizers") {
                    // llama.cpp has none. Of text that people write, nearly all is in this form already.
                    if part["type"] != "NFC" {
                        let found = part["type"].as_str().unwrap_or("null");
                        return Err(unsupported("normalizer of a BPE tokenizer", found, "none, NFC"));
                    }
                }
                let named = vocab.iter().map(|(token, id)| (*id, token.as_str()));
                let vocabulary = Vocabulary::new(named, &self.added_tokens, vocab_size)?;
                metadata.text("tokenizer.ggml.model", "gpt2");
                metadata.text("tokenizer.ggml.pre", byte_level_name(json)?);
                vocabulary.write(metadata);
                // A space within a part is written as byte-level BPE writes it.
                let part = |part: &str| part.replace(' ', "\u{120}");
                let merges = merges.iter().map(|(left, right)| format!("{} {}", part(left), part(right)));
                metadata.texts("tokenizer.ggml.merges", merges.collect());
            }
            Model::Other => return Err(unsupported("tokenizer", json["model"]["type"].to_string(), SUPPORTED)),
        }
        Ok(())
    }
}

const SUPPORTED: &str = "WordPiece, Unigram, byte-level BPE";

impl Vocabulary {
    /// `named` and `added` tokens, the latter winning; ids of neither are unused.
    fn new<'a>(
        named: impl Iterator<Item = (u32, &'a str)>,
        added: &[Added],
        vocab_size: usize,
    ) -> std::result::Result<Self, LoadProblem> {
        let mut tokens: Vec<_> = (0..vocab_size).map(|id| (format!("[PAD{id}]"), Kind::Unused)).collect();
        let mut set = |id: u32, token: &str, kind| match tokens.get_mut(id as usize) {
            Some(place) => {
                *place = (token.to_owned(), kind);
                Ok(())
            }
            None => Err(bad_field("vocab_size", format!("more than {id}, the id of token `{token}`"), vocab_size)),
        };
        for (id, token) in named {
            set(id, token, Kind::Normal)?;
        }
        for Added { id, content, special } in added {
            if *special || looks_special(content) {
                set(*id, content, Kind::Control)?;
            } else {
                set(*id, &content.replace(SPACE, " "), Kind::UserDefined)?;
            }
        }
        Ok(Self { tokens })
    }

    /// `WordPiece` marks what continues a word, with `prefix`; llama.cpp marks what begins one.
    fn spaced(self, prefix: &str) -> Self {
        let spaced = |(token, kind): (String, Kind)| match token.strip_prefix(prefix) {
            _ if kind == Kind::Control => (token, kind),
            Some(rest) => (rest.to_owned(), kind),
            None => (format!("{SPACE}{token}"), kind),
        };
        Self { tokens: self.tokens.into_iter().map(spaced).collect() }
    }

    fn write(self, metadata: &mut Entries) {
        let kinds = self.tokens.iter().map(|(_, kind)| *kind as i32).collect();
        metadata.texts("tokenizer.ggml.tokens", self.tokens.into_iter().map(|(token, _)| token).collect());
        metadata.i32s("tokenizer.ggml.token_type", kinds);
    }
}

/// Tokens that files of some models don't mark as special, though they are.
fn looks_special(token: &str) -> bool {
    let within = |start: &str, end: &str| token.starts_with(start) && token.ends_with(end);
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(&token)
        || within("<|", "|>")
        || within("<\u{ff5c}", "\u{ff5c}>")
        || within("<unused", ">")
}

/// llama.cpp knows BERT's normaliser and pre-tokeniser, and its mark.
fn check_word_piece(json: &Json, prefix: &str) -> std::result::Result<(), LoadProblem> {
    if prefix != "##" {
        return Err(unsupported("continuing_subword_prefix", prefix, "##"));
    }
    for (part, supported) in [("normalizer", "BertNormalizer"), ("pre_tokenizer", "BertPreTokenizer")] {
        let found = json[part]["type"].as_str().unwrap_or("null");
        if found != supported {
            return Err(unsupported(&format!("{part} of a WordPiece tokenizer"), found, supported));
        }
    }
    Ok(())
}

/// What llama.cpp's converter calls the two vocabularies that BERT was published with. Nothing reads the name, for
/// there is one way to read a `WordPiece` vocabulary.
fn word_piece_name(vocab_size: usize) -> &'static str {
    match vocab_size {
        30_522 => "jina-v2-en",
        21_128 => "bert-bge-large",
        _ => "default",
    }
}

/// How a Unigram tokenizer treats spaces, and the table of its normaliser.
fn write_sentence_piece(json: &Json, metadata: &mut Entries) -> std::result::Result<(), LoadProblem> {
    let (mut prefix, mut collapses) = (false, false);
    for part in parts(&json["pre_tokenizer"], "pretokenizers") {
        match part["type"].as_str() {
            Some("Metaspace") => prefix = part["prepend_scheme"].as_str() != Some("never"),
            Some("WhitespaceSplit") => collapses = true,
            other => return Err(unsupported("pre_tokenizer", other.unwrap_or("null"), "Metaspace, WhitespaceSplit")),
        }
    }
    let mut table = Vec::new();
    for part in parts(&json["normalizer"], "normalizers") {
        match part["type"].as_str() {
            Some("Precompiled") => {
                let text = part["precompiled_charsmap"].as_str().unwrap_or_default();
                table = STANDARD.decode(text).map_err(|e| bad_field("normalizer.precompiled_charsmap", "base64", e))?;
            }
            Some("Replace") if part["pattern"]["Regex"] == " {2,}" => collapses = true,
            // Removes what is left of spaces at the end of a text, which collapsing them does too.
            Some("Strip") => {}
            other => return Err(unsupported("normalizer", other.unwrap_or("null"), "Precompiled, Strip, Replace")),
        }
    }
    metadata.bool("tokenizer.ggml.add_space_prefix", prefix);
    metadata.bool("tokenizer.ggml.remove_extra_whitespaces", collapses);
    if !table.is_empty() {
        metadata.u8s("tokenizer.ggml.precompiled_charsmap", table);
    }
    Ok(())
}

/// The parts of a sequence, or the one that there is; none, if it is null.
fn parts<'a>(json: &'a Json, field: &str) -> Vec<&'a Json> {
    match json[field].as_array() {
        Some(parts) => parts.iter().collect(),
        None if json.is_null() => Vec::new(),
        None => vec![json],
    }
}

/// The patterns that byte-level BPE splits texts by, and what llama.cpp calls them.
const PATTERNS: [(&str, &str); 4] = [
    (QWEN_2, "qwen2"),
    (LLAMA_3, "llama-bpe"),
    (
        "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "tekken",
    ),
    // What the ByteLevel of the tokenizers library splits by itself.
    ("ByteLevel", "gpt-2"),
];

/// llama.cpp's name for the pre-tokeniser.
fn byte_level_name(json: &Json) -> std::result::Result<&'static str, LoadProblem> {
    let mut found = Vec::new();
    for part in parts(&json["pre_tokenizer"], "pretokenizers") {
        match part["type"].as_str() {
            Some("Split") => found.push(part["pattern"]["Regex"].as_str().unwrap_or("Split").to_owned()),
            Some("ByteLevel") if part["add_prefix_space"] == true => {
                return Err(unsupported("add_prefix_space of a ByteLevel pre-tokeniser", "true", "false"));
            }
            Some("ByteLevel") if part["use_regex"] == false => {}
            Some("Digits") if part["individual_digits"] == true => found.push("Digits".into()),
            other => found.push(other.unwrap_or("null").to_owned()),
        }
    }
    let found = found.join(", ");
    let known = || PATTERNS.iter().find(|(pattern, _)| *pattern == found).map(|(_, name)| *name);
    match found.as_str() {
        "Digits, ByteLevel" => Ok("smollm"),
        "ByteLevel" if json["post_processor"]["type"] == "RobertaProcessing" => Ok("roberta-bpe"),
        _ => known().ok_or_else(|| {
            let names: Vec<_> = PATTERNS.iter().map(|(_, name)| *name).collect();
            unsupported("pre_tokenizer", found, &format!("those of {}, smollm", names.join(", ")))
        }),
    }
}
