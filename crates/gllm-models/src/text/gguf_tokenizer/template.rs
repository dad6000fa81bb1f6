//! The special tokens around a text and between the two of a pair.

use gllm_core::Result;
use tokenizers::processors::template::{SpecialToken, TemplateProcessing};

use super::vocabulary::{BOS_ID, EOS_ID, SEP_ID, Vocabulary};

const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SEP: &str = "tokenizer.ggml.add_sep_token";

/// `first A last` of a text, `first A between B last` of a pair.
pub(super) struct Template<'a> {
    pub(super) first: &'a [u32],
    pub(super) between: &'a [u32],
    pub(super) last: &'a [u32],
    /// What `B` and its `last` count as; `A`'s is 0.
    pub(super) second_segment: u32,
}

/// Which special tokens are added where a file doesn't say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    pub(super) bos: bool,
    pub(super) eos: bool,
    pub(super) sep: bool,
}

impl Template<'_> {
    /// `None` where nothing is added.
    pub(super) fn build(&self, vocabulary: &Vocabulary<'_>) -> Result<Option<TemplateProcessing>> {
        let parts = [("first", self.first), ("between", self.between), ("last", self.last)];
        let mut special = Vec::new();
        for (name, ids) in parts {
            let tokens = ids.iter().map(|&id| vocabulary.text(id).to_owned()).collect();
            special.push(SpecialToken::new(name.into(), ids.to_vec(), tokens).map_err(|e| vocabulary.failed(&e))?);
        }
        if parts.iter().all(|(_, ids)| ids.is_empty()) {
            return Ok(None);
        }
        let second = self.second_segment;
        let template = TemplateProcessing::builder()
            .try_single("first:0 $A:0 last:0")
            .and_then(|builder| builder.try_pair(format!("first:0 $A:0 between:0 $B:{second} last:{second}").as_str()))
            .map_err(|e| vocabulary.failed(&e))?
            .special_tokens(special)
            .build();
        template.map(Some).map_err(|e| vocabulary.failed(&e))
    }
}

/// The template of the kinds of tokenizers that call their special tokens `bos`, `eos` and `sep`.
///
/// The separator is added between the texts of a pair, behind what ends the first.
pub(super) fn of_flags(vocabulary: &Vocabulary<'_>, default: Added) -> Result<Option<TemplateProcessing>> {
    let special = vocabulary.special();
    let part = |key, default, id, key_of_id| -> Result<Vec<u32>> {
        let is_added = vocabulary.flag(key, default)?;
        is_added.then(|| vocabulary.require(id, key_of_id)).transpose().map(|id| id.into_iter().collect())
    };
    let first = part(ADD_BOS, default.bos, special.bos.or(special.cls), BOS_ID)?;
    let last = part(ADD_EOS, default.eos, special.eos.or(special.sep), EOS_ID)?;
    let sep = part(ADD_SEP, default.sep, special.sep, SEP_ID)?;
    let between = [last.as_slice(), &sep].concat();
    Template { first: &first, between: &between, last: &last, second_segment: 0 }.build(vocabulary)
}
