//! Layers made up by tests, and a packer for each format, written from its description: word by word, code by code.

use std::collections::BTreeMap;

use gllm_core::{Error, LoadProblem, Result};
use gllm_quant::{GroupQuantized, QuantizationConfig, WeightFiles};
use half::f16;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

/// What a quantiser has before it packs.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) group_size: usize,
    pub(crate) bits: usize,
    /// `[outputs, inputs]`, in the layer's order.
    pub(crate) codes: Vec<u8>,
    /// `[outputs, groups]`.
    pub(crate) zeros: Vec<u8>,
    /// `[outputs, groups]`.
    pub(crate) scales: Vec<f16>,
    /// The group of each input.
    pub(crate) g_idx: Vec<usize>,
}

impl Layer {
    /// A layer with numbers that follow from `seed`.
    pub(crate) fn new(outputs: usize, groups: usize, group_size: usize, bits: usize, seed: u64) -> Self {
        let mut state = seed;
        let mut next = move || {
            // Knuth's MMIX generator.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let inputs = groups * group_size;
        let mut many = |count: usize| (0..count).map(|_| (next() % (1 << bits)) as u8).collect::<Vec<_>>();
        let (codes, zeros) = (many(outputs * inputs), many(outputs * groups));
        let scales = (0..outputs * groups).map(|place| f16::from_f32((place % 97) as f32 / 512.0 + 0.001)).collect();
        let g_idx = (0..inputs).map(|input| input / group_size).collect();
        Self { outputs, inputs, group_size, bits, codes, zeros, scales, g_idx }
    }

    /// The same layer, its inputs dealt to the groups in turn.
    pub(crate) fn dealt(mut self) -> Self {
        let groups = self.groups();
        self.g_idx.iter_mut().enumerate().for_each(|(input, group)| *group = input % groups);
        self
    }

    /// The same layer, 0 being the code in the middle.
    pub(crate) fn symmetric(mut self) -> Self {
        self.zeros.fill(1 << (self.bits - 1));
        self
    }

    pub(crate) fn groups(&self) -> usize {
        self.inputs / self.group_size
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    fn code(&self, output: usize, input: usize) -> u32 {
        self.codes[output * self.inputs + input].into()
    }

    fn zero(&self, output: usize, group: usize) -> u32 {
        self.zeros[output * self.groups() + group].into()
    }

    /// `scale · (code - zero)`, `[outputs, inputs]`.
    pub(crate) fn weights(&self) -> Vec<f32> {
        let weight = |output: usize, input: usize| {
            let group = self.g_idx[input];
            let scale = self.scales[output * self.groups() + group].to_f32();
            scale * (self.code(output, input) as f32 - self.zero(output, group) as f32)
        };
        (0..self.outputs).flat_map(|output| (0..self.inputs).map(move |input| weight(output, input))).collect()
    }

    /// A word of codes, the first in the lowest bits; codes that aren't there are 0.
    fn word(&self, code: impl Fn(usize) -> Option<u32>) -> u32 {
        (0..32 / self.bits).fold(0, |word, n| word | code(n).unwrap_or(0) << (n * self.bits))
    }

    /// `[rows, columns]` words.
    fn words(rows: usize, columns: usize, word: impl Fn(usize, usize) -> u32) -> Tensor {
        let words = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let bytes = words.flat_map(|(row, column)| word(row, column).to_le_bytes()).collect();
        Tensor { dtype: Dtype::I32, shape: vec![rows, columns], bytes }
    }

    fn scales_by_group(&self) -> Tensor {
        let places = (0..self.groups()).flat_map(|group| (0..self.outputs).map(move |output| (output, group)));
        let scales = places.map(|(output, group)| self.scales[output * self.groups() + group]);
        Tensor {
            dtype: Dtype::F16,
            shape: vec![self.groups(), self.outputs],
            bytes: scales.flat_map(f16::to_le_bytes).collect(),
        }
    }

    /// `weight_scale` of compressed-tensors.
    fn scales_by_output(&self) -> Tensor {
        let bytes = self.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        Tensor { dtype: Dtype::F16, shape: vec![self.outputs, self.groups()], bytes }
    }

    pub(crate) fn awq(&self) -> Tensors {
        let order = [0, 2, 4, 6, 1, 3, 5, 7];
        let columns = self.outputs / 8;
        let qweight = Self::words(self.inputs, columns, |input, column| {
            self.word(|n| Some(self.code(column * 8 + order[n], input)))
        });
        let qzeros = Self::words(self.groups(), columns, |group, column| {
            self.word(|n| Some(self.zero(column * 8 + order[n], group)))
        });
        Tensors::new([("qweight", qweight), ("qzeros", qzeros), ("scales", self.scales_by_group())])
    }

    /// `gptq_v2`, or with `lower` 1 `gptq`: every zero is 1 lower, and none may be 0.
    pub(crate) fn gptq(&self, lower: u32) -> Tensors {
        let codes = 32 / self.bits;
        let qweight = Self::words(self.inputs / codes, self.outputs, |row, output| {
            self.word(|n| Some(self.code(output, row * codes + n)))
        });
        let qzeros = Self::words(self.groups(), self.outputs / codes, |group, column| {
            self.word(|n| Some(self.zero(column * codes + n, group) - lower))
        });
        let g_idx = Tensor::integers(Dtype::I32, &self.g_idx.iter().map(|group| *group as i64).collect::<Vec<_>>());
        let scales = self.scales_by_group();
        Tensors::new([("qweight", qweight), ("qzeros", qzeros), ("scales", scales), ("g_idx", g_idx)])
    }

    pub(crate) fn packed(&self) -> Tensors {
        let codes = 32 / self.bits;
        let weight = Self::words(self.outputs, self.inputs.div_ceil(codes), |output, column| {
            self.word(|n| Some(column * codes + n).filter(|input| *input < self.inputs).map(|i| self.code(output, i)))
        });
        let zeros = Self::words(self.outputs.div_ceil(codes), self.groups(), |row, group| {
            self.word(|n| Some(row * codes + n).filter(|output| *output < self.outputs).map(|o| self.zero(o, group)))
        });
        Tensors::new([
            ("weight_packed", weight),
            ("weight_scale", self.scales_by_output()),
            ("weight_zero_point", zeros),
            ("weight_shape", Tensor::integers(Dtype::I64, &self.shape().map(|side| side as i64))),
        ])
    }

    pub(crate) fn int8(&self) -> Tensors {
        let middle = 1 << (self.bits - 1);
        let signed = |codes: &[u8], columns: usize| {
            let bytes = codes.iter().map(|code| code.wrapping_sub(middle)).collect();
            Tensor { dtype: Dtype::I8, shape: vec![self.outputs, columns], bytes }
        };
        Tensors::new([
            ("weight", signed(&self.codes, self.inputs)),
            ("weight_scale", self.scales_by_output()),
            ("weight_zero_point", signed(&self.zeros, self.groups())),
        ])
    }
}

/// A tensor to be written.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    /// A list of integers of 4 or 8 bytes.
    pub(crate) fn integers(dtype: Dtype, values: &[i64]) -> Self {
        let size = dtype.bitsize() / 8;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()[..size].to_vec()).collect();
        Self { dtype, shape: vec![values.len()], bytes }
    }

    /// Zeros.
    pub(crate) fn blank(dtype: Dtype, shape: &[usize]) -> Self {
        let bytes = vec![0; shape.iter().product::<usize>() * dtype.bitsize() / 8];
        Self { dtype, shape: shape.to_vec(), bytes }
    }
}

/// The tensors of a module called `model.layers.0.mlp.down_proj`.
#[derive(Clone, Debug)]
pub(crate) struct Tensors(BTreeMap<String, Tensor>);

pub(crate) const MODULE: &str = "model.layers.0.mlp.down_proj";

impl Tensors {
    fn new<const N: usize>(tensors: [(&str, Tensor); N]) -> Self {
        Self(tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect())
    }

    /// The same with another tensor in the place of one, which is there.
    pub(crate) fn with(mut self, name: &str, tensor: Tensor) -> Self {
        self.0.insert(name.into(), tensor).expect("there");
        self
    }

    /// The same and another tensor, which isn't there.
    pub(crate) fn and(mut self, name: &str, tensor: Tensor) -> Self {
        assert!(self.0.insert(name.into(), tensor).is_none());
        self
    }

    /// The same without a tensor, which is there.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.remove(name).expect("there");
        self
    }

    /// Writes the tensors, and reads the layer back as `config` says.
    pub(crate) fn read(&self, config: &Value, shape: [usize; 2]) -> Result<GroupQuantized> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("model.safetensors");
        let views = self.0.iter().map(|(name, tensor)| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).expect("a valid tensor");
            (format!("{MODULE}.{name}"), view)
        });
        std::fs::write(&path, safetensors::serialize(views, None).expect("serialisable")).expect("writable");
        let config = QuantizationConfig::from_json(&path, &json!({ "quantization_config": config }))?;
        config.expect("quantised").weight(&WeightFiles::open(folder.path())?, MODULE, shape)
    }

    /// What reading the layer fails with.
    pub(crate) fn problem(&self, config: &Value, shape: [usize; 2]) -> LoadProblem {
        match self.read(config, shape).expect_err("must be refused") {
            Error::LoadError(error) => error.problem,
            other => panic!("{other}"),
        }
    }
}

pub(crate) fn awq(group_size: i64) -> Value {
    json!({"quant_method": "awq", "bits": 4, "group_size": group_size, "version": "gemm", "zero_point": true})
}

pub(crate) fn gptq(bits: usize, group_size: i64, format: &str) -> Value {
    json!({"quant_method": "gptq", "bits": bits, "group_size": group_size, "checkpoint_format": format})
}

pub(crate) fn compressed(format: &str, bits: usize, group_size: Option<usize>, symmetric: bool) -> Value {
    let strategy = if group_size.is_some() { "group" } else { "channel" };
    json!({
        "quant_method": "compressed-tensors",
        "format": format,
        "config_groups": {"group_0": {
            "targets": ["Linear"],
            "weights": {"num_bits": bits, "type": "int", "strategy": strategy, "group_size": group_size, "symmetric": symmetric},
        }},
    })
}
