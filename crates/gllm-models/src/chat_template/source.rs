//! Where a model's files have its chat template and its special tokens.
//!
//! Source: `from_pretrained` of transformers 5.23; `SpecialVocab` of llama.cpp's `gguf-py`.

use std::path::{Path, PathBuf};

use gllm_core::{Error, LoadError, Result};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::Metadata;
use serde_json::{Map, Value as Json};

use crate::config::{bad_field, read_json};

/// The special tokens that templates know by name, and the keys of their ids in GGUF, spelt as there.
const TOKENS: [(&str, &str); 7] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("sep_token", "tokenizer.ggml.seperator_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
    ("cls_token", "tokenizer.ggml.cls_token_id"),
    ("mask_token", "tokenizer.ggml.mask_token_id"),
];

/// A template as it is in a file.
pub(super) struct Source {
    pub(super) text: String,
    /// The file, and what has the template there, if not the whole of it.
    pub(super) path: PathBuf,
    pub(super) field: Option<&'static str>,
    /// Special tokens by their names.
    pub(super) tokens: Map<String, Json>,
}

impl Source {
    /// What `files`, or the files beside them, have.
    pub(super) fn find(files: &WeightFiles) -> Result<Option<Self>> {
        files.metadata().map_or_else(|| Self::in_folder(files.folder()), Self::in_gguf)
    }

    fn in_gguf(metadata: &Metadata) -> Result<Option<Self>> {
        const FIELD: &str = "tokenizer.chat_template";
        let Some(text) = metadata.string(FIELD)? else { return Ok(None) };
        let vocabulary = metadata.strings("tokenizer.ggml.tokens")?.unwrap_or_default();
        let mut tokens = Map::new();
        for (name, key) in TOKENS {
            if let Some(id) = metadata.usize(key)? {
                let token = vocabulary.get(id).ok_or_else(|| {
                    let expected = format!("an id below {}, the number of tokens", vocabulary.len());
                    LoadError::new(metadata.path(), bad_field(key, expected, id))
                })?;
                tokens.insert(name.into(), token.as_str().into());
            }
        }
        Ok(Some(Self { text: text.into(), path: metadata.path().into(), field: Some(FIELD), tokens }))
    }

    fn in_folder(folder: &Path) -> Result<Option<Self>> {
        const FIELD: &str = "chat_template";
        let config_path = folder.join("tokenizer_config.json");
        let config: Map<String, Json> = read_json(&config_path)?.unwrap_or_default();
        let tokens = special_tokens(folder, &config)?;
        let found = |path: PathBuf, field, text| Source { text, path, field, tokens };

        let path = folder.join("chat_template.jinja");
        if path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(|e| Error::io("cannot read", &path, &e))?;
            return Ok(Some(found(path, None, text)));
        }
        if let Some(text) = template(&config_path, config.get(FIELD))? {
            return Ok(Some(found(config_path, Some(FIELD), text)));
        }
        let path = folder.join("chat_template.json");
        let legacy: Map<String, Json> = read_json(&path)?.unwrap_or_default();
        Ok(template(&path, legacy.get(FIELD))?.map(|text| found(path, Some(FIELD), text)))
    }
}

/// A template, or of several with names that called `default`.
fn template(path: &Path, field: Option<&Json>) -> Result<Option<String>> {
    match field {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(Json::Array(templates)) => {
            let default = templates.iter().find(|template| template["name"] == "default");
            Ok(default.and_then(|template| template["template"].as_str()).map(str::to_owned))
        }
        Some(other) => {
            let problem = bad_field("chat_template", "a template, or a list of templates with names", other);
            Err(LoadError::new(path, problem).into())
        }
    }
}

/// The tokens that `tokenizer_config.json` names, as texts or as objects with a text. Where it doesn't list the added
/// tokens, it is from a time when `special_tokens_map.json` had them.
fn special_tokens(folder: &Path, config: &Map<String, Json>) -> Result<Map<String, Json>> {
    let map = if config.contains_key("added_tokens_decoder") {
        None
    } else {
        read_json(&folder.join("special_tokens_map.json"))?
    };
    let map: Map<String, Json> = map.unwrap_or_default();
    let token = |name: &str| {
        let token = map.get(name).or_else(|| config.get(name))?;
        token.as_str().or_else(|| token["content"].as_str()).map(Json::from)
    };
    Ok(TOKENS.into_iter().filter_map(|(name, _)| Some((name.to_owned(), token(name)?))).collect())
}
