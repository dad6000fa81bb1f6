//! Which files of a repository a model needs: configuration, tokenizer, pooling, and one set of weights.
//!
//! Invariant: pure, and what is chosen has everything that loading needs. ONNX, `OpenVINO`, `TensorFlow` and pickled
//! weights are never chosen. Names of the files: those of transformers and sentence-transformers.

use gllm_core::LoadProblem;

use crate::listing::Sibling;

/// Read where they are there; `config.json` must be.
const PLAIN: [&str; 8] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
];

/// What a tokenizer can be built from where there is no `tokenizer.json`.
const VOCABULARY: [&str; 6] =
    ["vocab.txt", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.model", "sentencepiece.bpe.model"];

/// The files of `listing` that a model needs, in its order.
///
/// Without `config.json`, or without weights that gllm reads, it is refused, naming what is there.
pub(crate) fn needed_files(listing: &[Sibling]) -> Result<Vec<&Sibling>, LoadProblem> {
    let has = |name: &str| listing.iter().any(|file| file.name == name);
    if !has("config.json") {
        return Err(LoadProblem::MissingFile { expected: "config.json".to_owned() });
    }
    let weights = Weights::choose(listing)?;
    let needs_vocabulary = !has("tokenizer.json");
    let needed = |file: &&Sibling| {
        let name = file.name.as_str();
        PLAIN.contains(&name)
            || (needs_vocabulary && VOCABULARY.contains(&name))
            || is_module_file(name)
            || weights.include(name)
    };
    Ok(listing.iter().filter(needed).collect())
}

enum Weights {
    Single,
    Sharded,
}

impl Weights {
    fn choose(listing: &[Sibling]) -> Result<Self, LoadProblem> {
        let has = |name: &str| listing.iter().any(|file| file.name == name);
        if has("model.safetensors") {
            return Ok(Self::Single);
        }
        let shards: Vec<_> = listing.iter().filter_map(|file| shard_of(&file.name)).collect();
        if has("model.safetensors.index.json") && shards.first().is_some_and(|(_, count)| *count == shards.len()) {
            return Ok(Self::Sharded);
        }
        let of_other_formats = ["pytorch_model.bin", ".bin", ".gguf", ".safetensors", ".h5", ".onnx"]
            .iter()
            .find_map(|ending| listing.iter().find(|file| file.name.ends_with(ending)));
        let supported = "`model.safetensors`, or its shards with `model.safetensors.index.json`";
        Err(match of_other_formats {
            Some(file) => LoadProblem::Unsupported {
                what: "weights file".to_owned(),
                found: file.name.clone(),
                supported: format!("{supported}; convert the weights, and give the folder with them as the model"),
            },
            None => LoadProblem::MissingFile { expected: supported.to_owned() },
        })
    }

    fn include(&self, name: &str) -> bool {
        match self {
            Self::Single => name == "model.safetensors",
            Self::Sharded => name == "model.safetensors.index.json" || shard_of(name).is_some(),
        }
    }
}

/// `model-00002-of-00003.safetensors` is `(2, 3)`.
fn shard_of(name: &str) -> Option<(usize, usize)> {
    let (index, count) = name.strip_prefix("model-")?.strip_suffix(".safetensors")?.split_once("-of-")?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((number(index)?, number(count)?))
}

/// A file of a sentence-transformers module: `1_Pooling/config.json`, `2_Dense/model.safetensors`.
fn is_module_file(name: &str) -> bool {
    let Some((folder, file)) = name.split_once('/') else { return false };
    let Some((number, kind)) = folder.split_once('_') else { return false };
    matches!(file, "config.json" | "model.safetensors")
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && !kind.is_empty()
        && kind.bytes().all(|b| b.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(listing: &[&str], expected: Result<&[&str], LoadProblem>) {
        let files: Vec<_> = listing.iter().map(|name| Sibling::named(name)).collect();
        let names = needed_files(&files).map(|files| files.into_iter().map(|f| f.name.as_str()).collect::<Vec<_>>());
        assert_eq!(names, expected.map(<[&str]>::to_vec));
    }

    #[test]
    fn sentence_transformers_repository() {
        check(
            &[
                ".gitattributes",
                "1_Pooling/config.json",
                "2_Dense/config.json",
                "2_Dense/model.safetensors",
                "2_Dense/pytorch_model.bin",
                "README.md",
                "config.json",
                "config_sentence_transformers.json",
                "model.safetensors",
                "modules.json",
                "onnx/model.onnx",
                "onnx/config.json",
                "openvino/openvino_model.bin",
                "pytorch_model.bin",
                "rust_model.ot",
                "tf_model.h5",
                "tokenizer.json",
                "tokenizer_config.json",
                "vocab.txt",
            ],
            Ok(&[
                "1_Pooling/config.json",
                "2_Dense/config.json",
                "2_Dense/model.safetensors",
                "config.json",
                "config_sentence_transformers.json",
                "model.safetensors",
                "modules.json",
                "tokenizer.json",
                "tokenizer_config.json",
            ]),
        );
    }

    #[test]
    fn vocabulary_only_without_tokenizer_json() {
        check(
            &["config.json", "model.safetensors", "vocab.txt"],
            Ok(&["config.json", "model.safetensors", "vocab.txt"]),
        );
    }

    #[test]
    fn shards_need_their_index_and_all_of_them() {
        let whole = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
        ];
        check(&whole, Ok(&whole));
        let lacking = [&whole[..2], &whole[3..]].concat();
        let files: Vec<_> = lacking.iter().map(|name| Sibling::named(name)).collect();
        let problem = needed_files(&files).expect_err("a shard is missing");
        assert!(matches!(&problem, LoadProblem::Unsupported { found, .. } if found == whole[1]), "{problem}");
    }

    #[test]
    fn one_file_wins_over_shards() {
        check(
            &["config.json", "model-00001-of-00001.safetensors", "model.safetensors", "model.safetensors.index.json"],
            Ok(&["config.json", "model.safetensors"]),
        );
    }

    #[test]
    fn other_weights_are_refused_by_name() {
        for found in ["pytorch_model.bin", "model-q4_k_m.gguf", "adapter_model.safetensors"] {
            let files = ["config.json", found].map(Sibling::named);
            let problem = needed_files(&files).expect_err(found);
            assert!(matches!(&problem, LoadProblem::Unsupported { found: name, .. } if name == found), "{problem}");
        }
        check(&["model.safetensors"], Err(LoadProblem::MissingFile { expected: "config.json".to_owned() }));
    }
}
