//! Types of weights, as they lie in their files.

use std::fmt;

use half::{bf16, f16};

use crate::{BlockType, blocks};

/// The type of a tensor's elements, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DType {
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of an `f32`.
    BF16,
    /// Packed into blocks; a row is a whole number of them.
    Block(BlockType),
    /// Signed integers and other types that occur beside weights (`position_ids`), or hold packed codes (AWQ, GPTQ).
    Other(safetensors::Dtype),
}

impl DType {
    /// The types that [`DType::to_f32`] widens, for error messages.
    pub const FLOATS: &'static str = "F32, F16, BF16, a block type of GGUF";

    /// Widens elements to `f32`, dense ones exactly; `None` if this isn't a type of [`DType::FLOATS`].
    /// Bytes behind the last whole element or block are left alone.
    ///
    /// ```
    /// use gllm_quant::DType;
    /// assert_eq!(DType::BF16.to_f32(&[0x80, 0x3f, 0x00, 0xc0]), Some(vec![1.0, -2.0]));
    /// ```
    #[must_use]
    pub fn to_f32(self, bytes: &[u8]) -> Option<Vec<f32>> {
        match self {
            Self::F32 => Some(elements(bytes, f32::from_le_bytes).collect()),
            Self::F16 => Some(elements(bytes, f16_from_le_bytes).collect()),
            Self::BF16 => Some(elements(bytes, bf16_from_le_bytes).collect()),
            Self::Block(of) => Some(blocks::dequantize(of, bytes)),
            Self::Other(_) => None,
        }
    }

    /// The nearest elements to `values`, ties to even; `None` if this isn't a dense type of [`DType::FLOATS`]. Blocks
    /// are made by [`blocks::quantize`].
    ///
    /// ```
    /// use gllm_quant::DType;
    /// assert_eq!(DType::BF16.to_bytes(&[1.0, -2.0]), Some(vec![0x80, 0x3f, 0x00, 0xc0]));
    /// ```
    #[must_use]
    pub fn to_bytes(self, values: &[f32]) -> Option<Vec<u8>> {
        match self {
            Self::F32 => Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Self::F16 => Some(values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect()),
            Self::BF16 => Some(values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect()),
            Self::Block(_) | Self::Other(_) => None,
        }
    }

    /// Bytes of `values` elements, which are whole blocks; `None` if this isn't a type of [`DType::FLOATS`], or they
    /// aren't.
    #[must_use]
    pub fn bytes_of(self, values: usize) -> Option<usize> {
        match self {
            Self::F32 => values.checked_mul(4),
            Self::F16 | Self::BF16 => values.checked_mul(2),
            Self::Block(of) if values.is_multiple_of(of.block_len()) => {
                (values / of.block_len()).checked_mul(of.block_bytes())
            }
            Self::Block(_) | Self::Other(_) => None,
        }
    }

    /// Adds elements to `sum`, widened to `f32`; nothing, if this isn't a type of [`DType::FLOATS`].
    pub fn add_to(self, bytes: &[u8], sum: &mut [f32]) {
        fn add(sum: &mut [f32], elements: impl Iterator<Item = f32>) {
            sum.iter_mut().zip(elements).for_each(|(sum, x)| *sum += x);
        }
        match self {
            Self::F32 => add(sum, elements(bytes, f32::from_le_bytes)),
            Self::F16 => add(sum, elements(bytes, f16_from_le_bytes)),
            Self::BF16 => add(sum, elements(bytes, bf16_from_le_bytes)),
            Self::Block(of) => add(sum, blocks::dequantize(of, bytes).into_iter()),
            Self::Other(_) => {}
        }
    }
}

fn elements<const N: usize>(bytes: &[u8], element: impl Fn([u8; N]) -> f32) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<N>().0.iter().map(move |chunk| element(*chunk))
}

fn f16_from_le_bytes(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

fn bf16_from_le_bytes(bytes: [u8; 2]) -> f32 {
    bf16::from_le_bytes(bytes).to_f32()
}

impl From<safetensors::Dtype> for DType {
    fn from(dtype: safetensors::Dtype) -> Self {
        match dtype {
            safetensors::Dtype::F32 => Self::F32,
            safetensors::Dtype::F16 => Self::F16,
            safetensors::Dtype::BF16 => Self::BF16,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => f.write_str("F32"),
            Self::F16 => f.write_str("F16"),
            Self::BF16 => f.write_str("BF16"),
            Self::Block(of) => of.fmt(f),
            Self::Other(dtype) => write!(f, "{dtype:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_widens_exactly() {
        for bits in 0..=u16::MAX {
            let bytes = bits.to_le_bytes();
            let same = |dtype: DType, expected: f32| {
                let found = dtype.to_f32(&bytes).expect("a float type")[0];
                let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
                assert!(same, "{dtype} {bits:#x}");
            };
            same(DType::F16, f16::from_bits(bits).to_f32());
            same(DType::BF16, f32::from_bits(u32::from(bits) << 16));
        }
    }

    #[test]
    fn integers_are_not_widened() {
        assert_eq!(DType::from(safetensors::Dtype::I64).to_f32(&[0; 8]), None);
    }
}
