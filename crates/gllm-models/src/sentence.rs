//! From hidden states to sentence embeddings, as the model's own `modules.json` says.
//!
//! Source: the modules `Pooling`, `Dense` and `Normalize` of sentence-transformers, in the layouts that
//! its versions 2 to 6 write. A model without `modules.json` is pooled by the mean, or the last token if it was saved
//! to write text, and not normalised, as there. GGUF files say how to pool, and nothing of what follows: their vectors are normalised, as by llama.cpp.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use gllm_core::{LoadError, Result};
use gllm_quant::WeightFiles;
use gllm_quant::gguf::Metadata;
use serde::Deserialize;

use crate::config::{bad_field, require_config, unsupported};
use crate::layers::Linear;
use crate::load::{self, Task};
use crate::modules::Modules;
use crate::{Activation, Sequences, Wanted, Weights, ops};

/// How the tokens of a sequence become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolingMode {
    /// The first token.
    Cls,
    /// The largest value of each dimension.
    Max,
    /// The mean.
    Mean,
    /// The sum divided by the square root of the number of tokens.
    MeanSqrtLen,
    /// The last token.
    LastToken,
}

impl PoolingMode {
    /// The tokens that it makes a vector of.
    pub(crate) fn reads(self) -> Wanted {
        match self {
            Self::Cls => Wanted::First,
            Self::LastToken => Wanted::Last,
            Self::Max | Self::Mean | Self::MeanSqrtLen => Wanted::All,
        }
    }

    fn from_config(name: &str) -> Option<Self> {
        match name {
            "cls" => Some(Self::Cls),
            "max" => Some(Self::Max),
            "mean" => Some(Self::Mean),
            "mean_sqrt_len_tokens" => Some(Self::MeanSqrtLen),
            "lasttoken" => Some(Self::LastToken),
            _ => None,
        }
    }
}

/// Pooling and what follows it.
#[derive(Debug)]
pub struct SentencePipeline {
    /// Their results are concatenated in this order.
    pooling: Vec<PoolingMode>,
    /// Whether the tokens of a prompt count in pooling.
    include_prompt: bool,
    modules: Vec<Module>,
    dimensions: usize,
}

#[derive(Debug)]
enum Module {
    Dense(Box<Linear>, Activation),
    Normalize,
}

/// `1_Pooling/config.json`: one field since version 5, booleans before.
#[derive(Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the published layout")]
struct PoolingFile {
    #[serde(default)]
    pooling_mode: Option<OneOrMany>,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
    #[serde(default = "yes")]
    include_prompt: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn yes() -> bool {
    true
}

/// `N_Dense/config.json`.
#[derive(Deserialize)]
struct DenseFile {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    #[serde(default)]
    activation_function: Option<String>,
    #[serde(default)]
    use_residual: bool,
}

/// What a Pooling module does.
pub(crate) struct Pooling {
    /// The file that says so.
    pub(crate) path: PathBuf,
    /// Their results are concatenated in this order.
    pub(crate) modes: Vec<PoolingMode>,
    /// Whether the tokens of a prompt count.
    include_prompt: bool,
}

impl Pooling {
    /// Reads the configuration in the module's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let (path, file): (_, PoolingFile) = require_config(folder)?;
        let names = match file.pooling_mode {
            Some(OneOrMany::One(name)) => vec![name],
            Some(OneOrMany::Many(names)) => names,
            // The order in which version 2 concatenated them.
            None => [
                ("cls", file.pooling_mode_cls_token),
                ("max", file.pooling_mode_max_tokens),
                ("mean", file.pooling_mode_mean_tokens),
                ("mean_sqrt_len_tokens", file.pooling_mode_mean_sqrt_len_tokens),
                ("weightedmean", file.pooling_mode_weightedmean_tokens),
                ("lasttoken", file.pooling_mode_lasttoken),
            ]
            .into_iter()
            .filter(|(_, on)| *on)
            .map(|(name, _)| name.to_owned())
            .collect(),
        };
        if names.is_empty() {
            return Err(LoadError::new(path, bad_field("pooling_mode", "at least one mode", "none")).into());
        }
        let modes = names.iter().map(|name| {
            PoolingMode::from_config(name).ok_or_else(|| {
                let supported = "cls, max, mean, mean_sqrt_len_tokens, lasttoken";
                LoadError::new(&path, unsupported("pooling_mode", name, supported))
            })
        });
        let modes = modes.collect::<std::result::Result<_, _>>()?;
        Ok(Self { path, modes, include_prompt: file.include_prompt })
    }
}

impl SentencePipeline {
    /// Reads the modules of a model with hidden states of width `hidden`, saved for `task`.
    ///
    /// # Errors
    /// [`LoadError`] that names the file and the module or field that is malformed or not supported.
    pub(crate) fn load(modules: Option<&Modules>, task: Task, hidden: usize, device: &Device) -> Result<Self> {
        let pooling = if task == Task::CausalLm { PoolingMode::LastToken } else { PoolingMode::Mean };
        let mut pipeline =
            Self { pooling: vec![pooling], include_prompt: true, modules: Vec::new(), dimensions: hidden };
        let Some(modules) = modules else {
            tracing::debug!(?pooling, "no modules.json: no normalisation");
            return Ok(pipeline);
        };
        for (place, module) in modules.after_encoder.iter().enumerate() {
            match (place, module.name()) {
                (0, "Pooling") => pipeline.read_pooling(&module.folder)?,
                (1.., "Dense") => pipeline.read_dense(&module.folder, device)?,
                (1.., "Normalize") => pipeline.modules.push(Module::Normalize),
                _ => {
                    let supported = "Transformer, then Pooling, then Dense and Normalize; or SpladePooling alone";
                    return Err(LoadError::new(
                        &modules.path,
                        unsupported("sentence module", module.class.as_str(), supported),
                    )
                    .into());
                }
            }
        }
        Ok(pipeline)
    }

    /// Reads how a GGUF file with hidden states of width `hidden` pools them.
    ///
    /// # Errors
    /// [`LoadError`] that names the file and the key.
    pub(crate) fn from_gguf(metadata: &Metadata, hidden: usize) -> Result<Self> {
        let pooling = vec![load::pooling(metadata)?];
        Ok(Self { pooling, include_prompt: true, modules: vec![Module::Normalize], dimensions: hidden })
    }

    fn read_pooling(&mut self, folder: &Path) -> Result<()> {
        let pooling = Pooling::read(folder)?;
        self.include_prompt = pooling.include_prompt;
        self.dimensions *= pooling.modes.len();
        self.pooling = pooling.modes;
        Ok(())
    }

    fn read_dense(&mut self, folder: &Path, device: &Device) -> Result<()> {
        let (path, file): (_, DenseFile) = require_config(folder)?;
        let problem = |problem| LoadError::new(&path, problem);
        if file.in_features != self.dimensions {
            let expected = format!("{}, the width of the module before", self.dimensions);
            return Err(problem(bad_field("in_features", expected, file.in_features)).into());
        }
        if file.use_residual {
            return Err(problem(unsupported("use_residual", "true", "false")).into());
        }
        // The default there.
        let name = file.activation_function.as_deref().unwrap_or("Tanh");
        let Some(activation) = Activation::from_torch(name) else {
            return Err(problem(unsupported("activation_function", name, Activation::SUPPORTED_TORCH)).into());
        };
        let linear = Weights::read(&WeightFiles::open(folder)?, device, |weights| {
            Linear::load(&weights.enter("linear"), file.in_features, file.out_features, file.bias)
        })?;
        self.modules.push(Module::Dense(Box::new(linear), activation));
        self.dimensions = file.out_features;
        Ok(())
    }

    /// Length of an embedding.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The tokens that it makes an embedding of, of sequences that begin with a prompt of so many.
    pub(crate) fn reads(&self, prompt_tokens: usize) -> Wanted {
        match self.pooling.as_slice() {
            [only] if prompt_tokens == 0 || self.include_prompt => only.reads(),
            _ => Wanted::All,
        }
    }

    /// Whether the tokens of a prompt are pooled with the text's.
    pub(crate) fn includes_prompt(&self) -> bool {
        self.include_prompt
    }

    /// Embeddings of a batch; the first `prompt_tokens` of each sequence are a prompt.
    ///
    /// # Shapes
    /// - `hidden`: `[tokens, hidden]`
    /// - returns `[sequences, dimensions]`
    #[must_use]
    pub fn forward(&self, hidden: &Tensor<2>, sequences: &Sequences, prompt_tokens: usize) -> Tensor<2> {
        if prompt_tokens > 0 && !self.include_prompt {
            let (hidden, sequences) = without_prompt(hidden, sequences, prompt_tokens);
            self.reduce(&hidden, &sequences)
        } else {
            self.reduce(hidden, sequences)
        }
    }

    fn reduce(&self, hidden: &Tensor<2>, sequences: &Sequences) -> Tensor<2> {
        let pooled = self.pooling.iter().map(|&mode| ops::pool(hidden, mode, sequences)).collect();
        self.modules.iter().fold(Tensor::cat(pooled, 1), |x, module| match module {
            Module::Dense(linear, activation) => ops::activate(linear.forward(x), *activation),
            Module::Normalize => ops::l2_normalize(x),
        })
    }
}

/// Drops the first `prompt_tokens` of each sequence, but never all of it.
fn without_prompt(hidden: &Tensor<2>, sequences: &Sequences, prompt_tokens: usize) -> (Tensor<2>, Sequences) {
    let device = hidden.device();
    let (mut start, mut kept, mut lengths) = (0, Vec::new(), Vec::new());
    for &length in sequences.lengths() {
        let skipped = prompt_tokens.min(length - 1);
        kept.extend((start + skipped..start + length).map(|token| token as i32));
        lengths.push(length - skipped);
        start += length;
    }
    let n_kept = kept.len();
    let kept: Tensor<1, Int> = Tensor::from_data(TensorData::new(kept, [n_kept]), &device);
    (hidden.clone().select(0, kept), Sequences::new(lengths, &device))
}
