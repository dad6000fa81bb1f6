//! MPNet: RoBERTa's positions, no segments, and a learned bias for distances in attention.
//!
//! Source: <https://arxiv.org/abs/2004.09297>; `MPNetConfig` of transformers.

use std::path::Path;

use gllm_core::Result;

use super::{bert, roberta};
use crate::EncoderConfig;
use crate::config::AttentionPositions;

/// Fixed in `MPNetEmbeddings.padding_idx`, whatever `pad_token_id` says.
const PADDING: u32 = 1;

pub(super) fn read(folder: &Path) -> Result<EncoderConfig> {
    EncoderConfig::read(folder, |file: bert::File| {
        let attention_positions = AttentionPositions::Relative;
        let config = EncoderConfig { token_types: None, attention_positions, ..file.absolute()? };
        roberta::behind_padding(config, PADDING)
    })
}
