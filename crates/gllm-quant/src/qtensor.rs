//! A quantised matrix as it lies in its file: blocks, row after row.

use std::fmt;

use bytes::Bytes;
use gllm_core::{InvalidConfig, Result};

use crate::{BlockType, blocks};

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
            let expected = format!("those of [{outputs}, {inputs}] in {of}: {expected:?}");
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
}
