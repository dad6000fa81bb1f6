//! A linear layer with its weights, dense or packed: what the layers above see is the same.

use burn::tensor::{Bytes, Tensor};
#[cfg(feature = "cpu")]
use gllm_core::Precision;
use gllm_core::Result;
use gllm_quant::GroupQuantized;
#[cfg(feature = "cpu")]
use gllm_quant::QLinear;

use super::narrow_weight::NarrowWeight;
use crate::device::is_cpu;
#[cfg(feature = "cpu")]
use crate::ops::FloatLinear;
use crate::{Activation, Weights, ops, threads};

/// `[outputs, inputs]` in the checkpoint; `bias`: `[outputs]`.
#[derive(Debug)]
pub(crate) enum Linear {
    /// Floats; the weight is a view of the checkpoint's, `[inputs, outputs]`.
    Dense { weight: Tensor<2>, bias: Option<Tensor<1>> },
    /// Quantised, widened for each product.
    Narrow { weight: NarrowWeight, bias: Option<Tensor<1>> },
    /// Floats, in the order of the CPU's kernels.
    #[cfg(feature = "cpu")]
    Sorted(Box<FloatLinear>),
    /// Quantised, as small as in the checkpoint, in the order of the CPU's kernels.
    #[cfg(feature = "cpu")]
    Packed(Box<QLinear>),
}

impl Linear {
    /// Reads the weight and, where there is one, the bias. Quantised weights stay packed where the device has kernels
    /// for them; on GPUs they are kept narrow, and elsewhere they become floats.
    pub(crate) fn load(weights: &Weights<'_>, inputs: usize, outputs: usize, has_bias: bool) -> Result<Self> {
        let groups = weights.quantized_by_groups(outputs, inputs)?;
        #[cfg(feature = "cpu")]
        if ops::has_kernels(weights.device()) {
            let blocks = if groups.is_none() { weights.quantized("weight", outputs, inputs)? } else { None };
            if groups.is_some() || blocks.is_some() {
                let bias = has_bias.then(|| weights.values("bias", outputs)).transpose()?;
                let layer = threads::on_pool(|| match (&groups, &blocks) {
                    (Some(groups), _) => QLinear::from_groups(groups, bias),
                    (None, blocks) => blocks.as_ref().and_then(|blocks| QLinear::new(blocks, bias)),
                });
                if let Some(layer) = layer {
                    // It was copied into the kernels' order.
                    weights.release();
                    return Ok(Self::Packed(Box::new(layer)));
                }
            }
        }
        if !is_cpu(weights.device())
            && let Some(weight) = narrow(weights, groups.as_ref(), inputs, outputs)?
        {
            let bias = has_bias.then(|| weights.tensor("bias", [outputs])).transpose()?;
            return Ok(Self::Narrow { weight, bias });
        }
        #[cfg(feature = "cpu")]
        if ops::has_kernels(weights.device()) {
            let matrix = match groups {
                Some(groups) => threads::on_pool(|| groups.dequantize()),
                None => weights.matrix("weight", outputs, inputs)?,
            };
            return sorted(&matrix, &[(weights.clone(), outputs)], inputs, has_bias);
        }
        let weight = match groups {
            Some(groups) => {
                weights.upload(Bytes::from_elems(threads::on_pool(|| groups.dequantize())), [outputs, inputs])
            }
            None => weights.tensor("weight", [outputs, inputs])?,
        };
        let bias = has_bias.then(|| weights.tensor("bias", [outputs])).transpose()?;
        Ok(Self::Dense { weight: weight.transpose(), bias })
    }

    /// A layer of these weights, `[outputs, inputs]`, for the device of `weights`: in `f32`, as heads are.
    pub(crate) fn of_floats(weights: &Weights<'_>, matrix: Vec<f32>, inputs: usize, bias: Option<Vec<f32>>) -> Self {
        #[cfg(feature = "cpu")]
        if ops::has_kernels(weights.device()) {
            let numbers = (Precision::F32, 0);
            let layer = threads::on_pool(|| FloatLinear::new(numbers, &matrix, bias.as_deref(), inputs));
            return Self::Sorted(Box::new(layer));
        }
        let outputs = matrix.len() / inputs;
        let weight = weights.upload::<2>(Bytes::from_elems(matrix), [outputs, inputs]).transpose();
        Self::Dense { weight, bias: bias.map(|bias| weights.upload(Bytes::from_elems(bias), [outputs])) }
    }

    /// Reads layers with the same inputs, each with as many outputs, as one; `None` where they stay apart: there are no
    /// kernels for it, or they are quantised.
    pub(crate) fn load_joined(layers: &[(Weights<'_>, usize)], inputs: usize, has_bias: bool) -> Result<Option<Self>> {
        #[cfg(feature = "cpu")]
        if layers.iter().all(|(weights, _)| ops::has_kernels(weights.device()) && weights.is_float("weight")) {
            let all = layers.iter().map(|(_, outputs)| outputs * inputs).sum();
            let mut matrix = Vec::with_capacity(all);
            for (weights, outputs) in layers {
                matrix.extend(weights.matrix("weight", *outputs, inputs)?);
            }
            return sorted(&matrix, layers, inputs, has_bias).map(Some);
        }
        #[cfg(not(feature = "cpu"))]
        let _ = (layers, inputs, has_bias);
        Ok(None)
    }

    /// The layer as the CPU's kernels take it, if they do.
    #[cfg(feature = "cpu")]
    pub(crate) fn packed(&self) -> Option<&QLinear> {
        match self {
            Self::Packed(layer) => Some(layer),
            _ => None,
        }
    }

    /// The layer as the CPU's kernels for floats take it, if they do.
    #[cfg(feature = "cpu")]
    fn sorted(&self) -> Option<&FloatLinear> {
        match self {
            Self::Sorted(layer) => Some(layer),
            _ => None,
        }
    }

    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - returns `[tokens, outputs]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Dense { weight, bias } => ops::linear(x, weight.clone(), bias.clone()),
            Self::Narrow { weight, bias } => ops::linear(x, weight.widened(), bias.clone()),
            #[cfg(feature = "cpu")]
            Self::Sorted(layer) => ops::float_linear(x, layer, Activation::Identity),
            #[cfg(feature = "cpu")]
            Self::Packed(layer) => ops::packed_linears(x, &[layer]),
        }
    }

    /// As [`Linear::forward`], with a non-linearity behind it.
    pub(crate) fn forward_activated(&self, x: Tensor<2>, activation: Activation) -> Tensor<2> {
        match self {
            #[cfg(feature = "cpu")]
            Self::Sorted(layer) => ops::float_linear(x, layer, activation),
            _ => ops::activate(self.forward(x), activation),
        }
    }

    /// `self`, a non-linearity, then `down`.
    ///
    /// # Shapes
    /// - `x`: `[tokens, inputs]`
    /// - returns `[tokens, outputs of down]`
    pub(crate) fn forward_into(&self, x: Tensor<2>, activation: Activation, down: &Self) -> Tensor<2> {
        #[cfg(feature = "cpu")]
        if let (Some(up), Some(down)) = (self.sorted(), down.sorted()) {
            return ops::feed_forward(x, up, activation, down);
        }
        down.forward(self.forward_activated(x, activation))
    }
}

/// Layers with the same inputs as one, in the order of the CPU's kernels for floats; `matrix` has the rows of all.
#[cfg(feature = "cpu")]
fn sorted(matrix: &[f32], layers: &[(Weights<'_>, usize)], inputs: usize, has_bias: bool) -> Result<Linear> {
    let (mut bias, mut numbers) = (Vec::new(), (Precision::F32, 0));
    for (weights, outputs) in layers {
        if has_bias {
            bias.extend(weights.values("bias", *outputs)?);
        }
        numbers = (weights.precision(), weights.int8_group());
        weights.release();
    }
    let layer = FloatLinear::new(numbers, matrix, has_bias.then_some(&bias), inputs);
    Ok(Linear::Sorted(Box::new(layer)))
}

/// The weight here as it is kept on a GPU; `None` if it isn't quantised.
fn narrow(
    weights: &Weights<'_>,
    groups: Option<&GroupQuantized>,
    inputs: usize,
    outputs: usize,
) -> Result<Option<NarrowWeight>> {
    let device = weights.device();
    let (weight, of) = match groups {
        Some(groups) => (NarrowWeight::from_groups(groups, device), format!("{} bits in groups", groups.bits)),
        None => match weights.quantized("weight", outputs, inputs)? {
            Some(blocks) => (NarrowWeight::from_blocks(&blocks, device), blocks.block_type().to_string()),
            None => return Ok(None),
        },
    };
    weights.converted(of, weight.form());
    Ok(Some(weight))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use burn::tensor::{Device, TensorData};
    use gllm_quant::WeightFiles;

    use super::*;
    use crate::device::to_host;

    /// A layer of each project that quantises by groups, and which of them the CPU's kernels compute with as it is.
    const CASES: [(&str, &str, bool); 8] = [
        ("awq", "group-64", true),
        ("awq", "whole-row", true),
        ("gptq", "group-64-desc-act", true),
        ("gptq", "8-bits-desc-act", true),
        ("gptq", "v2-group-32", true),
        ("compressed_tensors", "w4-group-128-bf16", true),
        ("compressed_tensors", "int8-channel-asymmetric", true),
        // A row of 90 inputs isn't a whole number of blocks.
        ("compressed_tensors", "int8-channel", false),
    ];

    /// The folder of a checkpoint with that one layer.
    fn checkpoint(format: &str, case: &str) -> tempfile::TempDir {
        let golden = |file: String| -> PathBuf { Path::new("../../tests/golden").join(format).join(file) };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let weights = folder.path().join("model.safetensors");
        std::fs::copy(golden(format!("{case}.safetensors")), weights).expect("golden data");
        let config = std::fs::read_to_string(golden(format!("{case}.json"))).expect("golden data");
        let config = format!(r#"{{"quantization_config": {config}}}"#);
        std::fs::write(folder.path().join("config.json"), config).expect("writable");
        folder
    }

    /// The size of the error of a layer's results, relative to that of the results.
    fn relative_error(layer: &Linear, weight: &[f32], inputs: usize, device: &Device) -> f64 {
        let rows = 5;
        let x: Vec<f32> = (0..rows * inputs).map(|i| (i as f32 * 0.37).sin()).collect();
        let y = layer.forward(Tensor::from_data(TensorData::new(x.clone(), [rows, inputs]), device));
        let expected = x.chunks(inputs).flat_map(|x| {
            let dot = move |row: &[f32]| row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>();
            weight.chunks(inputs).map(dot)
        });
        let y = to_host(y).expect("a result");
        let squares = y.iter().zip(expected).fold((0.0, 0.0), |(error, size), (found, expected)| {
            (error + (f64::from(*found) - expected).powi(2), size + expected.powi(2))
        });
        (squares.0 / squares.1).sqrt()
    }

    fn is_packed(layer: &Linear) -> bool {
        match layer {
            #[cfg(feature = "cpu")]
            Linear::Packed(_) => true,
            _ => false,
        }
    }

    fn check(device: &Device, is_cpu: bool) {
        for (format, case, has_kernel) in CASES {
            let folder = checkpoint(format, case);
            let files = WeightFiles::open(folder.path()).expect("a checkpoint");
            let (expected, _) = files.get("expected.weight").expect("golden data");
            let [outputs, inputs] = expected.shape[..] else { panic!("a matrix") };
            let layer =
                Weights::read(&files, device, |weights| Linear::load(&weights.enter("layer"), inputs, outputs, false));
            let layer = layer.expect("a layer");
            assert_eq!(is_packed(&layer), is_cpu && has_kernel, "{format} {case}");
            let weight = expected.dtype.to_f32(&expected.bytes).expect("floats");
            let error = relative_error(&layer, &weight, inputs, device);
            assert!(error <= 1e-2, "{format} {case}: {error}");
        }
    }

    #[cfg(feature = "cpu")]
    #[test]
    fn layers_quantised_by_groups_stay_packed_on_the_cpu() {
        check(&Device::flex(), true);
    }

    /// Of 48 outputs each, where a panel has 32.
    #[cfg(feature = "cpu")]
    #[test]
    fn joined_layers_are_as_those_one_by_one() {
        let files = WeightFiles::open(Path::new("../../tests/golden/bert/mean")).expect("a model");
        let device = Device::flex();
        let x = TensorData::new((0..3 * 48).map(|i| (i as f32 * 0.37).sin()).collect(), [3, 48]);
        let forward = |layer: &Linear| to_host(layer.forward(Tensor::from_data(x.clone(), &device))).expect("a result");
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let read = |weights: &Weights<'_>| {
                let weights = weights.enter("encoder.layer.0.attention.self");
                let layers = ["query", "key", "value"].map(|name| (weights.enter(name), 48));
                let apart = layers.iter().map(|(weights, outputs)| Linear::load(weights, 48, *outputs, true));
                Ok((Linear::load_joined(&layers, 48, true)?, apart.collect::<Result<Vec<_>>>()?))
            };
            let target = crate::Target::new(device.clone(), precision);
            let (joined, apart) = Weights::read(&files, &target, read).expect("layers");
            let found = forward(&joined.expect("floats can be joined"));
            let apart: Vec<_> = apart.iter().map(forward).collect();
            for (row, found) in found.chunks(3 * 48).enumerate() {
                let expected = apart.iter().flat_map(|y| &y[row * 48..(row + 1) * 48]);
                assert!(found.iter().eq(expected), "{precision}, row {row}");
            }
        }
    }

    #[cfg(feature = "ndarray")]
    #[test]
    fn layers_quantised_by_groups_become_floats_elsewhere() {
        check(&crate::device::ndarray(), false);
    }
}
