//! From texts to vectors: tokenizer, batches, encoder or decoder, pooling and other heads, in one object.

use std::collections::BTreeMap;
use std::path::Path;

use gllm_core::{Architecture, EmbeddingResponse, InvalidConfig, Result, Truncation};
use gllm_quant::WeightFiles;

use crate::backbone::Backbone;
use crate::decoder::Decoder;
use crate::inputs::{Inputs, check_batch_tokens};
use crate::load::decoder::{self, DecoderFamily};
use crate::load::{self, Family, Task};
use crate::modules::Modules;
use crate::sentence_config::SentenceConfig;
use crate::text::{Tokenizer, Tokens, in_batches};
use crate::{
    Encoder, LexicalHead, MultiVectorHead, SentencePipeline, SparseHead, SpladeHead, Target, Weights, threads,
};

mod job;

pub use job::{EmbedJob, EmbedKind};

/// A loaded embedding model.
#[derive(Debug)]
pub struct EmbeddingEngine {
    architecture: Architecture,
    inputs: Inputs,
    backbone: Backbone,
    /// `None` for a model that has only sparse vectors.
    dense: Option<SentencePipeline>,
    sparse: Option<SparseHead>,
    multi_vector: Option<MultiVectorHead>,
    prompts: BTreeMap<String, String>,
    default_prompt: Option<String>,
}

/// What a request may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedOptions {
    /// Longest input in tokens, special tokens included; at most, and by default, the model's limit.
    pub max_length: Option<usize>,
    /// What happens to a longer text.
    pub truncation: Truncation,
    /// Keep this many leading dimensions and scale the vector to length 1 again: for models trained so
    /// (Matryoshka, <https://arxiv.org/abs/2205.13147>).
    pub dimensions: Option<usize>,
    /// Put the model's prompt of this name before each text; by default, the one the model itself names.
    pub prompt_name: Option<String>,
    /// Return sparse vectors too: weights of tokens.
    pub sparse: bool,
    /// Return a vector for each token too.
    pub multi_vector: bool,
    /// Most tokens computed at once, which bounds the memory; results don't depend on it.
    pub batch_tokens: usize,
}

impl EmbedOptions {
    /// Large enough to keep every core busy, small enough for activations to stay in cache.
    pub const DEFAULT_BATCH_TOKENS: usize = 4096;
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self {
            max_length: None,
            truncation: Truncation::default(),
            dimensions: None,
            prompt_name: None,
            sparse: false,
            multi_vector: false,
            batch_tokens: Self::DEFAULT_BATCH_TOKENS,
        }
    }
}

impl EmbeddingEngine {
    /// Loads the model at `path`, a folder or a GGUF file, onto a device, which alone means in `f32`.
    ///
    /// # Errors
    /// [`gllm_core::LoadError`] that names the file and what is wrong with it.
    pub fn load(path: &Path, target: impl Into<Target>) -> Result<Self> {
        let target = &target.into();
        let files = WeightFiles::open(path)?;
        if decoder::has(&files)? {
            return Self::load_decoder(&files, decoder::read(&files)?, target);
        }
        let family = load::read(&files)?;
        let inputs = Inputs::load(&files, &family.config)?;
        if let Some(metadata) = files.metadata() {
            let dense = SentencePipeline::from_gguf(metadata, family.config.hidden_size)?;
            let read = |weights: &Weights<'_>| Encoder::load(family.config, family.names, weights);
            return Ok(Self {
                architecture: family.architecture,
                inputs,
                backbone: Backbone::Encoder(Weights::read(&files, target, read)?.into()),
                dense: Some(dense),
                sparse: None,
                multi_vector: None,
                prompts: BTreeMap::new(),
                default_prompt: None,
            });
        }
        Self::load_folder(&files, family, inputs, target)
    }

    /// Loads what the files beside `files` describe: the modules, heads and prompts of a model.
    fn load_folder(files: &WeightFiles, family: Family, inputs: Inputs, target: &Target) -> Result<Self> {
        let (folder, device) = (files.folder(), target.device());
        let modules = Modules::read(folder)?;
        let hidden = family.config.hidden_size;

        // Without modules.json, a masked-language model may be meant for either kind of vector.
        let splade = modules.as_ref().map_or(Some(None), |modules| modules.splade().map(Some));
        let has_head = family.task == Task::MaskedLm && family.names.masked_lm.is_some();
        let splade = splade.filter(|pooling| pooling.is_some() || has_head);
        let is_splade_only = splade.flatten().is_some();
        let dense = (!is_splade_only).then(|| SentencePipeline::load(modules.as_ref(), family.task, hidden, device));
        let dense = dense.transpose()?;

        let (encoder, splade) = Weights::read(files, target, |weights| {
            let exact = &weights.exact();
            let splade = splade.map(|pooling| SpladeHead::load(&family.config, family.names, exact, pooling));
            let splade = splade.transpose()?.map(|head| SparseHead::Splade(Box::new(head)));
            Ok((Encoder::load(family.config, family.names, weights)?, splade))
        })?;
        let file = |name| Some(folder.join(name)).filter(|path| path.is_file());
        let lexical = file("sparse_linear.pt")
            .map(|path| LexicalHead::load(&path, hidden, inputs.tokenizer.ids_without_text().clone(), device))
            .transpose()?;
        let multi_vector =
            file("colbert_linear.pt").map(|path| MultiVectorHead::load(&path, hidden, device)).transpose()?;
        let sentence = SentenceConfig::read(folder)?;
        Ok(Self {
            architecture: family.architecture,
            inputs,
            backbone: Backbone::Encoder(encoder.into()),
            dense,
            sparse: lexical.map(|head| SparseHead::Lexical(Box::new(head))).or(splade),
            multi_vector,
            prompts: sentence.prompts,
            default_prompt: sentence.default_prompt_name,
        })
    }

    /// Loads a decoder, with what follows it.
    fn load_decoder(files: &WeightFiles, family: DecoderFamily, target: &Target) -> Result<Self> {
        let DecoderFamily { architecture, names, config, task } = family;
        let (folder, hidden) = (files.folder(), config.hidden_size);
        let (dense, sentence) = if let Some(metadata) = files.metadata() {
            (SentencePipeline::from_gguf(metadata, hidden)?, SentenceConfig::default())
        } else {
            let modules = Modules::read(folder)?;
            let dense = SentencePipeline::load(modules.as_ref(), task, hidden, target.device())?;
            (dense, SentenceConfig::read(folder)?)
        };
        let inputs = Inputs::of_decoder(files, &config)?;
        let decoder = Weights::read(files, target, |weights| Decoder::load(config, names, weights))?;
        Ok(Self {
            architecture,
            inputs,
            backbone: Backbone::Decoder(decoder.into()),
            dense: Some(dense),
            sparse: None,
            multi_vector: None,
            prompts: sentence.prompts,
            default_prompt: sentence.default_prompt_name,
        })
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inputs.tokenizer
    }

    /// The network, as the model's `config.json` names it.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Length of an embedding; `None` for a model that has only sparse vectors.
    #[must_use]
    pub fn dimensions(&self) -> Option<usize> {
        self.dense.as_ref().map(SentencePipeline::dimensions)
    }

    /// Longest input in tokens, special tokens included.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.inputs.max_length
    }

    /// The model's prompts, by name.
    #[must_use]
    pub fn prompts(&self) -> &BTreeMap<String, String> {
        &self.prompts
    }

    /// About how many bytes a pass over `tokens` tokens takes, beside the weights.
    #[must_use]
    pub fn activation_bytes(&self, tokens: usize) -> u64 {
        self.backbone.activation_bytes(tokens)
    }

    /// Gives memory back that the device keeps for later; to be called when there is none left.
    pub fn reclaim_memory(&self) {
        self.backbone.device().memory_cleanup();
    }

    /// The vectors of each text, in the order of `texts`.
    ///
    /// # Errors
    /// [`InvalidConfig`] for no texts or an option that the model can't meet; [`gllm_core::InferenceError`] for a
    /// text that can't be tokenized, or is too long where that is an error.
    pub fn embed<T: AsRef<str> + Sync>(&self, texts: &[T], options: &EmbedOptions) -> Result<EmbeddingResponse> {
        threads::run(self.backbone.device(), || {
            let job = self.prepare(texts, options)?;
            let embeddings = in_batches(job.lengths(), job.batch_tokens(), |places| {
                let batch: Vec<_> = places.iter().map(|&place| (&job, place)).collect();
                self.forward(&batch)
            })?;
            Ok(self.finish(&job, embeddings))
        })
    }

    /// Refuses options that the model can't meet.
    fn check(&self, texts: usize, options: &EmbedOptions) -> Result<()> {
        let invalid = |option, expected: &str, found: &str| Err(InvalidConfig::new(option, expected, found).into());
        if texts == 0 {
            return invalid("input", "at least one text", "none");
        }
        check_batch_tokens(options.batch_tokens)?;
        if options.sparse && self.sparse.is_none() {
            return invalid("sparse", "false: this model has no sparse vectors", "true");
        }
        if options.multi_vector && self.multi_vector.is_none() {
            return invalid("multi_vector", "false: this model has one vector for a text", "true");
        }
        let Some(size) = self.dimensions() else {
            return match options {
                EmbedOptions { sparse: false, .. } => invalid("sparse", "true: this model has only these", "false"),
                EmbedOptions { dimensions: Some(kept), .. } => {
                    invalid("dimensions", "none: this model has only sparse vectors", &kept.to_string())
                }
                _ => Ok(()),
            };
        };
        match options.dimensions.filter(|kept| !(1..=size).contains(kept)) {
            Some(kept) => {
                let expected = format!("1 to {size}, the size of this model's embeddings");
                invalid("dimensions", &expected, &kept.to_string())
            }
            None => Ok(()),
        }
    }

    fn prompt(&self, name: Option<&str>) -> Result<Option<&str>> {
        let Some(name) = name.or(self.default_prompt.as_deref()) else { return Ok(None) };
        if let Some(prompt) = self.prompts.get(name) {
            return Ok(Some(prompt));
        }
        let names = self.prompts.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let expected = if names.is_empty() { "none: this model has no prompts".into() } else { names };
        Err(InvalidConfig::new("prompt_name", expected, format!("`{name}`")).into())
    }

    /// Tokens that a prompt takes at the start of a sequence, leading special tokens included.
    fn prompt_length(&self, prompt: &str, max_length: usize) -> Result<usize> {
        let encode = |text| self.inputs.tokenizer.encode(&[text], max_length, Truncation::Cut);
        let ids = |tokens: Vec<Tokens>| tokens.into_iter().next().unwrap_or_default().ids;
        let (prompt, empty) = (ids(encode(prompt)?), ids(encode("")?));
        let ends_special = prompt.last().is_some_and(|last| empty.last() == Some(last));
        Ok(prompt.len() - usize::from(ends_special))
    }
}
