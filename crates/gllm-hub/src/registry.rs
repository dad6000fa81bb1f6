//! The models that have a short name: `registry.toml`, parsed once.
//!
//! Invariant: aliases and repositories are unique without regard to case, and every listed model is of an
//! architecture that gllm loads. Source of the facts: the model cards and configurations of the repositories.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use gllm_core::{InvalidConfig, ModelInfo, Result};
use serde::Deserialize;

/// How alike a name must be to be suggested, from 0 to 1.
const ALIKE: f64 = 0.8;

/// The models that have a short name.
#[derive(Clone, Debug)]
pub struct ModelRegistry {
    entries: Vec<RegistryEntry>,
}

/// A model of the registry.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct RegistryEntry {
    /// Names, task, architecture and sizes.
    #[serde(flatten)]
    pub info: ModelInfo,
    /// The SPDX name of the licence that the publisher states, if any.
    pub licence: Option<String>,
    /// A Python package that ships the same files, if any: the fall-back when the Hub can't be reached.
    pub package: Option<Package>,
}

/// A Python package that ships a model's files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Package {
    /// The package's name.
    pub name: String,
    /// The version that was checked; no other is used.
    pub version: String,
    /// The model's folder within the wheel, with the slash at the end.
    pub prefix: String,
    /// Every file that is used, by its name below `prefix`, with its sha256 in lower-case hex.
    pub files: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    model: Vec<RegistryEntry>,
}

impl ModelRegistry {
    /// The registry that comes with gllm.
    ///
    /// # Panics
    /// Never in a released build: the text is embedded and a test parses it.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<ModelRegistry> = LazyLock::new(|| {
            ModelRegistry::parse(include_str!("registry.toml")).expect("the embedded registry is tested to parse")
        });
        &BUILTIN
    }

    /// Parses a registry in the form of `registry.toml`. A text of another form is `Error::InvalidConfig`.
    pub fn parse(text: &str) -> Result<Self> {
        let file: RegistryFile = toml::from_str(text)
            .map_err(|error| InvalidConfig::new("registry", "a list of [[model]] tables", error.message()))?;
        Ok(Self { entries: file.model })
    }

    /// What is known of every model, in the registry's order.
    pub fn models(&self) -> impl Iterator<Item = &ModelInfo> {
        self.entries.iter().map(|entry| &entry.info)
    }

    /// The model of this alias or `org/name`, without regard to case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RegistryEntry> {
        self.entries
            .iter()
            .find(|entry| entry.info.alias.eq_ignore_ascii_case(name) || entry.info.repo_id.eq_ignore_ascii_case(name))
    }

    /// Up to three aliases that `name` may have meant, nearest first.
    #[must_use]
    pub fn suggest(&self, name: &str) -> Vec<String> {
        let name = name.to_lowercase();
        let mut scored: Vec<_> = self
            .models()
            .map(|info| (likeness(&name, info), &info.alias))
            .filter(|(score, _)| *score >= ALIKE)
            .collect();
        scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        scored.into_iter().take(3).map(|(_, alias)| alias.clone()).collect()
    }
}

/// From 0 to 1. A part of an alias, such as `minilm`, counts as near although the edit distance is large.
fn likeness(name: &str, info: &ModelInfo) -> f64 {
    let (alias, repo_id) = (info.alias.to_lowercase(), info.repo_id.to_lowercase());
    let part = if name.len() >= 3 && alias.contains(name) { 0.9 } else { 0.0 };
    strsim::jaro_winkler(name, &alias).max(strsim::jaro_winkler(name, &repo_id)).max(part)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use gllm_core::ModelType;

    use super::*;
    use crate::id::HubId;

    /// Those that the registry may name. `Architecture` takes any name, so a slip would go unnoticed.
    const ARCHITECTURES: [&str; 13] = [
        "bert",
        "distilbert",
        "electra",
        "gemma2",
        "jina_bert",
        "mistral",
        "modernbert",
        "mpnet",
        "new",
        "nomic_bert",
        "qwen3",
        "roberta",
        "xlm-roberta",
    ];

    #[test]
    fn embedded_registry_parses_and_names_are_unique_and_valid() {
        let registry = ModelRegistry::builtin();
        let mut seen = HashSet::new();
        for info in registry.models() {
            assert!(seen.insert(info.alias.to_lowercase()), "{} twice", info.alias);
            assert!(seen.insert(info.repo_id.to_lowercase()), "{} twice", info.repo_id);
            assert!(!info.alias.contains(['/', '@']), "{}", info.alias);
            HubId::new(&info.repo_id, None).expect("a valid repository");
            assert!(ARCHITECTURES.contains(&info.architecture.as_str()), "{}: {}", info.alias, info.architecture);
        }
    }

    #[test]
    fn dimensions_are_those_of_dense_embeddings() {
        for info in ModelRegistry::builtin().models() {
            let is_dense = info.model_type == ModelType::Embedding && !info.alias.starts_with("splade-");
            assert_eq!(info.dimensions.is_some(), is_dense, "{}", info.alias);
        }
    }

    #[test]
    fn embedded_packages_pin_every_file_by_sha256() {
        for entry in &ModelRegistry::builtin().entries {
            let Some(package) = &entry.package else { continue };
            assert!(package.prefix.ends_with('/'), "{}", package.name);
            for needed in ["model.safetensors", "config.json", "tokenizer.json"] {
                assert!(package.files.contains_key(needed), "{needed} of {}", package.name);
            }
            for (file, sha256) in &package.files {
                let is_hex = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
                assert!(is_hex && crate::listing::is_safe(file), "{file} of {}", package.name);
            }
        }
    }

    #[test]
    fn get_takes_alias_or_repo_id_in_any_case() {
        let registry = ModelRegistry::builtin();
        for name in ["ALL-minilm-l6-v2", "Sentence-Transformers/all-minilm-l6-v2"] {
            let entry = registry.get(name).expect(name);
            assert_eq!(entry.info.repo_id, "sentence-transformers/all-MiniLM-L6-v2");
        }
        let reranker = registry.get("baai/BGE-reranker-v2-M3").expect("a reranker");
        assert_eq!((reranker.info.alias.as_str(), reranker.info.model_type), ("bge-reranker-v2", ModelType::Rerank));
        assert!(registry.get("no-such-model").is_none());
    }

    #[test]
    fn suggest_finds_slips_and_parts() {
        let registry = ModelRegistry::builtin();
        assert_eq!(registry.suggest("all-MiniLM-L6-v3").first().map(String::as_str), Some("all-MiniLM-L6-v2"));
        assert_eq!(registry.suggest("bge-smal-en").first().map(String::as_str), Some("bge-small-en"));
        assert!(registry.suggest("minilm").iter().any(|alias| alias == "all-MiniLM-L6-v2"));
        assert!(registry.suggest("zzzzzz").is_empty());
    }
}
