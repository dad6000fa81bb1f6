//! `config_sentence_transformers.json`: what sentence-transformers says of a model as a whole.

use std::collections::BTreeMap;
use std::path::Path;

use gllm_core::Result;
use serde::Deserialize;

use crate::config::read_json;

/// The name of the file.
pub(crate) const FILE: &str = "config_sentence_transformers.json";

/// What is read of the file.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct SentenceConfig {
    /// By name.
    #[serde(default)]
    pub(crate) prompts: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) default_prompt_name: Option<String>,
    /// What becomes of the logit of a reranker: a path in Python, such as `torch.nn.modules.linear.Identity`.
    #[serde(default)]
    pub(crate) activation_fn: Option<String>,
}

impl SentenceConfig {
    /// Reads the file in `folder`; if there is none, it says nothing.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        Ok(read_json(&folder.join(FILE))?.unwrap_or_default())
    }

    /// The prompt that the model itself chooses.
    pub(crate) fn default_prompt(&self) -> Option<&str> {
        self.prompts.get(self.default_prompt_name.as_deref()?).map(String::as_str)
    }
}
