//! The special tokens of a tokenizer as GGUF names them: their ids, and which of them stand around a text.
//!
//! Invariant: an id is of a token that the tokenizer has. Source: `SpecialVocab` of llama.cpp's `gguf-py`. As there,
//! `tokenizer_config.json` names the tokens and the post-processor of `tokenizer.json` says where they stand; where
//! neither does, the ids in `config.json` hold.

use std::collections::BTreeMap;
use std::path::Path;

use gllm_core::Result;
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::metadata::Entries;
use crate::config::read_json;

/// Kinds of special tokens in Hugging Face's files, and the keys of their ids, spelt as llama.cpp spells them.
const KINDS: [(&str, &str); 9] = [
    ("bos", "tokenizer.ggml.bos_token_id"),
    ("eos", "tokenizer.ggml.eos_token_id"),
    ("unk", "tokenizer.ggml.unknown_token_id"),
    ("sep", "tokenizer.ggml.seperator_token_id"),
    ("pad", "tokenizer.ggml.padding_token_id"),
    ("mask", "tokenizer.ggml.mask_token_id"),
    ("eot", "tokenizer.ggml.eot_token_id"),
    ("eom", "tokenizer.ggml.eom_token_id"),
    // Has no key: it is written as `bos`.
    ("cls", ""),
];

/// Which of the special tokens stand around a text, and the keys that say so.
const AROUND: [(&str, &str); 3] = [
    ("bos", "tokenizer.ggml.add_bos_token"),
    ("eos", "tokenizer.ggml.add_eos_token"),
    ("sep", "tokenizer.ggml.add_sep_token"),
];

/// What is known of the special tokens, while the files are read.
#[derive(Default)]
struct Special {
    /// Kind → token.
    tokens: BTreeMap<&'static str, String>,
    /// Kind → whether it stands around a text.
    around: BTreeMap<&'static str, bool>,
}

/// A part of a post-processor.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Processor {
    Sequence {
        processors: Vec<Processor>,
    },
    ByteLevel {},
    RobertaProcessing {
        sep: (String, u32),
        cls: (String, u32),
    },
    TemplateProcessing {
        single: Vec<Piece>,
        pair: Vec<Piece>,
    },
    #[serde(other)]
    Other,
}

/// A place in a template.
#[derive(Deserialize)]
enum Piece {
    SpecialToken { id: String },
    Sequence { id: String },
}

impl Piece {
    fn special(&self) -> Option<&str> {
        match self {
            Self::SpecialToken { id } => Some(id),
            Self::Sequence { .. } => None,
        }
    }

    fn is_sequence(&self, name: &str) -> bool {
        matches!(self, Self::Sequence { id } if id == name)
    }
}

/// Writes what `folder` says of the special tokens of `tokenizer` (its `tokenizer.json`), and the chat template.
///
/// `ids` are those of the added tokens; ids from `config.json` are below `vocab_size`.
pub(super) fn write(
    folder: &Path,
    tokenizer: &Json,
    ids: &BTreeMap<&str, u32>,
    vocab_size: usize,
    metadata: &mut Entries,
) -> Result<()> {
    let config: Map<String, Json> = read_json(&folder.join("tokenizer_config.json"))?.unwrap_or_default();
    let model: Map<String, Json> = read_json(&folder.join("config.json"))?.unwrap_or_default();
    let mut special = Special::named(&config);
    if let Ok(processor) = Processor::deserialize(&tokenizer["post_processor"]) {
        special.read(&processor);
    }
    for (kind, key) in AROUND {
        let said = special.around.get(kind).copied();
        if let Some(said) = said.or_else(|| config.get(&format!("add_{kind}_token"))?.as_bool()) {
            metadata.bool(key, said);
        }
    }
    for (kind, key) in KINDS.into_iter().filter(|(_, key)| !key.is_empty()) {
        let named = special.tokens.get(kind).and_then(|token| ids.get(token.as_str()).copied());
        let in_model = || u32::try_from(model.get(&format!("{kind}_token_id"))?.as_u64()?).ok();
        if let Some(id) = named.or_else(in_model).filter(|id| (*id as usize) < vocab_size) {
            metadata.u32(key, id);
        }
    }
    write_normalizer(&tokenizer["normalizer"], metadata);
    write_chat_template(folder, &config, metadata)
}

impl Special {
    /// The tokens that `tokenizer_config.json` names. What begins and ends a text has two names there.
    fn named(config: &Map<String, Json>) -> Self {
        let named = |kind: &str| {
            let entry = config.get(&format!("{kind}_token"))?;
            entry.as_str().or_else(|| entry["content"].as_str()).filter(|token| !token.is_empty()).map(str::to_owned)
        };
        let mut tokens: BTreeMap<_, _> = KINDS.into_iter().filter_map(|(kind, _)| Some((kind, named(kind)?))).collect();
        for (kind, other) in [("bos", "cls"), ("eos", "sep")] {
            if !tokens.contains_key(kind)
                && let Some(token) = tokens.get(other).cloned()
            {
                tokens.insert(kind, token);
            }
        }
        Self { tokens, around: BTreeMap::new() }
    }

    fn is(&self, token: &str, kinds: &[&str]) -> bool {
        kinds.iter().any(|kind| self.tokens.get(kind).is_some_and(|named| named == token))
    }

    fn read(&mut self, processor: &Processor) {
        match processor {
            Processor::Sequence { processors } => processors.iter().for_each(|part| self.read(part)),
            Processor::ByteLevel {} => {
                self.around.entry("bos").or_insert(false);
                self.around.entry("eos").or_insert(false);
            }
            Processor::RobertaProcessing { sep, cls } => {
                self.around.extend(AROUND.map(|(kind, _)| (kind, true)));
                for (kind, (token, _)) in [("bos", cls), ("eos", sep), ("sep", sep)] {
                    self.tokens.entry(kind).or_insert_with(|| token.clone());
                }
            }
            Processor::TemplateProcessing { single, pair } => self.read_template(single, pair),
            Processor::Other => {}
        }
    }

    fn read_template(&mut self, single: &[Piece], pair: &[Piece]) {
        let [first, .., last] = single else { return };
        let (first, last) = (first.special(), last.special());
        if let Some(first) = first {
            self.tokens.entry("bos").or_insert_with(|| first.to_owned());
            self.around.insert("bos", self.is(first, &["bos", "cls"]));
        }
        if let Some(last) = last {
            if !self.is(last, &["eos"])
                && let Some(before) = self.tokens.insert("eos", last.to_owned())
            {
                let kind = if self.tokens.contains_key("eot") { "eom" } else { "eot" };
                self.tokens.insert(kind, before);
            }
            self.around.insert("eos", true);
        }
        let pair = without(pair, first, last);
        let [a, between @ .., b] = pair else { return };
        if !between.is_empty() && a.is_sequence("A") && b.is_sequence("B") {
            let separates = |piece: &Piece| piece.special().is_some_and(|token| self.is(token, &["sep", "eos"]));
            // What ends each text is written as such; a separator is one more.
            let adds_one = (last.is_none() && separates(&between[0])) || (between.len() == 2 && separates(&between[1]));
            self.around.insert("sep", adds_one);
        }
    }
}

/// `pieces` without the special tokens that stand around all of them.
fn without<'a>(pieces: &'a [Piece], first: Option<&str>, last: Option<&str>) -> &'a [Piece] {
    let is = |piece: Option<&Piece>, token: Option<&str>| token.is_some() && piece.and_then(Piece::special) == token;
    let start = usize::from(is(pieces.first(), first));
    let end = pieces.len() - usize::from(is(pieces.last(), last) && pieces.len() > start);
    &pieces[start..end]
}

/// What a normaliser does to letters.
fn write_normalizer(normalizer: &Json, metadata: &mut Entries) {
    let bool_of = |field: &str| normalizer[field].as_bool();
    let (lowercase, strip_accents) = match normalizer["type"].as_str() {
        Some("Lowercase") => (Some(true), None),
        Some("StripAccents") => (None, Some(true)),
        Some("BertNormalizer") => (bool_of("lowercase"), bool_of("strip_accents")),
        Some("Sequence") => {
            let parts = normalizer["normalizers"].as_array();
            return parts.into_iter().flatten().for_each(|part| write_normalizer(part, metadata));
        }
        _ => (None, None),
    };
    let keys = ["tokenizer.ggml.normalizer.lowercase", "tokenizer.ggml.normalizer.strip_accents"];
    for (key, said) in keys.into_iter().zip([lowercase, strip_accents]) {
        if let Some(said) = said {
            metadata.bool(key, said);
        }
    }
}

/// The template in `tokenizer_config.json`, or in a file of its own; of several, each by its name.
fn write_chat_template(folder: &Path, config: &Map<String, Json>, metadata: &mut Entries) -> Result<()> {
    const KEY: &str = "tokenizer.chat_template";
    match config.get("chat_template") {
        Some(Json::String(template)) => metadata.text(KEY, template),
        Some(Json::Array(templates)) => {
            for entry in templates {
                let (Some(name), Some(template)) = (entry["name"].as_str(), entry["template"].as_str()) else {
                    continue;
                };
                let key = if name == "default" { KEY.to_owned() } else { format!("{KEY}.{name}") };
                metadata.text(&key, template);
            }
        }
        _ => {
            let path = folder.join("chat_template.jinja");
            if path.is_file() {
                let template =
                    std::fs::read_to_string(&path).map_err(|e| gllm_core::Error::io("cannot read", &path, &e))?;
                metadata.text(KEY, &template);
            }
        }
    }
    Ok(())
}
