//! A quantised matrix as it lies in its file: blocks, row after row.

use std::fmt;

use bytes::Bytes;
use gllm_core::{InvalidConfig, Result};

use crate::BlockType;
use crate::blocks::{self, IntegerBlock};

/// `[outputs, inputs]` in blocks. That the bytes are as many as shape and type say is checked once, here.
#[derive(Clone)]
pub struct QTensor {
    of: BlockType,
    outputs: usize,
    inputs: usize,
    bytes: Bytes,
}

// Derived, it would print the weights.
impl fmt::Debug for QTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QTensor({} [{}, {}])", self.of, self.outputs, self.inputs)
    }
}

impl QTensor {
    /// A matrix of this type and shape, `[outputs, inputs]`; nothing is copied.
    ///
    /// ```
    /// use gllm_quant::{BlockType, QTensor};
    /// let zeros = QTensor::new(BlockType::Q8_0, [2, 32], vec![0; 2 * 34].into())?;
    /// assert_eq!(zeros.dequantize(), [0.0; 64]);
    /// assert!(QTensor::new(BlockType::Q8_0, [2, 33], vec![0; 2 * 34].into()).is_err());
    /// # Ok::<(), gllm_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidConfig`] if a dimension is 0, a row isn't a whole number of blocks, or the bytes are too few or too many.
    pub fn new(of: BlockType, [outputs, inputs]: [usize; 2], bytes: Bytes) -> Result<Self> {
        if outputs == 0 || inputs == 0 {
            return Err(InvalidConfig::new("shape", "at least 1 × 1", format!("{outputs} × {inputs}")).into());
        }
        if !inputs.is_multiple_of(of.block_len()) {
            let expected = format!("a multiple of {}, the elements of a {of} block", of.block_len());
            return Err(InvalidConfig::new("inputs", expected, inputs.to_string()).into());
        }
        let expected = (inputs / of.block_len()).checked_mul(of.block_bytes()).and_then(|row| row.checked_mul(outputs));
        if expected != Some(bytes.len()) {
            let expected =
                expected.map_or_else(|| "more than there are addresses".to_owned(), |bytes| bytes.to_string());
            let expected = format!("those of [{outputs}, {inputs}] in {of}: {expected}");
            return Err(InvalidConfig::new("bytes", expected, bytes.len().to_string()).into());
        }
        Ok(Self { of, outputs, inputs, bytes })
    }

    /// How it is packed.
    #[must_use]
    pub fn block_type(&self) -> BlockType {
        self.of
    }

    /// `[outputs, inputs]`.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        [self.outputs, self.inputs]
    }

    /// The blocks.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The blocks of an output.
    ///
    /// # Panics
    /// If there is no such output.
    #[must_use]
    pub fn row(&self, output: usize) -> &[u8] {
        let len = self.bytes.len() / self.outputs;
        &self.bytes[output * len..(output + 1) * len]
    }

    /// The weights as floats, `[outputs, inputs]`.
    #[must_use]
    pub fn dequantize(&self) -> Vec<f32> {
        blocks::dequantize(self.of, &self.bytes)
    }

    /// The weights as bytes and scales, where they are just that: a scale for each 32 inputs of a row, and signed codes.
    /// `None` for a type that has more, or other codes.
    ///
    /// ```
    /// use gllm_quant::{BlockType, QTensor};
    /// // One scale of 0.5, then 32 bytes.
    /// let bytes: Vec<u8> = [0x00, 0x38].into_iter().chain(0..32).collect();
    /// let weight = QTensor::new(BlockType::Q8_0, [1, 32], bytes.into())?;
    /// let (codes, scales) = weight.int8_blocks().expect("a type of one scale");
    /// assert_eq!((&codes[..3], &scales[..]), (&[0, 1, 2][..], &[0.5][..]));
    /// # Ok::<(), gllm_core::Error>(())
    /// ```
    #[must_use]
    pub fn int8_blocks(&self) -> Option<(Vec<i8>, Vec<f32>)> {
        match self.of {
            BlockType::Q4_0 => Some(int8_blocks::<blocks::BlockQ4_0>(&self.bytes)),
            BlockType::Q5_0 => Some(int8_blocks::<blocks::BlockQ5_0>(&self.bytes)),
            BlockType::Q8_0 => Some(int8_blocks::<blocks::BlockQ8_0>(&self.bytes)),
            BlockType::IQ4_NL => Some(int8_blocks::<blocks::BlockIq4Nl>(&self.bytes)),
            _ => None,
        }
    }
}

/// The codes and scales of a type without minima and with one scale for a block of 32.
fn int8_blocks<B: IntegerBlock>(bytes: &[u8]) -> (Vec<i8>, Vec<f32>) {
    let blocks = blocks::blocks::<B>(bytes);
    let mut codes = vec![0; blocks.len() * B::SUB];
    for (block, codes) in blocks.iter().zip(codes.chunks_exact_mut(B::SUB)) {
        block.codes(codes);
    }
    let codes = codes.into_iter().map(|code| B::value(code) as i8).collect();
    (codes, blocks.iter().map(|block| block.d().to_f32()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_scales_say_the_same_as_floats() {
        let values: Vec<f32> = (0..256).map(|at| ((at * 37) % 101) as f32 / 50.0 - 1.0).collect();
        for of in BlockType::ALL {
            let Ok(bytes) = blocks::quantize(of, &values) else { continue };
            let weight = QTensor::new(of, [1, 256], bytes.into()).expect("whole blocks");
            let one_scale = [BlockType::Q4_0, BlockType::Q5_0, BlockType::Q8_0, BlockType::IQ4_NL].contains(&of);
            assert_eq!(weight.int8_blocks().is_some(), one_scale, "{of}");
            let Some((codes, scales)) = weight.int8_blocks() else { continue };
            let products = codes.iter().enumerate().map(|(at, code)| scales[at / 32] * f32::from(*code));
            assert_eq!(products.collect::<Vec<_>>(), weight.dequantize(), "{of}");
        }
    }
}
