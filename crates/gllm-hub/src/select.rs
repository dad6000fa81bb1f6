//! Which files of a repository a model needs: configuration, tokenizer, modules, and one set of weights.
//!
//! Invariant: pure, and what is chosen has everything that loading needs. Weights come in one format only: safetensors
//! where they are whole, else `PyTorch`'s, else a model in GGUF, which is whole by itself. ONNX, `OpenVINO` and
//! `TensorFlow` are never chosen. Names of the files: those of transformers, sentence-transformers and, for the heads,
//! `FlagEmbedding`.

use gllm_core::LoadProblem;

use crate::gguf_name::GgufName;
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

/// What bge-m3 has beside its encoder: the layers that make its sparse and its multi-vector embeddings. There is no
/// copy of them in safetensors.
const HEADS: [&str; 2] = ["sparse_linear.pt", "colbert_linear.pt"];

/// What a tokenizer can be built from where there is no `tokenizer.json`.
const VOCABULARY: [&str; 6] =
    ["vocab.txt", "vocab.json", "merges.txt", "added_tokens.json", "tokenizer.model", "sentencepiece.bpe.model"];

/// The weights of a sentence-transformers module, in a folder of its own: the first of these that is there.
const MODULE_WEIGHTS: [&str; 2] = [SAFETENSORS.single, PYTORCH.single];

/// Why there is nothing to download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The repository isn't a model that gllm reads.
    Problem(LoadProblem),
    /// One of these files must be named: the repository holds several models in GGUF, and nothing else.
    Several(Vec<String>),
    /// There is no such file.
    Lacks { name: String, others: Vec<String> },
}

/// The files of `listing` that a model needs, in its order; with `file`, those of that model in GGUF.
pub(crate) fn needed_files<'a>(listing: &'a [Sibling], file: Option<&GgufName>) -> Result<Vec<&'a Sibling>, Unfit> {
    if let Some(file) = file {
        return gguf_files(listing, file);
    }
    let weights = Weights::choose(listing);
    if !has(listing, "config.json") || weights.is_err() {
        match models_in_gguf(listing).as_slice() {
            [] => {}
            [one] => return gguf_files(listing, one),
            several => return Err(Unfit::Several(several.iter().map(ToString::to_string).collect())),
        }
    }
    if !has(listing, "config.json") {
        return Err(Unfit::Problem(LoadProblem::MissingFile { expected: "config.json".to_owned() }));
    }
    let weights = weights.map_err(Unfit::Problem)?;
    let needs_vocabulary = !has(listing, "tokenizer.json");
    let needed = |file: &&Sibling| {
        let name = file.name.as_str();
        PLAIN.contains(&name)
            || HEADS.contains(&name)
            || (needs_vocabulary && VOCABULARY.contains(&name))
            || is_module_file(listing, name)
            || weights.include(name)
    };
    Ok(listing.iter().filter(needed).collect())
}

/// The models in GGUF, each by its only file or its first shard.
fn models_in_gguf(listing: &[Sibling]) -> Vec<GgufName> {
    listing.iter().filter_map(|file| GgufName::parse(&file.name)).collect()
}

/// The file, or all of its shards.
fn gguf_files<'a>(listing: &'a [Sibling], model: &GgufName) -> Result<Vec<&'a Sibling>, Unfit> {
    let others = || models_in_gguf(listing).iter().map(ToString::to_string).collect();
    let find = |name: String| {
        let file = listing.iter().find(|file| file.name == name);
        file.ok_or_else(|| Unfit::Lacks { name, others: others() })
    };
    model.files().map(find).collect()
}

fn has(listing: &[Sibling], name: &str) -> bool {
    listing.iter().any(|file| file.name == name)
}

/// How a format names a model's weights.
struct Format {
    /// The one file.
    single: &'static str,
    /// The list of the shards.
    index: &'static str,
    /// A shard's name is `{shard_prefix}00002-of-00003{shard_ending}`.
    shard_prefix: &'static str,
    shard_ending: &'static str,
}

const SAFETENSORS: Format = Format {
    single: "model.safetensors",
    index: "model.safetensors.index.json",
    shard_prefix: "model-",
    shard_ending: ".safetensors",
};

const PYTORCH: Format = Format {
    single: "pytorch_model.bin",
    index: "pytorch_model.bin.index.json",
    shard_prefix: "pytorch_model-",
    shard_ending: ".bin",
};

impl Format {
    /// The shard's number and how many there are: `model-00002-of-00003.safetensors` is `(2, 3)`.
    fn shard(&self, name: &str) -> Option<(usize, usize)> {
        shard_numbers(name.strip_prefix(self.shard_prefix)?.strip_suffix(self.shard_ending)?)
    }

    fn has_all_shards(&self, listing: &[Sibling]) -> bool {
        let shards: Vec<_> = listing.iter().filter_map(|file| self.shard(&file.name)).collect();
        has(listing, self.index) && shards.first().is_some_and(|(_, count)| *count == shards.len())
    }
}

/// `00002-of-00003` is `(2, 3)`.
pub(crate) fn shard_numbers(text: &str) -> Option<(usize, usize)> {
    let (index, count) = text.split_once("-of-")?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((number(index)?, number(count)?))
}

enum Weights {
    Single(&'static Format),
    Sharded(&'static Format),
}

impl Weights {
    fn choose(listing: &[Sibling]) -> Result<Self, LoadProblem> {
        for format in [&SAFETENSORS, &PYTORCH] {
            if has(listing, format.single) {
                return Ok(Self::Single(format));
            }
            if format.has_all_shards(listing) {
                return Ok(Self::Sharded(format));
            }
        }
        let of_other_formats = [".gguf", ".safetensors", ".bin", ".h5", ".onnx"]
            .iter()
            .find_map(|ending| listing.iter().find(|file| file.name.ends_with(ending)));
        let supported = format!(
            "`{}` or `{}`, or the shards of either with their `.index.json`",
            SAFETENSORS.single, PYTORCH.single
        );
        Err(match of_other_formats {
            Some(file) => LoadProblem::Unsupported {
                what: "weights file".to_owned(),
                found: file.name.clone(),
                supported: format!("{supported}; convert the weights, and give the folder with them as the model"),
            },
            None => LoadProblem::MissingFile { expected: supported },
        })
    }

    fn include(&self, name: &str) -> bool {
        match self {
            Self::Single(format) => name == format.single,
            Self::Sharded(format) => name == format.index || format.shard(name).is_some(),
        }
    }
}

/// A file of a sentence-transformers module: `1_Pooling/config.json`, `2_Dense/model.safetensors`.
fn is_module_file(listing: &[Sibling], name: &str) -> bool {
    let Some((folder, file)) = name.split_once('/') else { return false };
    let Some((number, kind)) = folder.split_once('_') else { return false };
    let is_module = !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && !kind.is_empty()
        && kind.bytes().all(|b| b.is_ascii_alphanumeric());
    let weights = || MODULE_WEIGHTS.iter().find(|weights| has(listing, &format!("{folder}/{weights}")));
    is_module && (file == "config.json" || weights().is_some_and(|weights| file == *weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(listing: &[&str], file: Option<&str>) -> Result<Vec<String>, Unfit> {
        let files: Vec<_> = listing.iter().map(|name| Sibling::named(name)).collect();
        let file = file.map(|file| GgufName::parse(file).expect(file));
        needed_files(&files, file.as_ref()).map(|files| files.into_iter().map(|f| f.name.clone()).collect())
    }

    fn check(listing: &[&str], expected: Result<&[&str], LoadProblem>) {
        let expected = expected.map(|names| names.iter().map(ToString::to_string).collect());
        assert_eq!(choose(listing, None), expected.map_err(Unfit::Problem));
    }

    fn refused(listing: &[&str]) -> LoadProblem {
        match choose(listing, None) {
            Err(Unfit::Problem(problem)) => problem,
            other => panic!("{other:?}"),
        }
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
        for (prefix, ending, index) in [
            ("model-", ".safetensors", "model.safetensors.index.json"),
            ("pytorch_model-", ".bin", "pytorch_model.bin.index.json"),
        ] {
            let shards = [1, 2].map(|number| format!("{prefix}0000{number}-of-00002{ending}"));
            let whole = ["config.json", &shards[0], &shards[1], index, "tokenizer.json"];
            check(&whole, Ok(&whole));
            for lacking in [[&whole[..2], &whole[3..]].concat(), [&whole[..3], &whole[4..]].concat()] {
                let problem = refused(&lacking);
                assert!(matches!(&problem, LoadProblem::Unsupported { found, .. } if *found == shards[0]), "{problem}");
            }
        }
    }

    #[test]
    fn one_file_wins_over_shards() {
        check(
            &["config.json", "model-00001-of-00001.safetensors", "model.safetensors", "model.safetensors.index.json"],
            Ok(&["config.json", "model.safetensors"]),
        );
        check(
            &["config.json", "pytorch_model-00001-of-00001.bin", "pytorch_model.bin", "pytorch_model.bin.index.json"],
            Ok(&["config.json", "pytorch_model.bin"]),
        );
    }

    #[test]
    fn safetensors_win_over_pickles_if_they_are_whole() {
        let pickle = ["config.json", "pytorch_model.bin"];
        let shard = "model-00001-of-00001.safetensors";
        let index = "model.safetensors.index.json";
        check(&[pickle[0], "model.safetensors", pickle[1]], Ok(&["config.json", "model.safetensors"]));
        check(&[pickle[0], shard, index, pickle[1]], Ok(&["config.json", shard, index]));
        check(&[pickle[0], shard, pickle[1]], Ok(&pickle));
        check(&["config.json", "model.onnx", "pytorch_model.bin", "tf_model.h5", "training_args.bin"], Ok(&pickle));
    }

    #[test]
    fn modules_have_weights_of_one_format_each() {
        check(
            &[
                "1_SpladePooling/config.json",
                "2_Dense/config.json",
                "2_Dense/pytorch_model.bin",
                "3_Dense/config.json",
                "3_Dense/model.safetensors",
                "3_Dense/pytorch_model.bin",
                "config.json",
                "model.safetensors",
                "query_0_WordWeights/model.safetensors",
            ],
            Ok(&[
                "1_SpladePooling/config.json",
                "2_Dense/config.json",
                "2_Dense/pytorch_model.bin",
                "3_Dense/config.json",
                "3_Dense/model.safetensors",
                "config.json",
                "model.safetensors",
            ]),
        );
    }

    #[test]
    fn heads_come_along_and_other_pickles_do_not() {
        check(
            &[
                "colbert_linear.pt",
                "config.json",
                "long.jpg",
                "onnx/model.onnx",
                "optimizer.pt",
                "pytorch_model.bin",
                "sparse_linear.pt",
                "tokenizer.json",
            ],
            Ok(&["colbert_linear.pt", "config.json", "pytorch_model.bin", "sparse_linear.pt", "tokenizer.json"]),
        );
    }

    #[test]
    fn other_weights_are_refused_by_name() {
        for found in ["model.onnx", "tf_model.h5", "adapter_model.safetensors", "adapter_model.bin"] {
            let problem = refused(&["config.json", "sparse_linear.pt", found]);
            assert!(matches!(&problem, LoadProblem::Unsupported { found: name, .. } if name == found), "{problem}");
        }
        check(&["model.safetensors"], Err(LoadProblem::MissingFile { expected: "config.json".to_owned() }));
    }

    #[test]
    fn a_model_in_gguf_is_whole_by_itself_and_comes_last() {
        check(&["README.md", "config.json", "model-q4.gguf"], Ok(&["model-q4.gguf"]));
        let shards = ["q8/x-00001-of-00002.gguf", "q8/x-00002-of-00002.gguf"];
        check(&["README.md", shards[0], shards[1]], Ok(&shards));
        check(&["config.json", "model.safetensors", "x.gguf"], Ok(&["config.json", "model.safetensors"]));
    }

    #[test]
    fn of_several_models_in_gguf_one_must_be_named() {
        let listing =
            ["README.md", "a.gguf", "b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "c-00001-of-00002.gguf"];
        let several = ["a.gguf", "b-00001-of-00002.gguf", "c-00001-of-00002.gguf"].map(str::to_owned).to_vec();
        assert_eq!(choose(&listing, None), Err(Unfit::Several(several.clone())));
        assert_eq!(choose(&listing, Some("a.gguf")), Ok(vec!["a.gguf".to_owned()]));
        assert_eq!(choose(&listing, Some(listing[2])), Ok(vec![listing[2].to_owned(), listing[3].to_owned()]));
        for (named, lacking) in [("x.gguf", "x.gguf"), ("c-00001-of-00002.gguf", "c-00002-of-00002.gguf")] {
            let lacks = Unfit::Lacks { name: lacking.to_owned(), others: several.clone() };
            assert_eq!(choose(&listing, Some(named)), Err(lacks));
        }
    }
}
