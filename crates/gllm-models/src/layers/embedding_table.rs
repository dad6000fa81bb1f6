//! An embedding table on the host.
//!
//! Tables are gathered on the host and only the gathered rows go to the device: a lookup reads a few
//! rows of what may be a gigabyte, more than some adapters bind in one buffer, and a mapped file needs
//! no memory for the rows that no text touches.

use gllm_quant::RawTensor;

/// `[rows, hidden]`, in the type of its file.
#[derive(Debug)]
pub(crate) struct EmbeddingTable {
    raw: RawTensor,
}

impl EmbeddingTable {
    /// `None` if the type is none that [`gllm_quant::DType::to_f32`] widens.
    pub(crate) fn new(raw: RawTensor) -> Option<Self> {
        raw.dtype.to_f32(&[])?;
        Some(Self { raw })
    }

    /// Adds row `row` to `sum` (`[hidden]`).
    ///
    /// # Panics
    /// If `row` is out of range: callers check ids against the vocabulary.
    pub(crate) fn add_row(&self, row: usize, sum: &mut [f32]) {
        let stride = self.raw.bytes.len() / self.raw.shape[0];
        let bytes = &self.raw.bytes[row * stride..(row + 1) * stride];
        self.raw.dtype.add_to(bytes, sum);
    }
}
