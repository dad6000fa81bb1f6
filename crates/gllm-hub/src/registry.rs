//! The models that have a short name: `registry.toml`, parsed once.
//!
//! Invariant: aliases and repositories are unique without regard to case, and every listed model is of an
//! architecture that gllm loads. Source of the facts: the model cards and configurations of the repositories.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use gllm_core::{InvalidConfig, ModelInfo, Result};
use serde::Deserialize;

use crate::id::HubId;

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
    /// The file in GGUF that is the model, of several shards the first; without one, the repository is.
    pub file: Option<String>,
    /// The SPDX name of the licence that the publisher states, if any.
    pub licence: Option<String>,
    /// A Python package that ships the same files, if any: the fall-back when the Hub can't be reached.
    pub package: Option<Package>,
}

/// How Python packages ship a model.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Package {
    /// All files in one package.
    Files(PackageFiles),
    /// One file, in parts, each in a package of its own.
    Parts(PackageParts),
}

/// A Python package that ships a model's files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PackageFiles {
    /// The package's name.
    pub name: String,
    /// The version that was checked; no other is used.
    pub version: String,
    /// The model's folder within the wheel, with the slash at the end.
    pub prefix: String,
    /// Every file that is used, by its name below `prefix`, with its sha256 in lower-case hex.
    pub files: BTreeMap<String, String>,
}

/// Python packages that ship a model's one file together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PackageParts {
    /// The sha256 of the file, in lower-case hex.
    pub sha256: String,
    /// The parts of the file, in order.
    pub parts: Vec<PackagePart>,
}

/// A Python package that ships a part of a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PackagePart {
    /// The package's name.
    pub name: String,
    /// The version that was checked; no other is used.
    pub version: String,
    /// Where the part is within the wheel.
    pub path: String,
    /// The part's length.
    pub bytes: u64,
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

    /// The model of this alias or `org/name`, without regard to case. Of several in one repository, that is the one that
    /// is the whole of it, else the first.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&RegistryEntry> {
        let by_alias = |entry: &&RegistryEntry| entry.info.alias.eq_ignore_ascii_case(name);
        let by_repo = |entry: &&RegistryEntry| entry.info.repo_id.eq_ignore_ascii_case(name);
        let is_whole = |entry: &&RegistryEntry| entry.file.is_none();
        let entries = || self.entries.iter();
        entries()
            .find(by_alias)
            .or_else(|| entries().filter(is_whole).find(by_repo))
            .or_else(|| entries().find(by_repo))
    }

    /// The model of this repository and, if `id` has one, of this file in it.
    #[must_use]
    pub fn entry(&self, id: &HubId) -> Option<&RegistryEntry> {
        self.entries.iter().find(|entry| entry.info.repo_id == id.repo_id() && entry.file.as_deref() == id.file())
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

    /// Those that the registry may name. `Architecture` takes any name, so a slip would go unnoticed.
    const ARCHITECTURES: [&str; 17] = [
        "bert",
        "distilbert",
        "electra",
        "gemma2",
        "jina_bert",
        "llama",
        "mistral",
        "mixtral",
        "modernbert",
        "mpnet",
        "new",
        "nomic_bert",
        "qwen2",
        "qwen3",
        "qwen3_moe",
        "roberta",
        "xlm-roberta",
    ];

    #[test]
    fn embedded_registry_parses_and_names_are_unique_and_valid() {
        let registry = ModelRegistry::builtin();
        let mut seen = HashSet::new();
        for entry in &registry.entries {
            let info = &entry.info;
            let id = HubId::of(entry, None).expect("a valid repository and file");
            assert!(seen.insert(info.alias.to_lowercase()), "{} twice", info.alias);
            assert!(seen.insert(id.to_string().to_lowercase()), "{id} twice");
            assert!(!info.alias.contains(['/', '@', ':']), "{}", info.alias);
            assert_eq!(registry.entry(&id).map(|entry| &entry.info.alias), Some(&info.alias));
            assert!(ARCHITECTURES.contains(&info.architecture.as_str()), "{}: {}", info.alias, info.architecture);
        }
    }

    #[test]
    fn the_length_of_generators_is_known() {
        for info in ModelRegistry::builtin().models().filter(|info| info.model_type == ModelType::Generator) {
            assert!(info.max_length.is_some(), "{}", info.alias);
        }
    }

    #[test]
    fn dimensions_are_those_of_dense_embeddings() {
        for info in ModelRegistry::builtin().models() {
            let is_dense = info.model_type == ModelType::Embedding && !info.alias.starts_with("splade-");
            assert_eq!(info.dimensions.is_some(), is_dense, "{}", info.alias);
        }
    }

    fn is_sha256(text: &str) -> bool {
        text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    }

    #[test]
    fn embedded_packages_pin_every_file_by_sha256() {
        for entry in &ModelRegistry::builtin().entries {
            match &entry.package {
                None => {}
                Some(Package::Files(package)) => {
                    assert!(package.prefix.ends_with('/'), "{}", package.name);
                    for needed in ["model.safetensors", "config.json", "tokenizer.json"] {
                        assert!(package.files.contains_key(needed), "{needed} of {}", package.name);
                    }
                    for (file, sha256) in &package.files {
                        assert!(is_sha256(sha256) && crate::listing::is_safe(file), "{file} of {}", package.name);
                    }
                }
                Some(Package::Parts(package)) => {
                    assert!(entry.file.is_some() && is_sha256(&package.sha256), "{}", entry.info.alias);
                    assert!(package.parts.iter().all(|part| part.bytes > 0), "{}", entry.info.alias);
                }
            }
        }
    }

    #[test]
    fn several_models_of_a_repository_are_told_apart_by_their_files() {
        let model = |alias: &str, file: &str| {
            format!(
                "[[model]]\nalias = \"{alias}\"\nrepo_id = \"org/name\"\nmodel_type = \"generator\"\n\
                 architecture = \"llama\"\n{file}\n"
            )
        };
        let text = [model("a", "file = \"a.gguf\""), model("b", "file = \"b.gguf\"")].concat();
        let registry = ModelRegistry::parse(&text).expect("a registry");
        let alias = |name: &str| registry.get(name).map(|entry| entry.info.alias.clone());
        let of_file = |file| HubId::new("org/name", None).and_then(|id| id.with_file(file)).expect(file);
        let aliases = ["a.gguf", "b.gguf", "c.gguf"].map(|file| registry.entry(&of_file(file)).map(|e| &e.info.alias));
        assert_eq!(aliases, [Some(&"a".to_owned()), Some(&"b".to_owned()), None]);
        assert_eq!([alias("B"), alias("ORG/name")], [Some("b".to_owned()), Some("a".to_owned())]);

        let registry = ModelRegistry::parse(&(text + &model("whole", ""))).expect("a registry");
        assert_eq!(registry.get("org/name").map(|entry| entry.info.alias.as_str()), Some("whole"));
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
