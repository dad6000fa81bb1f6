//! ELECTRA: BERT whose embedding tables may be narrower than its hidden states.
//!
//! Source: <https://arxiv.org/abs/2003.10555>; `ElectraConfig` of transformers.

use std::path::Path;

use gllm_core::Result;
use serde::Deserialize;

use super::bert;
use crate::config::ClassifierConfig;
use crate::{Activation, EncoderConfig};

#[derive(Deserialize)]
struct File {
    #[serde(flatten)]
    bert: bert::File,
    #[serde(default = "small")]
    embedding_size: usize,
}

fn small() -> usize {
    128
}

pub(super) fn read(folder: &Path) -> Result<EncoderConfig> {
    EncoderConfig::read(folder, |file: File| {
        let config = file.bert.absolute()?;
        let classifier = ClassifierConfig { activation: Activation::Gelu, ..ClassifierConfig::BERT };
        Ok(EncoderConfig { embedding_size: file.embedding_size, classifier, ..config })
    })
}
