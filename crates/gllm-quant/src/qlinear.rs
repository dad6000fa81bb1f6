//! A linear layer on packed weights.

use std::fmt;

use crate::blocks::IntegerBlock;
use crate::kernels::Isa;
use crate::matmul::{FormatKind, PackedMatrix, RowCodes, multiply};
use crate::{BlockType, QTensor};

/// `y = x · Wᵀ + b`, with `W` as small as its file has it.
///
/// Activations are quantised on the fly: 8 bits, with a scale for each 32 of a row. The result for a row is the same,
/// bit for bit, whatever rows stand beside it, on any number of threads and on any processor.
#[derive(Clone)]
pub struct QLinear {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
    isa: Isa,
}

// Derived, it would print the weights.
impl fmt::Debug for QLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.weight.kind();
        write!(f, "QLinear({kind:?} [{}, {}], {:?})", self.outputs(), self.inputs(), self.isa)
    }
}

impl QLinear {
    /// Packs `weight` for the kernels of this machine, which copies it once; `bias` is `[outputs]`. `None` for a block
    /// type without a kernel: dequantise that one.
    ///
    /// ```
    /// use gllm_quant::{BlockType, QLinear, QTensor, blocks};
    /// let weight = blocks::quantize(BlockType::Q8_0, &[0.5; 2 * 32]).expect("a type that can be made");
    /// let weight = QTensor::new(BlockType::Q8_0, [2, 32], weight.into())?;
    /// let layer = QLinear::new(&weight, Some(vec![0.0, 1.0])).expect("a type with a kernel");
    /// let y = layer.forward(&[1.0; 32]);
    /// assert!((y[0] - 16.0).abs() < 0.1 && (y[1] - 17.0).abs() < 0.1);
    /// # Ok::<(), gllm_core::Error>(())
    /// ```
    ///
    /// # Panics
    /// If `bias` isn't as long as there are outputs.
    #[must_use]
    pub fn new(weight: &QTensor, bias: Option<Vec<f32>>) -> Option<Self> {
        let [outputs, _] = weight.shape();
        assert!(bias.as_ref().is_none_or(|bias| bias.len() == outputs), "a bias for each of {outputs} outputs");
        let weight = pack(weight)?;
        Some(Self { weight, bias, isa: Isa::detect() })
    }

    /// Length of a row of results.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.weight.outputs()
    }

    /// Length of a row of activations.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.weight.inputs()
    }

    /// Memory that the weights take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.weight.bytes()
    }

    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - returns `[rows, outputs]`
    ///
    /// # Panics
    /// If `x` isn't whole rows.
    #[must_use]
    pub fn forward(&self, x: &[f32]) -> Vec<f32> {
        assert!(x.len().is_multiple_of(self.inputs()), "{} activations in rows of {}", x.len(), self.inputs());
        let mut y = vec![0.0; x.len() / self.inputs() * self.outputs()];
        multiply(self.isa, &self.weight, x, self.bias.as_deref(), &mut y);
        y
    }
}

/// The format of a type's codes, and the packed matrix; `None` for a type without a kernel.
fn pack(weight: &QTensor) -> Option<PackedMatrix> {
    use crate::blocks as b;

    Some(match weight.block_type() {
        BlockType::Q4_0 => pack_as::<b::BlockQ4_0>(FormatKind::Int4, weight),
        BlockType::Q4_1 => pack_as::<b::BlockQ4_1>(FormatKind::Int4Min, weight),
        BlockType::Q5_0 => pack_as::<b::BlockQ5_0>(FormatKind::Int5, weight),
        BlockType::Q5_1 => pack_as::<b::BlockQ5_1>(FormatKind::Int5Min, weight),
        BlockType::Q8_0 => pack_as::<b::BlockQ8_0>(FormatKind::Int8, weight),
        BlockType::Q2_K => pack_as::<b::BlockQ2K>(FormatKind::K2, weight),
        BlockType::Q3_K => pack_as::<b::BlockQ3K>(FormatKind::K3, weight),
        BlockType::Q4_K => pack_as::<b::BlockQ4K>(FormatKind::K4, weight),
        BlockType::Q5_K => pack_as::<b::BlockQ5K>(FormatKind::K5, weight),
        BlockType::Q6_K => pack_as::<b::BlockQ6K>(FormatKind::K6, weight),
        BlockType::IQ4_NL => pack_as::<b::BlockIq4Nl>(FormatKind::Table4, weight),
        BlockType::IQ4_XS => pack_as::<b::BlockIq4Xs>(FormatKind::TableK4, weight),
        BlockType::TQ1_0 => pack_as::<b::BlockTq1_0>(FormatKind::Ternary, weight),
        BlockType::TQ2_0 => pack_as::<b::BlockTq2_0>(FormatKind::Ternary, weight),
        _ => return None,
    })
}

fn pack_as<B: IntegerBlock>(kind: FormatKind, weight: &QTensor) -> PackedMatrix {
    let row = |output| RowCodes::from_blocks::<B>(weight.row(output));
    PackedMatrix::new(kind, weight.shape(), B::TYPE.block_len(), row)
}
