//! A decoder that judges whether a document answers a query: how much likelier "yes" follows than "no".
//!
//! Prompt and score are those of Qwen3-Reranker, the one family of such models that is supported; what its checkpoints
//! are saved as differs. A language model's head has the two words' rows; sequence classification has their difference;
//! GGUF files have the two rows alone. All become one row here, whose product with the last token's hidden state is the
//! logit of "yes" less that of "no": the probability of "yes" among the two is its sigmoid.
//!
//! Source: <https://arxiv.org/abs/2506.05176>, the model cards, `LogitScore` of sentence-transformers.

use std::path::Path;
use std::sync::OnceLock;

use burn::tensor::Device;
use gllm_core::{LoadError, LoadProblem, Result};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::Metadata;
use serde::Deserialize;
use serde_json::json;

use crate::backbone::decoder_bytes;
use crate::chat_template::{ChatOptions, ChatTemplate};
use crate::config::{bad_field, require_config, unsupported};
use crate::cross_encoder::require_one_label;
use crate::decoder::{Decoder, Step};
use crate::decoder_names::DecoderNames;
use crate::device::to_host;
use crate::inputs::Inputs;
use crate::layers::Linear;
use crate::load::Task;
use crate::load::decoder::DecoderFamily;
use crate::modules::Modules;
use crate::sentence_config::SentenceConfig;
use crate::text::{Pairs, Tokens};
use crate::{DecoderConfig, KvCache, RerankOptions, RotaryScaling, Target, Wanted, Weights};

const START: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the \
    Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n";
const END: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";
const INSTRUCTION: &str = "Given a web search query, retrieve relevant passages that answer the query";

/// The layer that scores a sequence, of a checkpoint that has one.
const SCORE: &str = "score";
/// In GGUF, a row for each of these words.
const CLASSIFIER: &str = "cls.output";
const WORDS: [&str; 2] = ["yes", "no"];

/// A loaded decoder with what makes a reranker of it.
#[derive(Debug)]
pub(crate) struct DecoderReranker {
    decoder: Decoder,
    /// To the logit of "yes" less that of "no".
    head: Linear,
    /// Tokens before and behind what is judged.
    frame: [Vec<u32>; 2],
    instruction: String,
}

/// The prompts of a request.
#[derive(Debug)]
pub(crate) struct Prompts {
    tokens: Vec<Tokens>,
    /// How many tokens all of them begin with.
    n_shared: usize,
    /// Most of those that are read at once.
    batch_tokens: usize,
    /// What is kept of those, once one of the prompts is read: what only waits takes no more than its tokens.
    start: OnceLock<KvCache>,
}

/// Where the row of a head comes from.
enum Head {
    /// The rows of two tokens, less the second, in the head of a language model.
    Tokens([u32; 2]),
    /// A classifier of one label.
    Score,
    /// A classifier of two.
    Classifier,
}

/// `config.json` of `LogitScore`.
#[derive(Deserialize)]
struct LogitScoreFile {
    true_token_id: u32,
    #[serde(default)]
    false_token_id: Option<u32>,
}

impl DecoderReranker {
    /// Reads the decoder and its head.
    ///
    /// # Errors
    /// [`LoadError`] for a model of another family, one that scores in another way, or a tensor that is missing or has
    /// another shape than the configuration says.
    pub(crate) fn load(files: &WeightFiles, family: DecoderFamily, inputs: &Inputs, target: &Target) -> Result<Self> {
        let DecoderFamily { architecture, names, config, task } = family;
        let (path, head) = match files.metadata() {
            Some(metadata) => (metadata.path().into(), Head::in_gguf(metadata, task, inputs)?),
            None => (files.folder().join("config.json"), Head::in_folder(files, task, inputs)?),
        };
        if architecture.as_str() != "qwen3" {
            let problem = unsupported("architecture of a reranker", architecture.as_str(), "qwen3, and encoders");
            return Err(LoadError::new(path, problem).into());
        }
        if let Head::Tokens(ids) = &head
            && let Some(id) = ids.iter().find(|id| **id as usize >= config.vocab_size)
        {
            let expected = format!("below vocab_size = {}", config.vocab_size);
            return Err(LoadError::new(path, bad_field("token of an answer", expected, id)).into());
        }
        let instruction = match files.metadata() {
            Some(_) => None,
            None => SentenceConfig::read(files.folder())?.default_prompt().map(str::to_owned),
        };
        let frame = [inputs.tokenizer.ids(START, false)?, inputs.tokenizer.ids(END, false)?];
        let (head, decoder) = Weights::read(files, target, |weights| {
            Ok((head.load(&config, names, &weights.exact())?, Decoder::load(config, names, weights)?))
        })?;
        Ok(Self { decoder, head, frame, instruction: instruction.unwrap_or_else(|| INSTRUCTION.into()) })
    }

    /// The device that it is on.
    pub(crate) fn device(&self) -> &Device {
        self.decoder.device()
    }

    /// About how many bytes a pass over `tokens` tokens takes, beside the weights.
    pub(crate) fn activation_bytes(&self, tokens: usize) -> u64 {
        decoder_bytes(self.decoder.config(), tokens)
    }

    /// Tokens of the prompt around what is judged.
    pub(crate) fn added_tokens(&self) -> usize {
        self.frame.iter().map(Vec::len).sum()
    }

    /// The prompts for `query` with each of `documents`, each of at most `limit` tokens. One that is longer loses the end
    /// of its document, and that of the query only where this leaves no room for a document.
    pub(crate) fn pairs<T: AsRef<str> + Sync>(
        &self,
        inputs: &Inputs,
        query: &str,
        documents: &[T],
        limit: usize,
        options: &RerankOptions,
    ) -> Result<Pairs> {
        let instruction = options.instruction.as_deref().unwrap_or(&self.instruction);
        let question = format!("<Instruct>: {instruction}\n<Query>: {query}\n<Document>:");
        let query_tokens = inputs.tokenizer.ids(&question, false)?.len();
        let texts: Vec<String> = documents.iter().map(|document| format!("{question} {}", document.as_ref())).collect();
        let frame = self.frame.each_ref().map(Vec::as_slice);
        Ok(Pairs {
            tokens: inputs.between(frame, &texts, limit, options.truncation)?,
            query_truncated: query_tokens + self.added_tokens() >= limit,
        })
    }

    /// Prompts of which is read once what they begin with in common, at most `batch_tokens` tokens at a time.
    pub(crate) fn prompts(&self, tokens: Vec<Tokens>, batch_tokens: usize) -> Prompts {
        // Stretched by how long a text is, keys depend on how much is read at once.
        let is_shared = !matches!(self.decoder.config().rotary.scaling, RotaryScaling::DynamicNtk { .. });
        let n_shared = if is_shared { shared(&tokens) } else { 0 };
        Prompts { tokens, n_shared, batch_tokens, start: OnceLock::new() }
    }

    /// The logits of prompts, each given by those it is among and its place there.
    pub(crate) fn forward(&self, batch: &[(&Prompts, usize)]) -> Result<Vec<f32>> {
        let rest: Vec<&[u32]> = batch.iter().map(|&(prompts, place)| prompts.rest(place)).collect();
        let starts = batch.iter().map(|(prompts, _)| self.start(prompts)).collect::<Result<Vec<_>>>()?;
        let hidden = self.decoder.forward_to_the_end(rest.into_iter().zip(starts).collect(), Wanted::Last)?;
        to_host(self.head.forward(hidden))
    }

    /// What is kept of the tokens that all of `prompts` have in common, which are read for the first of them.
    fn start(&self, prompts: &Prompts) -> Result<KvCache> {
        if let Some(start) = prompts.start.get() {
            return Ok(start.clone());
        }
        let Prompts { tokens, n_shared, batch_tokens, start } = prompts;
        let longest = tokens.iter().map(|prompt| prompt.ids.len()).max().unwrap_or(0);
        let mut cache = self.decoder.new_cache(longest);
        let shared = tokens.first().map_or(&[][..], |prompt| &prompt.ids[..*n_shared]);
        for tokens in shared.chunks(*batch_tokens) {
            self.decoder.forward(&mut [Step { tokens, cache: &mut cache }], Wanted::Last)?;
        }
        Ok(start.get_or_init(|| cache).clone())
    }
}

impl Prompts {
    /// Whether what they have in common has been read.
    #[cfg(all(test, feature = "cpu"))]
    pub(crate) fn is_begun(&self) -> bool {
        self.start.get().is_some()
    }

    /// All tokens of each.
    pub(crate) fn tokens(&self) -> &[Tokens] {
        &self.tokens
    }

    /// Tokens of each that are still to be read.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.tokens.iter().map(|tokens| tokens.ids.len() - self.n_shared).collect()
    }

    fn rest(&self, place: usize) -> &[u32] {
        &self.tokens[place].ids[self.n_shared..]
    }
}

/// How many tokens all of `prompts` begin with in common, if reading them apart is worth it: none of them ends there.
fn shared(prompts: &[Tokens]) -> usize {
    let [first, others @ ..] = prompts else { return 0 };
    let common = |other: &Tokens| first.ids.iter().zip(&other.ids).take_while(|(a, b)| a == b).count();
    let shortest = prompts.iter().map(|prompt| prompt.ids.len()).min().unwrap_or(0);
    others.iter().map(common).min().unwrap_or(0).min(shortest.saturating_sub(1))
}

impl Head {
    fn in_gguf(metadata: &Metadata, task: Task, inputs: &Inputs) -> Result<Self> {
        if task != Task::Classification {
            return Self::of_words(metadata.path(), inputs);
        }
        let key = "qwen3.classifier.output_labels";
        let labels = metadata.strings(key)?.unwrap_or_default();
        if labels != WORDS {
            let problem = unsupported(key, labels.join(", "), &WORDS.join(", "));
            return Err(LoadError::new(metadata.path(), problem).into());
        }
        Ok(Self::Classifier)
    }

    fn in_folder(files: &WeightFiles, task: Task, inputs: &Inputs) -> Result<Self> {
        let folder = files.folder();
        if task == Task::Classification {
            require_one_label(files)?;
            return Ok(Self::Score);
        }
        let modules = Modules::read(folder)?;
        let Some(modules) = modules else { return Self::of_words(&folder.join("tokenizer.json"), inputs) };
        let Some(folder) = modules.logit_score() else {
            let found = modules.after_encoder.iter().map(crate::modules::Module::name).collect::<Vec<_>>().join(", ");
            let problem = unsupported("sentence modules of a reranker", found, "LogitScore");
            return Err(LoadError::new(&modules.path, problem).into());
        };
        let (path, file): (_, LogitScoreFile) = require_config(folder)?;
        let Some(no) = file.false_token_id else {
            let problem = unsupported("false_token_id", "null", "a token: scores are how much likelier the other is");
            return Err(LoadError::new(path, problem).into());
        };
        check_template(files)?;
        Ok(Self::Tokens([file.true_token_id, no]))
    }

    fn of_words(path: &Path, inputs: &Inputs) -> Result<Self> {
        let id = |word: &str| {
            let missing = || LoadProblem::Corrupt { format: "tokenizer".into(), reason: format!("no token `{word}`") };
            inputs.tokenizer.token_id(word).ok_or_else(|| LoadError::new(path, missing()))
        };
        let [yes, no] = WORDS;
        Ok(Self::Tokens([id(yes)?, id(no)?]))
    }

    fn load(&self, config: &DecoderConfig, names: &DecoderNames, weights: &Weights<'_>) -> Result<Linear> {
        let hidden = config.hidden_size;
        let (table, [yes, no]) = match self {
            Self::Score => return Linear::load(&weights.enter(SCORE), hidden, 1, false),
            Self::Classifier => (weights.enter(CLASSIFIER).table("weight", WORDS.len(), hidden)?, [0, 1]),
            Self::Tokens(ids) => {
                let words = if config.tied_embeddings {
                    Decoder::root(names, weights).enter(names.words)
                } else {
                    weights.enter(names.head)
                };
                (words.table("weight", config.vocab_size, hidden)?, ids.map(|id| id as usize))
            }
        };
        let (mut row, mut other) = (vec![0.0; hidden], vec![0.0; hidden]);
        table.add_row(yes, &mut row);
        table.add_row(no, &mut other);
        row.iter_mut().zip(other).for_each(|(yes, no)| *yes -= no);
        Ok(Linear::of_floats(weights, row, hidden, None))
    }
}

/// Refuses a model whose own template asks in another way than the prompt here.
fn check_template(files: &WeightFiles) -> Result<()> {
    let Some(template) = ChatTemplate::of(files)? else { return Ok(()) };
    let message = |role: &str| json!({ "role": role, "content": role });
    let messages = ["system", "query", "document"].map(message).to_vec().into();
    let found = template.render_json(messages, &ChatOptions::default()).unwrap_or_else(|error| error.to_string());
    if found != format!("{START}<Instruct>: system\n<Query>: query\n<Document>: document{END}") {
        let problem = unsupported("chat template of a reranker", found, "that of Qwen3-Reranker");
        return Err(LoadError::new(files.folder(), problem).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prompts_share_leaves_each_of_them_a_token() {
        let prompts = |ids: &[&[u32]]| -> Vec<Tokens> {
            ids.iter().map(|ids| Tokens { ids: ids.to_vec(), ..Tokens::default() }).collect()
        };
        let cases: [(&[&[u32]], usize); 6] = [
            (&[], 0),
            (&[&[1, 2, 3]], 0),
            (&[&[1, 2, 3], &[1, 2, 4, 5]], 2),
            (&[&[1, 2, 3], &[1, 2, 3]], 2),
            (&[&[1, 2, 3], &[1, 2]], 1),
            (&[&[1, 2], &[3, 2], &[1, 2]], 0),
        ];
        for (ids, expected) in cases {
            assert_eq!(shared(&prompts(ids)), expected, "{ids:?}");
        }
    }
}
