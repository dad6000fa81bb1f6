//! What a caller calls a model: alias, `org/name[:file.gguf][@revision]`, or a path.
//!
//! Invariant: the parts of a [`HubId`] are of letters, digits and a few marks, so that they can be put into an address
//! and into a folder's name as they are. Precedence: an alias of the registry, then a path, then `org/name`.

use std::fmt;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::str::FromStr;

use gllm_core::{Error, InvalidConfig, ModelNotFound};

use crate::gguf_name::GgufName;
use crate::registry::{ModelRegistry, RegistryEntry};

/// The branch that is meant where none is named.
const DEFAULT_REVISION: &str = "main";

/// Longest name of an organisation or a model that the Hub gives out, in bytes.
const MAX_PART: usize = 96;

/// A model as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelId {
    /// A folder or a file on this machine, which may or may not exist.
    Local(PathBuf),
    /// A repository of the Hub.
    Hub(HubId),
}

impl ModelId {
    /// Parses a name with the aliases of [`ModelRegistry::builtin`].
    ///
    /// In this order: `alias[@revision]`; a path, which starts with `.`, `/` or `~`, or has a separator and exists;
    /// `org/name[:file.gguf][@revision]`. Where no file is named, it is the one that the registry names, if any. An
    /// unknown alias is `Error::ModelNotFound` with near names, a malformed name is `Error::InvalidConfig`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::parse_with(text, ModelRegistry::builtin())
    }

    /// [`ModelId::parse`] with the aliases of another registry.
    pub fn parse_with(text: &str, registry: &ModelRegistry) -> Result<Self, Error> {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(malformed(text, "a name without control characters").into());
        }
        let (name, revision) = match text.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (text, None),
        };
        if !name.contains('/')
            && let Some(entry) = registry.get(name)
        {
            return HubId::of(entry, revision).map(Self::Hub);
        }
        if let Some(path) = as_path(text) {
            return Ok(Self::Local(path));
        }
        if let Some((name, file)) = name.split_once(':') {
            let repo_id = registry.get(name).map_or(name, |entry| &entry.info.repo_id);
            return HubId::new(repo_id, revision)?.with_file(file).map(Self::Hub);
        }
        if name.contains('/') {
            // The registry's spelling, so that one model has one folder.
            return registry
                .get(name)
                .map_or_else(|| HubId::new(name, revision), |entry| HubId::of(entry, revision))
                .map(Self::Hub);
        }
        Err(unknown(text, registry))
    }
}

impl FromStr for ModelId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Hub(id) => id.fmt(f),
        }
    }
}

/// A repository of the Hub at a revision, or one model in GGUF of several that it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubId {
    repo_id: String,
    file: Option<GgufName>,
    /// `None` is the default branch.
    revision: Option<String>,
}

impl HubId {
    /// The repository `org/name` at a branch, tag or commit; `None` and `main` are the default branch.
    ///
    /// Names that can't be a repository or a revision are `Error::InvalidConfig`.
    pub fn new(repo_id: &str, revision: Option<&str>) -> Result<Self, Error> {
        let parts: Vec<_> = repo_id.split('/').collect();
        if parts.len() != 2 || !parts.iter().all(|part| is_valid(part)) {
            return Err(malformed(repo_id, "`org/name` of letters, digits, `-`, `_` and `.`").into());
        }
        if let Some(revision) = revision
            && !revision.split('/').all(is_valid)
        {
            return Err(malformed(&format!("{repo_id}@{revision}"), "a branch, tag or commit after `@`").into());
        }
        let revision = revision.filter(|revision| *revision != DEFAULT_REVISION).map(str::to_owned);
        Ok(Self { repo_id: repo_id.to_owned(), file: None, revision })
    }

    /// What the registry means by an entry.
    pub(crate) fn of(entry: &RegistryEntry, revision: Option<&str>) -> Result<Self, Error> {
        let id = Self::new(&entry.info.repo_id, revision)?;
        entry.file.as_deref().map_or(Ok(id.clone()), |file| id.with_file(file))
    }

    /// The model in this file of the repository, or in the set of files that it is the first of; in place of another.
    ///
    /// What can't be the path of a `.gguf` file within a repository is `Error::InvalidConfig`, and so is a shard that
    /// isn't the first.
    pub fn with_file(self, file: &str) -> Result<Self, Error> {
        let expected = "a `.gguf` file of the repository after `:`, of several shards the first";
        let name = GgufName::parse(file).ok_or_else(|| malformed(&format!("{}:{file}", self.repo_id), expected))?;
        Ok(Self { file: Some(name), ..self })
    }

    /// `org/name`.
    #[must_use]
    pub fn repo_id(&self) -> &str {
        &self.repo_id
    }

    /// The file in GGUF that is the model, if one is meant; of several shards the first.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.file.as_ref().map(GgufName::as_str)
    }

    pub(crate) fn gguf(&self) -> Option<&GgufName> {
        self.file.as_ref()
    }

    /// The branch, tag or commit.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(DEFAULT_REVISION)
    }

    /// Whether this is the default branch.
    #[must_use]
    pub fn is_default_revision(&self) -> bool {
        self.revision.is_none()
    }

    /// The folder's name in the store: `org--name`, or `org--name@revision` for another than the default branch. The
    /// models in GGUF of a repository lie in one folder.
    #[must_use]
    pub fn folder_name(&self) -> String {
        Self { file: None, ..self.clone() }.work_name()
    }

    /// What the lock and the staged files go by: [`HubId::folder_name`], and the file if there is one.
    pub(crate) fn work_name(&self) -> String {
        self.to_string().replace(['/', ':'], "--")
    }

    /// The id that has this folder's name, the inverse of [`HubId::folder_name`] but for slashes in revisions.
    pub(crate) fn from_folder_name(folder: &str) -> Option<Self> {
        let (repo, revision) = match folder.split_once('@') {
            Some((repo, revision)) => (repo, Some(revision.replace("--", "/"))),
            None => (folder, None),
        };
        Self::new(&repo.replacen("--", "/", 1), revision.as_deref()).ok()
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo_id)?;
        if let Some(file) = &self.file {
            write!(f, ":{file}")?;
        }
        self.revision.as_ref().map_or(Ok(()), |revision| write!(f, "@{revision}"))
    }
}

/// Whether `part` can stand between slashes. `--` is refused, as by the Hub: in a folder's name it is the slash.
fn is_valid(part: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'+');
    (1..=MAX_PART).contains(&part.len())
        && part.bytes().all(good)
        && !part.starts_with(['.', '-'])
        && !part.ends_with(['.', '-'])
        && !part.contains("--")
        && !part.contains("..")
}

fn as_path(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    if let Some(below_home) = text.strip_prefix('~')
        && (below_home.is_empty() || below_home.starts_with(['/', MAIN_SEPARATOR]))
    {
        return Some(match std::env::home_dir() {
            Some(home) => home.join(below_home.trim_start_matches(['/', MAIN_SEPARATOR])),
            None => path.to_owned(),
        });
    }
    let is_path = text.starts_with(['.', '/', '~']) || path.is_absolute();
    (is_path || (text.contains(['/', MAIN_SEPARATOR]) && path.exists())).then(|| path.to_owned())
}

fn malformed(text: &str, expected: &str) -> InvalidConfig {
    InvalidConfig::new("model", expected, format!("`{}`", text.escape_debug()))
}

fn unknown(text: &str, registry: &ModelRegistry) -> Error {
    let reason = if Path::new(text).exists() {
        format!("it is no alias; write `./{text}` for the folder or file of that name")
    } else {
        "it is no alias; give an alias, `org/name` or a path such as `./folder`".to_owned()
    };
    ModelNotFound { model: text.to_owned(), reason, suggestions: registry.suggest(text) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(text: &str) -> HubId {
        match ModelId::parse(text) {
            Ok(ModelId::Hub(id)) => id,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn aliases_come_first_and_may_carry_a_revision() {
        assert_eq!(hub("All-MiniLM-L6-v2").repo_id(), "sentence-transformers/all-MiniLM-L6-v2");
        let id = hub("bge-small-en@refs/pr/1");
        assert_eq!((id.repo_id(), id.revision()), ("BAAI/bge-small-en-v1.5", "refs/pr/1"));
        assert_eq!(id.folder_name(), "BAAI--bge-small-en-v1.5@refs--pr--1");
        assert_eq!(HubId::from_folder_name(&id.folder_name()), Some(id));
    }

    #[test]
    fn repositories_keep_the_registrys_spelling_and_main_is_the_default() {
        assert_eq!(hub("baai/BGE-small-en-v1.5").repo_id(), "BAAI/bge-small-en-v1.5");
        assert_eq!(hub("org/name@main"), hub("org/name"));
        assert_eq!(hub("org/name").folder_name(), "org--name");
        assert_eq!(hub("org/name").to_string(), "org/name");
    }

    #[test]
    fn a_file_of_a_repository_is_a_model_of_its_own() {
        let id = hub("org/name:sub/x-00001-of-00002.gguf@v1");
        assert_eq!((id.repo_id(), id.file(), id.revision()), ("org/name", Some("sub/x-00001-of-00002.gguf"), "v1"));
        assert_eq!(id.to_string(), "org/name:sub/x-00001-of-00002.gguf@v1");
        assert_eq!(id.folder_name(), "org--name@v1");
        assert_ne!(hub("org/name:a.gguf").work_name(), hub("org/name:b.gguf").work_name());
    }

    #[test]
    fn registry_says_which_file_is_meant_unless_the_caller_does() {
        let qwen = hub("qwen2.5-coder-0.5b-instruct");
        assert_eq!(qwen.file(), Some("qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"));
        assert_eq!(hub("qwen/QWEN2.5-coder-0.5b-instruct-gguf"), qwen);
        let other = hub("qwen2.5-coder-0.5b-instruct:other.gguf");
        assert_eq!((other.repo_id(), other.file()), (qwen.repo_id(), Some("other.gguf")));
    }

    #[test]
    fn paths_are_local_whether_they_exist_or_not() {
        for text in ["./x", "../x/y", "/absolute/x", ".", "~/models/x"] {
            assert!(matches!(ModelId::parse(text), Ok(ModelId::Local(_))), "{text}");
        }
        // The tests run in the crate's folder, where this exists: a path that exists is local.
        assert!(matches!(ModelId::parse("src/lib.rs"), Ok(ModelId::Local(_))));
        if let Some(home) = std::env::home_dir() {
            assert_eq!(ModelId::parse("~/x").expect("a path"), ModelId::Local(home.join("x")));
        }
    }

    #[test]
    fn malformed_names_are_refused() {
        for text in [
            "",
            " ",
            "a/b\n",
            "a/",
            "a//b",
            "a/b/c",
            "a/..",
            "a/../b",
            "a/b@",
            "a/b@../x",
            "a/b@x//y",
            "a/b c",
            "a/b@x@y",
            "a\\..\\b/c",
            "a--b/c",
            "-a/b",
            "org/na\u{7f}me",
            "a/b:",
            "a/b:x.bin",
            "a/b:../x.gguf",
            "a/b:x.gguf:y.gguf",
            "a/b:x-00002-of-00002.gguf",
            "a/b@v1:x.gguf",
            "no-such-alias:x.gguf",
            "all-MiniLM-L6-v2@",
            "all-MiniLM-L6-v2@../..",
        ] {
            let error = ModelId::parse(text).expect_err(text);
            assert!(matches!(error, Error::InvalidConfig(_)), "{text}: {error}");
        }
    }

    #[test]
    fn unknown_aliases_come_with_suggestions() {
        let error = ModelId::parse("all-MiniLM-L6").expect_err("unknown");
        let Error::ModelNotFound(error) = error else { panic!("{error}") };
        assert_eq!(error.suggestions.first().map(String::as_str), Some("all-MiniLM-L6-v2"));

        let error = ModelId::parse("Cargo.toml").expect_err("a bare name is no path");
        assert!(error.to_string().contains("write `./Cargo.toml`"), "{error}");
    }
}
