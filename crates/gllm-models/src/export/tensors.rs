//! The tensors of a GGUF file: where each comes from, and what becomes of it.
//!
//! Invariant: a tensor's type and size are known before its values are read; they are read in pieces, so that no tensor
//! is in memory whole. A family's names in its checkpoints and its names in GGUF are two rows of one table
//! ([`crate::names`]), walked side by side. Source: `TensorNameMap` of llama.cpp's `gguf-py`, and the `modify_tensors`
//! of its converter.

use std::path::{Path, PathBuf};

use gllm_core::{Error, InvalidConfig, LoadError, LoadProblem, Result};
use gllm_quant::{DType, RawTensor, WeightFiles, blocks};
use rayon::prelude::*;

use super::mixture::{FileType, ModelSize};
use crate::load::Task;
use crate::names::{Names, Qkv, Up};
use crate::{EncoderConfig, threads};

/// Values that are converted at once: enough for every core, and few beside a large model's tables.
const PIECE_VALUES: usize = 1 << 22;

/// A tensor of the file to come.
#[derive(Debug)]
pub(super) struct Planned {
    /// In GGUF.
    pub(super) name: String,
    /// Outermost dimension first.
    pub(super) shape: Vec<usize>,
    /// In GGUF.
    pub(super) dtype: DType,
    source: Source,
}

/// Where a tensor's values are.
#[derive(Debug)]
enum Source {
    /// In the checkpoint, under this name.
    Tensor(String, Rows),
    /// Here.
    Values(Vec<f32>),
}

/// Which rows of a tensor are taken, in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// From this one on.
    From(usize),
    /// Of each head, the rows of its two halves in turn: what is rotated together stands together.
    Interleaved { heads: usize },
}

impl Rows {
    /// How many of `rows` are taken.
    fn count(self, rows: usize) -> usize {
        match self {
            Self::From(first) => rows.saturating_sub(first),
            Self::Interleaved { .. } => rows,
        }
    }

    /// The row of the checkpoint, of so many, that becomes this `row`.
    fn source(self, row: usize, rows: usize) -> usize {
        match self {
            Self::From(first) => first + row,
            Self::Interleaved { heads } => {
                let head_dim = rows / heads.max(1);
                let (head, within) = (row / head_dim.max(1), row % head_dim.max(1));
                head * head_dim + within % 2 * (head_dim / 2) + within / 2
            }
        }
    }
}

/// A layer's place in the checkpoint and in GGUF.
pub(super) struct Pair {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) rows: Rows,
}

/// Where the tensors of an encoder come from.
pub(super) struct Encoder<'a> {
    pub(super) config: &'a EncoderConfig,
    pub(super) task: Task,
    /// In the checkpoint.
    pub(super) from: &'static Names,
    /// In GGUF.
    pub(super) to: &'static Names,
}

impl Encoder<'_> {
    /// What to write for the checkpoint `files`.
    ///
    /// # Errors
    /// [`LoadError`] for a tensor that is missing, or whose shape doesn't fit the configuration.
    pub(super) fn plan(&self, files: &WeightFiles, of: FileType) -> Result<Vec<Planned>> {
        let Self { config, from, .. } = self;
        let model = ModelSize {
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            kv_heads: config.num_attention_heads,
            is_tied: true,
        };
        let with_head = files.contains(&format!("{}.{}.weight", from.root, from.words));
        let tensors = plan(&self.pairs(with_head), files, of, model)?;
        self.check(files, &tensors)?;
        Ok(tensors)
    }

    fn pairs(&self, with_head: bool) -> Vec<Pair> {
        let Self { config, from, to, .. } = self;
        let root = if with_head { format!("{}.", from.root) } else { String::new() };
        let pair = |from: &str, to: &str| Pair { from: format!("{root}{from}"), to: to.into(), rows: Rows::From(0) };

        let mut pairs = vec![pair(from.words, to.words)];
        if let Some(positions) = config.learned_positions {
            // llama.cpp counts from 0 in every model: the rows before the first position are left out.
            let first = positions.padding.map_or(0, |padding| padding as usize + 1);
            pairs.push(Pair { rows: Rows::From(first), ..pair(from.positions, to.positions) });
        }
        if config.token_types.is_some() {
            pairs.push(pair(from.token_types, to.token_types));
        }
        pairs.push(pair(from.embeddings_norm, to.embeddings_norm));
        for layer in 0..config.num_hidden_layers {
            for (inner, outer) in block(from, to) {
                pairs
                    .push(pair(&format!("{}.{layer}.{inner}", from.layers), &format!("{}.{layer}.{outer}", to.layers)));
            }
        }
        if self.task == Task::Classification {
            let places = [(from.classifier.dense, to.classifier.dense), (from.classifier.output, to.classifier.output)];
            // Their names are from the top of the checkpoint.
            pairs.extend(places.map(|(from, to)| Pair { from: from.into(), to: to.into(), rows: Rows::From(0) }));
        }
        pairs
    }

    /// The table of words must be as long as the list of tokens, which follows the configuration.
    fn check(&self, files: &WeightFiles, tensors: &[Planned]) -> Result<()> {
        let words = tensors.iter().find(|tensor| tensor.name == format!("{}.weight", self.to.words));
        let expected = vec![self.config.vocab_size, self.config.embedding_size];
        match words {
            Some(words) if words.shape != expected => {
                let (tensor, found) = (format!("{}.weight", self.from.words), words.shape.clone());
                Err(LoadError::new(files.folder(), LoadProblem::Shape { tensor, expected, found }).into())
            }
            _ => Ok(()),
        }
    }
}

/// The layers of a block, in the checkpoint and in GGUF. Rows that pack their layers in different ways aren't paired.
fn block<'a>(from: &'a Names, to: &'a Names) -> Vec<(&'a str, &'a str)> {
    let mut pairs = Vec::new();
    match (&from.qkv, &to.qkv) {
        (Qkv::Apart(from), Qkv::Apart(to)) => pairs.extend(from.iter().copied().zip(to.iter().copied())),
        (Qkv::Packed(from), Qkv::Packed(to)) => pairs.push((*from, *to)),
        (Qkv::Apart(_) | Qkv::Packed(_), _) => {}
    }
    pairs.push((from.attention_output, to.attention_output));
    pairs.push((from.attention_norm, to.attention_norm));
    match (&from.up, &to.up) {
        (Up::Plain(from), Up::Plain(to)) => pairs.push((*from, *to)),
        (Up::Apart { gate, value }, Up::Apart { gate: to_gate, value: to_value }) => {
            pairs.extend([(*gate, *to_gate), (*value, *to_value)]);
        }
        (Up::Plain(_) | Up::Packed { .. } | Up::Apart { .. }, _) => {}
    }
    pairs.push((from.down, to.down));
    pairs.push((from.feed_forward_norm, to.feed_forward_norm));
    pairs
}

/// The tensors of `pairs`: of each the weight, which must be there, and the bias, where there is one. Checkpoints that
/// were converted from TensorFlow call those of a norm `gamma` and `beta`.
///
/// # Errors
/// [`LoadError`] for a tensor that is missing or isn't of floats.
pub(super) fn plan(pairs: &[Pair], files: &WeightFiles, of: FileType, model: ModelSize) -> Result<Vec<Planned>> {
    let mut tensors = Vec::new();
    for Pair { from, to, rows } in pairs {
        for (ending, other) in [("weight", "gamma"), ("bias", "beta")] {
            let [name, other] = [ending, other].map(|ending| format!("{from}.{ending}"));
            let name = if files.contains(&other) { other } else { name };
            if ending == "weight" || files.contains(&name) {
                tensors.push(Planned::tensor(format!("{to}.{ending}"), name, *rows, files, of, model)?);
            }
        }
    }
    Ok(tensors)
}

fn read(files: &WeightFiles, name: &str) -> Result<(RawTensor, PathBuf)> {
    let Some((raw, path)) = files.get(name) else {
        let problem = LoadProblem::MissingTensor { tensor: name.to_owned(), nearest: None };
        return Err(LoadError::new(files.folder(), problem).into());
    };
    Ok((raw, path.to_owned()))
}

impl Planned {
    /// The tensor called `name`, from the one called `source` in the checkpoint.
    ///
    /// # Errors
    /// [`LoadError`] if it is missing or isn't of floats.
    pub(super) fn tensor(
        name: String,
        source: String,
        rows: Rows,
        files: &WeightFiles,
        of: FileType,
        model: ModelSize,
    ) -> Result<Self> {
        let (raw, path) = read(files, &source)?;
        if !matches!(raw.dtype, DType::F32 | DType::F16 | DType::BF16) {
            let (expected, found) = ("F32, F16, BF16".to_owned(), raw.dtype.to_string());
            return Err(LoadError::new(path, LoadProblem::DType { tensor: source, expected, found }).into());
        }
        let mut shape = raw.shape;
        if let [count, _, ..] = shape.as_mut_slice() {
            *count = rows.count(*count);
        }
        let dtype = of.of_tensor(&name, &shape, model);
        Ok(Self { name, shape, dtype, source: Source::Tensor(source, rows) })
    }

    /// A list of values that no checkpoint has.
    pub(super) fn values(name: &str, values: Vec<f32>) -> Self {
        Self { name: name.into(), shape: vec![values.len()], dtype: DType::F32, source: Source::Values(values) }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// What it takes in GGUF, without what is put behind it.
    pub(super) fn bytes(&self) -> u64 {
        let rows = self.len() / self.columns().max(1);
        self.dtype.bytes_of(self.columns()).map_or(0, |bytes| bytes as u64 * rows as u64)
    }

    /// Gives the tensor's bytes in GGUF to `sink`, piece by piece.
    ///
    /// # Errors
    /// Those of `sink`; [`LoadError`] for values that the type has no room for.
    pub(super) fn write(&self, files: &WeightFiles, mut sink: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let (source, rows) = match &self.source {
            Source::Tensor(source, rows) => (source, *rows),
            Source::Values(values) => return sink(&DType::F32.to_bytes(values).unwrap_or_default()),
        };
        let (raw, path) = read(files, source)?;
        let row_bytes = raw.dtype.bytes_of(self.columns()).unwrap_or_default();
        let row = |row: usize, of: usize| {
            let start = rows.source(row, of) * row_bytes;
            raw.bytes.get(start..start + row_bytes).unwrap_or_default()
        };
        let source_rows = raw.bytes.len() / row_bytes.max(1);
        let count = self.len() / self.columns().max(1);
        let piece_rows = (PIECE_VALUES / self.columns().max(1)).max(1);
        for start in (0..count).step_by(piece_rows) {
            let piece = start..(start + piece_rows).min(count);
            let convert = |index| self.convert(raw.dtype, row(index, source_rows), &path);
            let converted: Result<Vec<Vec<u8>>> = threads::on_pool(|| piece.into_par_iter().map(convert).collect());
            sink(&converted?.concat())?;
        }
        Ok(())
    }

    /// A row in the type of the file.
    fn convert(&self, from: DType, row: &[u8], path: &Path) -> Result<Vec<u8>> {
        if from == self.dtype {
            return Ok(row.to_vec());
        }
        // `tensor` refuses what isn't of floats.
        let values = from.to_f32(row).unwrap_or_default();
        let DType::Block(of) = self.dtype else { return Ok(self.dtype.to_bytes(&values).unwrap_or_default()) };
        blocks::quantize(of, &values).map_err(|error| match error {
            Error::InvalidConfig(InvalidConfig { expected, found, .. }) => {
                let field = format!("tensor `{}` as {of}", self.name);
                LoadError::new(path, LoadProblem::Field { field, expected, found }).into()
            }
            error => error,
        })
    }
}
