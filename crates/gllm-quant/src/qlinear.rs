//! A linear layer on packed weights.

use std::borrow::Cow;
use std::fmt;

use half::f16;

use crate::blocks::IntegerBlock;
use crate::kernels::Isa;
use crate::matmul::{BLOCK, Factor, FormatKind, PackedMatrix, RowCodes, multiply, multiply_through};
use crate::{BlockType, GroupQuantized, QTensor};

/// `y = x · Wᵀ + b`, with `W` in codes of as many bits as its file has, for outputs in sixteens.
///
/// Activations are quantised on the fly: 8 bits, with a scale for each 32 of a row; 15 bits for weights of 8. The result
/// for a row is the same, bit for bit, whatever rows stand beside it, on any number of threads and on any processor.
#[derive(Clone)]
pub struct QLinear {
    weight: PackedMatrix,
    bias: Option<Vec<f32>>,
    /// Which input each column of the weight belongs to, where they aren't in the order of the inputs.
    order: Option<Vec<u32>>,
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
        Some(Self::from_packed(pack(weight)?, None, bias))
    }

    /// As [`QLinear::new`], for weights that are quantised by groups. `None` if a group isn't a multiple of 32, or a
    /// scale has no place in half precision: dequantise those.
    ///
    /// # Panics
    /// If `bias` isn't as long as there are outputs, or `weight` isn't consistent as [`GroupQuantized`] says.
    #[must_use]
    pub fn from_groups(weight: &GroupQuantized, bias: Option<Vec<f32>>) -> Option<Self> {
        Some(Self::from_packed(pack_groups(weight)?, weight.order.clone(), bias))
    }

    fn from_packed(weight: PackedMatrix, order: Option<Vec<u32>>, bias: Option<Vec<f32>>) -> Self {
        let outputs = weight.outputs();
        assert!(bias.as_ref().is_none_or(|bias| bias.len() == outputs), "a bias for each of {outputs} outputs");
        Self { weight, bias, order, isa: Isa::detect() }
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
        Self::forward_together(&[self], x, Vec::new())
    }

    /// The products of several layers with the same activations, which are computed at once.
    ///
    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - returns `[rows, outputs of all layers]`, in a row those of the first layer first, in the memory of `y`
    ///
    /// # Panics
    /// If `x` isn't whole rows, or the layers differ in their inputs.
    #[must_use]
    pub fn forward_together(layers: &[&Self], x: &[f32], y: Vec<f32>) -> Vec<f32> {
        let Some(first) = layers.first() else { return Vec::new() };
        let (inputs, outputs) = (first.inputs(), layers.iter().map(|layer| layer.outputs()).sum::<usize>());
        assert!(layers.iter().all(|layer| layer.inputs() == inputs), "layers of other than {inputs} inputs");
        assert!(x.len().is_multiple_of(inputs), "{} activations in rows of {inputs}", x.len());
        if layers.iter().any(|layer| layer.order != first.order) {
            return side_by_side(layers, x, outputs);
        }
        let x = &first.sorted(x);
        let factors = layers.iter().map(|layer| layer.factor());
        multiply(first.isa, &factors.collect::<Vec<_>>(), x, y)
    }

    /// `down(combine(gate(x), up(x)))`, the feed-forward block of a decoder: what is between is never written as floats.
    /// `combine` changes a run of one layer's outputs by as many of the other's.
    ///
    /// # Shapes
    /// - `x`: `[rows, inputs]`
    /// - returns `[rows, outputs of down]`, in the memory of `y`
    ///
    /// # Panics
    /// If `x` isn't whole rows, or the layers don't fit together.
    #[must_use]
    pub fn forward_through(
        [gate, up]: [&Self; 2],
        down: &Self,
        x: &[f32],
        combine: &(dyn Fn(&mut [f32], &[f32]) + Sync),
        y: Vec<f32>,
    ) -> Vec<f32> {
        let (inputs, width) = (gate.inputs(), down.inputs());
        assert!(up.inputs() == inputs && [gate, up].map(Self::outputs) == [width; 2], "layers of different sizes");
        assert!(x.len().is_multiple_of(inputs), "{} activations in rows of {inputs}", x.len());
        let layers = [gate, up, down];
        let fit = gate.order == up.order && down.order.is_none();
        if fit && x.len() >= MANY * inputs {
            return multiply_through(gate.isa, layers.map(Self::factor), &gate.sorted(x), combine, y);
        }
        let mut both = Self::forward_together(&[gate, up], x, Vec::new());
        let between = both.chunks_exact_mut(2 * width).flat_map(|row| {
            let (gate, up) = row.split_at_mut(width);
            combine(gate, up);
            &*gate
        });
        let between: Vec<f32> = between.copied().collect();
        Self::forward_together(&[down], &between, y)
    }

    fn factor(&self) -> Factor<'_> {
        Factor { matrix: &self.weight, bias: self.bias.as_deref() }
    }

    /// `x` in the order of the weights.
    fn sorted<'x>(&self, x: &'x [f32]) -> Cow<'x, [f32]> {
        match &self.order {
            Some(order) => {
                x.chunks_exact(self.inputs()).flat_map(|row| order.iter().map(|i| row[*i as usize])).collect()
            }
            None => Cow::Borrowed(x),
        }
    }
}

/// Rows from which on writing what is between two layers costs; for fewer, reading the weights is what takes the time,
/// which goes best through one matrix after the other.
const MANY: usize = 16;

/// The products of layers whose inputs are in different orders.
fn side_by_side(layers: &[&QLinear], x: &[f32], outputs: usize) -> Vec<f32> {
    let mut y = vec![0.0; x.len() / layers[0].inputs() * outputs];
    let mut first = 0;
    for layer in layers {
        let columns = first..first + layer.outputs();
        let of_layer = layer.forward(x);
        for (row, of_layer) in y.chunks_exact_mut(outputs).zip(of_layer.chunks_exact(columns.len())) {
            row[columns.clone()].copy_from_slice(of_layer);
        }
        first = columns.end;
    }
    y
}

/// `None` for a type without a kernel.
fn pack(weight: &QTensor) -> Option<PackedMatrix> {
    use crate::blocks as b;

    match weight.block_type() {
        BlockType::Q4_0 => pack_as::<b::BlockQ4_0>(weight),
        BlockType::Q4_1 => pack_as::<b::BlockQ4_1>(weight),
        BlockType::Q5_0 => pack_as::<b::BlockQ5_0>(weight),
        BlockType::Q5_1 => pack_as::<b::BlockQ5_1>(weight),
        BlockType::Q8_0 => pack_as::<b::BlockQ8_0>(weight),
        BlockType::Q2_K => pack_as::<b::BlockQ2K>(weight),
        BlockType::Q3_K => pack_as::<b::BlockQ3K>(weight),
        BlockType::Q4_K => pack_as::<b::BlockQ4K>(weight),
        BlockType::Q5_K => pack_as::<b::BlockQ5K>(weight),
        BlockType::Q6_K => pack_as::<b::BlockQ6K>(weight),
        BlockType::IQ4_NL => pack_as::<b::BlockIq4Nl>(weight),
        BlockType::IQ4_XS => pack_as::<b::BlockIq4Xs>(weight),
        BlockType::TQ1_0 => pack_as::<b::BlockTq1_0>(weight),
        BlockType::TQ2_0 => pack_as::<b::BlockTq2_0>(weight),
        _ => None,
    }
}

fn pack_as<B: IntegerBlock>(weight: &QTensor) -> Option<PackedMatrix> {
    let row = |output| RowCodes::from_blocks::<B>(weight.row(output));
    Some(PackedMatrix::new(FormatKind::of::<B>()?, weight.shape(), B::TYPE.block_len(), row))
}

/// `None` if the groups have no packed form.
fn pack_groups(weight: &GroupQuantized) -> Option<PackedMatrix> {
    let GroupQuantized { outputs, inputs, bits, group_size, .. } = *weight;
    let (kind, lowest) = match bits {
        4 => (FormatKind::Group4, 0),
        8 => (FormatKind::Group8, 128),
        _ => return None,
    };
    // In the normal range of f16 a scale loses at most 1 in 2048, less than the activations lose.
    let fits = |scale: f32| scale == 0.0 || f16::from_f32(scale).is_normal();
    if !group_size.is_multiple_of(BLOCK) || !weight.scales.iter().copied().all(fits) {
        return None;
    }
    let groups = weight.groups();
    let row = |output: usize| {
        let of_row = output * groups..(output + 1) * groups;
        let d: Vec<f16> = weight.scales[of_row.clone()].iter().copied().map(f16::from_f32).collect();
        // Below 128, or the difference of two bytes to 128.
        let min = |zero: &u8| zero.wrapping_sub(lowest).cast_signed();
        let mins = weight.zeros[of_row].iter().flat_map(|zero| std::iter::repeat_n(min(zero), group_size / BLOCK));
        RowCodes {
            codes: weight.codes[output * inputs..(output + 1) * inputs].to_vec(),
            dmin: d.clone(),
            d,
            scales: Vec::new(),
            mins: mins.collect(),
        }
    };
    Some(PackedMatrix::new(kind, [outputs, inputs], group_size, row))
}
