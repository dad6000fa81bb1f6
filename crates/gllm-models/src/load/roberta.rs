//! RoBERTa and XLM-RoBERTa: BERT whose positions start behind the padding token's, with one segment.
//!
//! Source: <https://arxiv.org/abs/1907.11692>, <https://arxiv.org/abs/1911.02116>; `RobertaConfig` of transformers.

use std::path::Path;

use gllm_core::{LoadProblem, Result};
use serde::Deserialize;

use super::bert;
use crate::EncoderConfig;
use crate::config::{LearnedPositions, TokenTypes, bad_field};

#[derive(Deserialize)]
struct File {
    #[serde(flatten)]
    bert: bert::File,
    #[serde(default = "one")]
    pad_token_id: u32,
}

fn one() -> u32 {
    1
}

pub(super) fn read(folder: &Path) -> Result<EncoderConfig> {
    EncoderConfig::read(folder, |file: File| {
        let config = file.bert.absolute()?;
        let token_types = config.token_types.map(|types| TokenTypes { from_tokenizer: false, ..types });
        behind_padding(EncoderConfig { token_types, ..config }, file.pad_token_id)
    })
}

/// `config` with positions that are counted from behind row `padding`.
pub(super) fn behind_padding(config: EncoderConfig, padding: u32) -> std::result::Result<EncoderConfig, LoadProblem> {
    let rows = config.max_length;
    let Some(max_length) = rows.checked_sub(padding as usize + 1).filter(|&length| length > 0) else {
        let expected = format!("more than pad_token_id + 1 = {}", u64::from(padding) + 1);
        return Err(bad_field("max_position_embeddings", expected, rows));
    };
    let learned_positions = Some(LearnedPositions { rows, padding: Some(padding) });
    Ok(EncoderConfig { max_length, learned_positions, ..config })
}
