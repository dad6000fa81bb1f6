//! A quantised weight on a device that has no kernels for it: narrow at rest, `f32` for as long as a product takes.
//!
//! Blocks of 32 codes with one scale lie on the device as they are, in Burn's quantised tensors, 8 or 4 bits a code.
//! Everything else is expanded at load: to `f16`, where the device has it and the weights are in its range.
//!
//! Source of the layout: `QuantizedBytes` of burn-std, and `dequantize` of cubek-quant.

use burn::tensor::quantization::{QuantScheme, QuantStore, QuantValue, ScaleDtype};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor, TensorData, f16};
use gllm_quant::{GroupQuantized, QTensor};

use crate::threads;

/// `[outputs, inputs]`.
#[derive(Debug)]
pub(crate) struct NarrowWeight(Tensor<2>);

impl NarrowWeight {
    /// Blocks of a file.
    pub(crate) fn from_blocks(weight: &QTensor, device: &Device) -> Self {
        match weight.int8_blocks() {
            Some((codes, scales)) => Self::from_codes(&codes, &scales, weight.shape(), device),
            None => Self::from_floats(weight.dequantize(), weight.shape(), device),
        }
    }

    /// Weights with scales for groups of inputs. They have zero points, which Burn's tensors don't.
    pub(crate) fn from_groups(weight: &GroupQuantized, device: &Device) -> Self {
        Self::from_floats(threads::on_pool(|| weight.dequantize()), [weight.outputs, weight.inputs], device)
    }

    /// A scale for each 32 codes.
    fn from_codes(codes: &[i8], scales: &[f32], shape: [usize; 2], device: &Device) -> Self {
        let is_nibble = |code: &i8| (-8..8).contains(code);
        let (value, mut bytes): (_, Vec<u8>) = if codes.iter().all(is_nibble) {
            // The first of two in the low bits.
            let pack = |pair: &[i8]| pair[0].cast_unsigned() & 15 | pair[1].cast_unsigned() << 4;
            (QuantValue::Q4S, codes.chunks_exact(2).map(pack).collect())
        } else {
            (QuantValue::Q8S, codes.iter().map(|code| code.cast_unsigned()).collect())
        };
        bytes.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
        let scheme = QuantScheme::default()
            .with_value(value)
            .with_store(QuantStore::PackedU32(0))
            .per_block([32], ScaleDtype::F32);
        let data = TensorData::from_bytes(Bytes::from_elems(bytes), Shape::new(shape), DType::QFloat(scheme));
        Self(Tensor::from_data(data, device))
    }

    fn from_floats(floats: Vec<f32>, shape: [usize; 2], device: &Device) -> Self {
        let is_in_range = |float: &f32| float.abs() <= f16::MAX.to_f32();
        let data = if device.supports_dtype(DType::F16) && floats.iter().all(is_in_range) {
            TensorData::new(floats.into_iter().map(f16::from_f32).collect(), shape)
        } else {
            TensorData::new(floats, shape)
        };
        let dtype = data.dtype();
        Self(Tensor::from_data(data, (device, dtype)))
    }

    /// For people: how it lies on the device.
    pub(crate) fn form(&self) -> &'static str {
        match self.0.dtype() {
            DType::QFloat(scheme) if scheme.value == QuantValue::Q4S => "4-bit codes",
            DType::QFloat(_) => "8-bit codes",
            DType::F16 => "f16",
            _ => "f32",
        }
    }

    /// The weights as `f32`, `[inputs, outputs]`.
    ///
    /// Burn has products with codes, too, but kernels that it tries for them panic: docs/adr/0008.
    pub(crate) fn widened(&self) -> Tensor<2> {
        let weight = match self.0.dtype() {
            DType::QFloat(_) => self.0.clone().dequantize(),
            _ => self.0.clone().cast(DType::F32),
        };
        weight.transpose()
    }
}

#[cfg(all(test, feature = "cpu", feature = "wgpu"))]
mod tests {
    use gllm_quant::{BlockType, blocks};

    use super::*;

    /// Bytes of 32 weights, as read back from the device.
    fn bytes_of_a_block(of: BlockType, device: &Device) -> usize {
        let values: Vec<f32> = (0..64 * 96).map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let blocks = blocks::quantize(of, &values).expect("a type that can be made");
        let blocks = QTensor::new(of, [64, 96], blocks.into()).expect("whole blocks");
        let weight = NarrowWeight::from_blocks(&blocks, device);
        let found = weight.widened().transpose().into_data().try_to_vec::<f32>().expect("floats");
        for (found, expected) in found.iter().zip(blocks.dequantize()) {
            assert!((found - expected).abs() <= expected.abs() * 5e-4, "{of}: {found} {expected}");
        }
        weight.0.into_data().as_bytes().len() / (64 * 3)
    }

    #[test]
    fn weights_are_narrow_on_the_device() {
        let Some((device, _)) = crate::device::gpu::software() else { return };
        assert_eq!(bytes_of_a_block(BlockType::Q8_0, &device), 32 + 4);
        assert_eq!(bytes_of_a_block(BlockType::Q4_0, &device), 16 + 4);
        let float = if device.supports_dtype(DType::F16) { 2 } else { 4 };
        assert_eq!(bytes_of_a_block(BlockType::Q4_1, &device), 32 * float);
    }

    #[test]
    fn weights_beyond_half_precision_keep_their_range() {
        let device = Device::flex();
        let weight = NarrowWeight::from_floats(vec![1e6, 1.0], [1, 2], &device);
        assert_eq!(weight.form(), "f32");
        assert_eq!(weight.widened().into_data().try_to_vec::<f32>().expect("floats"), [1e6, 1.0]);
    }
}
