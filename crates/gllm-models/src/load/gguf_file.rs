//! What a GGUF file says of a network: keys that start with the architecture's name, and the shapes of tensors.

use gllm_core::{LoadError, LoadProblem, Result};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::Metadata;

use crate::config::bad_field;

pub(super) const ARCHITECTURE: &str = "general.architecture";
/// The last layer of a head that scores a sequence.
pub(super) const CLASSIFIER: &str = "cls.output.weight";
const WORDS: &str = "token_embd.weight";

/// A file, or a set of them, and the network that it names.
pub(super) struct GgufNetwork<'a> {
    pub(super) files: &'a WeightFiles,
    pub(super) metadata: &'a Metadata,
    pub(super) architecture: &'a str,
}

impl<'a> GgufNetwork<'a> {
    pub(super) fn new(files: &'a WeightFiles, metadata: &'a Metadata) -> Result<Self> {
        Ok(Self { files, metadata, architecture: metadata.require_string(ARCHITECTURE)? })
    }

    /// The rows of the table of embeddings.
    pub(super) fn vocab_size(&self) -> Result<usize> {
        let missing = || LoadProblem::MissingTensor { tensor: WORDS.into(), nearest: None };
        rows(self.files, WORDS).ok_or_else(|| self.error(missing()).into())
    }

    /// A number that must be there, and more than nothing.
    pub(super) fn size(&self, name: &str) -> Result<usize> {
        let key = self.key(name);
        match self.metadata.require_usize(&key)? {
            0 => Err(self.error(bad_field(&key, "at least 1", 0)).into()),
            size => Ok(size),
        }
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    pub(super) fn error(&self, problem: LoadProblem) -> LoadError {
        LoadError::new(self.metadata.path(), problem)
    }
}

pub(super) fn rows(files: &WeightFiles, tensor: &str) -> Option<usize> {
    files.describe(tensor)?.shape.first().copied()
}
