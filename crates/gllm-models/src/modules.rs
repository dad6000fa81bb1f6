//! `modules.json` of sentence-transformers: what follows the encoder, in order.

use std::path::{Component, Path, PathBuf};

use gllm_core::{LoadError, Result};
use serde::Deserialize;

use crate::config::{read_json, unsupported};

/// The modules behind the encoder.
#[derive(Debug)]
pub(crate) struct Modules {
    /// The list's own path, for errors about it.
    pub(crate) path: PathBuf,
    pub(crate) after_encoder: Vec<Module>,
}

/// A module with a folder of its own.
#[derive(Debug)]
pub(crate) struct Module {
    /// The class in Python, with its package.
    pub(crate) class: String,
    pub(crate) folder: PathBuf,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    class: String,
}

impl Module {
    /// The class without its package, which changed over the versions.
    pub(crate) fn name(&self) -> &str {
        name(&self.class)
    }
}

fn name(class: &str) -> &str {
    class.rsplit('.').next().unwrap_or_default()
}

impl Modules {
    /// Reads the list in `folder`; `None` if there is none.
    ///
    /// # Errors
    /// [`LoadError`] if it doesn't begin with an encoder in the model's own folder, or leads out of it.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join("modules.json");
        let Some(entries) = read_json::<Vec<Entry>>(&path)? else { return Ok(None) };
        let mut after_encoder = Vec::new();
        for (place, entry) in entries.into_iter().enumerate() {
            let is_encoder = matches!(name(&entry.class), "Transformer" | "MLMTransformer") && entry.path.is_empty();
            if (place == 0) != is_encoder {
                let supported = "Transformer or MLMTransformer, in the model's folder, as the first and only there";
                return Err(LoadError::new(path, unsupported("sentence module", entry.class, supported)).into());
            }
            if !Path::new(&entry.path).components().all(|part| matches!(part, Component::Normal(_))) {
                let problem = unsupported("module path", entry.path, "a folder within the model");
                return Err(LoadError::new(path, problem).into());
            }
            if place > 0 {
                after_encoder.push(Module { class: entry.class, folder: folder.join(entry.path) });
            }
        }
        Ok(Some(Self { path, after_encoder }))
    }

    /// The folder of what scores a ranking, of a model that has nothing else.
    pub(crate) fn logit_score(&self) -> Option<&Path> {
        self.only("LogitScore")
    }

    /// The folder of the pooling of a SPLADE model, which has nothing else.
    pub(crate) fn splade(&self) -> Option<&Path> {
        self.only("SpladePooling")
    }

    fn only(&self, name: &str) -> Option<&Path> {
        match self.after_encoder.as_slice() {
            [only] if only.name() == name => Some(&only.folder),
            _ => None,
        }
    }
}
