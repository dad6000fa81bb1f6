//! A cursor over named weights: what a layer asks for must be there, in the shape it says.
//!
//! Layers ask for tensors by the names of the checkpoint; a name that is missing or a shape that is
//! wrong is an error that says so. What nobody asked for is reported at the end, because an unused
//! tensor is either another task's head or a sign that the model was read wrongly.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{AllocationProperty, Bytes, DType as BurnDType, Device, Shape, Tensor, TensorData};
use gllm_core::{LoadError, LoadProblem, Precision, Result};
use gllm_quant::{DType, GroupQuantized, QTensor, QuantizationConfig, RawTensor, WeightFiles};

use crate::Target;
use crate::config::read_json;
use crate::layers::EmbeddingTable;

/// A place in the tree of weight names, such as `encoder.layer.0`.
#[derive(Clone, Debug)]
pub struct Weights<'a> {
    files: &'a WeightFiles,
    /// Which linear layers are quantised by groups, and how.
    quantization: Option<&'a QuantizationConfig>,
    device: &'a Device,
    /// What linear layers are multiplied in.
    precision: Precision,
    /// Most inputs that share a scale where they are multiplied in 8 bits.
    #[cfg_attr(not(feature = "cpu"), expect(dead_code, reason = "no other device has 8 bits"))]
    int8_group: usize,
    prefix: String,
    /// Which part of tensors that hold several, and of how many.
    part: Option<(usize, usize)>,
    report: &'a RefCell<Report>,
}

/// What happened to the tensors.
#[derive(Debug, Default)]
struct Report {
    used: BTreeSet<String>,
    /// How many quantised ones of each type were converted, by what became of them.
    converted: BTreeMap<&'static str, BTreeMap<String, usize>>,
}

impl<'a> Weights<'a> {
    /// Reads all of a model through `read`, which gets the root of the names, then logs the tensors that
    /// were not asked for.
    pub fn read<T>(
        files: &WeightFiles,
        target: impl Into<Target>,
        read: impl FnOnce(&Weights<'_>) -> Result<T>,
    ) -> Result<T> {
        let target = target.into();
        let report = RefCell::default();
        let quantization = quantization(files)?;
        let quantization = quantization.as_ref();
        let model = read(&Weights {
            files,
            quantization,
            device: target.device(),
            precision: target.precision(),
            int8_group: usize::MAX,
            prefix: String::new(),
            part: None,
            report: &report,
        })?;
        let Report { used, converted } = report.into_inner();
        let unused: Vec<&str> = files.names().filter(|name| !used.contains(*name)).collect();
        tracing::debug!(folder = %files.folder().display(), used = used.len(), unused = ?unused, "weights loaded");
        for (form, tensors) in converted {
            tracing::info!(?tensors, "kept as {form}: this device has no kernels for them as they are");
        }
        Ok(model)
    }

    /// Where the tensors go.
    pub(crate) fn device(&self) -> &Device {
        self.device
    }

    /// What linear layers are multiplied in.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// This place, for layers that are multiplied in `f32` whatever was asked for: a head is small, and what it loses is in
    /// the answer.
    pub(crate) fn exact(&self) -> Weights<'a> {
        Weights { precision: Precision::F32, ..self.clone() }
    }

    /// Most inputs that share a scale where linear layers are multiplied in 8 bits.
    #[cfg(feature = "cpu")]
    pub(crate) fn int8_group(&self) -> usize {
        self.int8_group
    }

    /// This place, for layers whose errors weigh more: in 8 bits, no more inputs than these share a scale.
    pub(crate) fn finer(&self, int8_group: usize) -> Weights<'a> {
        Weights { int8_group, ..self.clone() }
    }

    /// The folder of the files.
    pub(crate) fn folder(&self) -> &Path {
        self.files.folder()
    }

    /// The place called `name` below this one.
    #[must_use]
    pub fn enter(&self, name: &str) -> Weights<'a> {
        Weights { prefix: self.full_name(name), ..self.clone() }
    }

    /// This place, where each tensor is the `index`th of the `count` that lie in one of the files.
    pub(crate) fn part(&self, index: usize, count: usize) -> Weights<'a> {
        Weights { part: Some((index, count)), ..self.clone() }
    }

    /// Gives back the memory of what was read so far.
    #[cfg(feature = "cpu")]
    pub(crate) fn release(&self) {
        self.files.release();
    }

    /// Whether there is a tensor called `name` here.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.files.contains(&self.full_name(name))
    }

    /// The tensor called `name` as `f32` on the device; one that is `f32` already isn't copied on a CPU.
    ///
    /// # Errors
    /// [`LoadError`] if it isn't there, has another shape, or isn't of a floating-point type.
    pub fn tensor<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>> {
        let (raw, path) = self.raw(name, &shape)?;
        if let DType::Block(of) = raw.dtype {
            self.converted(of.to_string(), "f32");
        }
        let bytes = match raw.dtype {
            DType::F32 if is_native_f32(&raw.bytes) => Bytes::from_shared(raw.bytes, AllocationProperty::Other),
            dtype => Bytes::from_elems(dtype.to_f32(&raw.bytes).ok_or_else(|| self.not_a_float(name, dtype, path))?),
        };
        Ok(self.upload(bytes, shape))
    }

    /// Counts a quantised tensor, `of` this type, that is kept in another form.
    pub(crate) fn converted(&self, of: String, form: &'static str) {
        *self.report.borrow_mut().converted.entry(form).or_default().entry(of).or_default() += 1;
    }

    /// These floats on the device.
    pub(crate) fn upload<const D: usize>(&self, floats: Bytes, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::from_bytes(floats, Shape::new(shape), BurnDType::F32), self.device)
    }

    /// The vector called `name`, on the host.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub(crate) fn values(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        self.floats(name, &[len])
    }

    /// The matrix called `name`, on the host.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub(crate) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Vec<f32>> {
        self.floats(name, &[rows, columns])
    }

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (raw, path) = self.raw(name, shape)?;
        if let DType::Block(of) = raw.dtype {
            self.converted(of.to_string(), "f32");
        }
        Ok(raw.dtype.to_f32(&raw.bytes).ok_or_else(|| self.not_a_float(name, raw.dtype, path))?)
    }

    /// Whether there is a tensor called `name`, of floats.
    pub(crate) fn is_float(&self, name: &str) -> bool {
        self.dtype(name).is_some_and(|dtype| !matches!(dtype, DType::Block(_)) && dtype.to_f32(&[]).is_some())
    }

    /// The matrix called `name` as it lies in its file, on the host; `None` if it isn't there, or isn't quantised.
    ///
    /// # Errors
    /// [`LoadError`] if it has another shape.
    pub(crate) fn quantized(&self, name: &str, rows: usize, columns: usize) -> Result<Option<QTensor>> {
        let Some(DType::Block(of)) = self.dtype(name) else { return Ok(None) };
        let (raw, _) = self.raw(name, &[rows, columns])?;
        QTensor::new(of, [rows, columns], raw.bytes).map(Some)
    }

    /// The linear layer here, `[outputs, inputs]`, as it lies in its file, on the host; `None` if it isn't quantised by
    /// groups.
    ///
    /// # Errors
    /// [`LoadError`] if a tensor of it isn't there, or isn't what `config.json` implies.
    pub(crate) fn quantized_by_groups(&self, outputs: usize, inputs: usize) -> Result<Option<GroupQuantized>> {
        let Some(config) = self.quantization else { return Ok(None) };
        // Projects differ in which layers their lists of exceptions mean. The files say it: a float is not quantised.
        if self.is_float("weight") {
            return Ok(None);
        }
        let below = format!("{}.", self.prefix);
        let names = self.files.names().filter(|name| name.starts_with(&below)).map(str::to_owned);
        self.report.borrow_mut().used.extend(names);
        config.weight(self.files, &self.prefix, [outputs, inputs]).map(Some)
    }

    /// The embedding table called `name`, left where it is: on the host, mapped, in the file's type.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub(crate) fn table(&self, name: &str, rows: usize, hidden: usize) -> Result<EmbeddingTable> {
        let (raw, path) = self.raw(name, &[rows, hidden])?;
        let dtype = raw.dtype;
        EmbeddingTable::new(raw).ok_or_else(|| self.not_a_float(name, dtype, path).into())
    }

    /// The type of the tensor called `name`, without reading it.
    fn dtype(&self, name: &str) -> Option<DType> {
        self.files.describe(&self.full_name(name)).map(|info| info.dtype)
    }

    fn raw(&self, name: &str, shape: &[usize]) -> Result<(RawTensor, PathBuf)> {
        let tensor = self.full_name(name);
        let Some((raw, path)) = self.files.get(&tensor) else {
            let nearest = self.nearest(&tensor);
            return Err(LoadError::new(self.files.folder(), LoadProblem::MissingTensor { tensor, nearest }).into());
        };
        let expected: Vec<usize> = self.part.iter().map(|(_, count)| *count).chain(shape.iter().copied()).collect();
        if raw.shape != expected {
            let problem = LoadProblem::Shape { tensor, expected, found: raw.shape };
            return Err(LoadError::new(path, problem).into());
        }
        self.report.borrow_mut().used.insert(tensor);
        let raw = match self.part {
            Some((index, count)) => {
                let size = raw.bytes.len() / count;
                RawTensor { shape: shape.to_vec(), bytes: raw.bytes.slice(index * size..(index + 1) * size), ..raw }
            }
            None => raw,
        };
        Ok((raw, path.to_path_buf()))
    }

    fn not_a_float(&self, name: &str, dtype: DType, path: PathBuf) -> LoadError {
        let (tensor, expected) = (self.full_name(name), DType::FLOATS.to_owned());
        LoadError::new(path, LoadProblem::DType { tensor, expected, found: dtype.to_string() })
    }

    /// A tensor whose name ends like `tensor` does: the same layer under another prefix.
    fn nearest(&self, tensor: &str) -> Option<String> {
        let common = |name: &&str| {
            name.rsplit('.').zip(tensor.rsplit('.')).take_while(|(found, wanted)| found == wanted).count()
        };
        self.files.names().max_by_key(common).filter(|name| common(name) >= 2).map(str::to_owned)
    }

    fn full_name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
}

/// What the `config.json` beside the files says of quantised layers; nothing, if there is none.
fn quantization(files: &WeightFiles) -> Result<Option<QuantizationConfig>> {
    // A GGUF file speaks for itself, whatever lies beside it.
    if files.metadata().is_some() {
        return Ok(None);
    }
    let path = files.folder().join("config.json");
    let config = read_json::<serde_json::Value>(&path)?;
    Ok(config.map(|config| QuantizationConfig::from_json(&path, &config)).transpose()?.flatten())
}

/// Whether these little-endian elements can be computed with where they are.
fn is_native_f32(bytes: &[u8]) -> bool {
    cfg!(target_endian = "little") && bytes.as_ptr().addr().is_multiple_of(align_of::<f32>())
}
