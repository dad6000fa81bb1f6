//! Where each sequence lies in a packed activation.
//!
//! Activations are `[tokens, hidden]`: the tokens of all sequences of a batch, one after the other, with
//! no padding between them. Only what mixes the tokens of a sequence (attention, pooling) needs to know
//! the boundaries, and sees the activation as *blocks* of `[rows, len, hidden]`:
//! - on the CPU, one block for each run of neighbours of equal length: a reshape, no padding at all;
//! - elsewhere, one rectangle for the whole batch, padded to the longest sequence, because many small
//!   launches cost more than the padding.

use std::ops::Range;

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// Which tokens of each sequence are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wanted {
    /// Every one.
    All,
    /// The first: all that is read of a sequence whose first token stands for it.
    First,
    /// The last: that of one whose tokens see only those before them.
    Last,
}

impl Wanted {
    /// Those of a sequence of `len`.
    pub(crate) fn of(self, len: usize) -> Range<usize> {
        match self {
            Self::All => 0..len,
            Self::First => 0..len.min(1),
            Self::Last => len.saturating_sub(1)..len,
        }
    }
}

/// The boundaries of the sequences in a packed activation.
#[derive(Debug)]
pub struct Sequences {
    lengths: Vec<usize>,
    blocks: Vec<Block>,
}

/// Sequences that are computed together, as `[rows, len, hidden]`.
#[derive(Debug)]
pub(crate) struct Block {
    /// The block's rows of the packed activation.
    tokens: Range<usize>,
    /// Number of sequences.
    pub(crate) rows: usize,
    /// Tokens of the longest.
    pub(crate) len: usize,
    padding: Option<Padding>,
}

/// How a ragged block becomes a rectangle and back.
#[derive(Debug)]
struct Padding {
    /// `[rows * len]`: for each place of the rectangle its token; for padding, the sequence's last one.
    pad: Tensor<1, Int>,
    /// `[tokens]`: for each token its place in the rectangle.
    unpad: Tensor<1, Int>,
    /// `[rows, len]`: true where there is only padding.
    mask: Tensor<2, Bool>,
    /// `[rows, 1]`: tokens of each sequence.
    lengths: Tensor<2>,
}

impl Sequences {
    /// Boundaries of sequences of these lengths (each at least 1), for activations on `device`.
    ///
    /// # Panics
    /// If a length is 0: a sequence without tokens has no activation.
    #[must_use]
    pub fn new(lengths: Vec<usize>, device: &Device) -> Self {
        assert!(!lengths.contains(&0), "a sequence without tokens");
        let blocks = if crate::device::is_cpu(device) { runs(&lengths) } else { vec![rectangle(&lengths, device)] };
        Self { lengths, blocks }
    }

    /// Tokens of each sequence.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// The same for what is left of the sequences where only these tokens are kept.
    pub(crate) fn kept(self, wanted: Wanted, device: &Device) -> Self {
        match wanted {
            Wanted::All => self,
            Wanted::First | Wanted::Last => Self::new(vec![1; self.lengths.len()], device),
        }
    }

    /// The blocks, in the order of the tokens.
    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Applies `f` to each block of the packed activations and packs what it returns.
    ///
    /// # Shapes
    /// - `packed`: `N` activations `[tokens, hidden]`
    /// - `f`: the block's place among the blocks, and `N` times `[rows, len, hidden]` to `[rows, len, out]`
    /// - returns `[tokens, out]`
    pub(crate) fn map_blocks<const N: usize>(
        &self,
        packed: &[Tensor<2>; N],
        f: impl Fn(usize, &Block, [Tensor<3>; N]) -> Tensor<3>,
    ) -> Tensor<2> {
        let mapped = self.blocks.iter().enumerate();
        let mapped = mapped.map(|(at, block)| block.pack(f(at, block, packed.each_ref().map(|x| block.unpack(x)))));
        concatenate(mapped.collect())
    }

    /// Applies `f` to each block of the packed activation and stacks the rows that it returns.
    ///
    /// # Shapes
    /// - `packed`: `[tokens, hidden]`
    /// - `f`: `[rows, len, hidden]` to `[rows, out]`
    /// - returns `[sequences, out]`
    pub(crate) fn reduce_blocks(&self, packed: &Tensor<2>, f: impl Fn(&Block, Tensor<3>) -> Tensor<2>) -> Tensor<2> {
        concatenate(self.blocks.iter().map(|block| f(block, block.unpack(packed))).collect())
    }
}

fn concatenate(mut parts: Vec<Tensor<2>>) -> Tensor<2> {
    if parts.len() == 1 { parts.swap_remove(0) } else { Tensor::cat(parts, 0) }
}

impl Block {
    /// `[tokens, hidden]` of the whole batch to `[rows, len, hidden]` of this block.
    fn unpack(&self, packed: &Tensor<2>) -> Tensor<3> {
        let [tokens, hidden] = packed.dims();
        let block = match &self.padding {
            Some(padding) => packed.clone().select(0, padding.pad.clone()),
            None if self.tokens == (0..tokens) => packed.clone(),
            None => packed.clone().slice([self.tokens.clone(), 0..hidden]),
        };
        block.reshape([self.rows, self.len, hidden])
    }

    /// `[rows, len, hidden]` to `[tokens, hidden]` of this block.
    fn pack(&self, block: Tensor<3>) -> Tensor<2> {
        let [rows, len, hidden] = block.dims();
        let flat = block.reshape([rows * len, hidden]);
        match &self.padding {
            Some(padding) => flat.select(0, padding.unpad.clone()),
            None => flat,
        }
    }

    /// `[rows, len]`, true where there is only padding; `None` where there is none.
    pub(crate) fn padding_mask(&self) -> Option<Tensor<2, Bool>> {
        self.padding.as_ref().map(|padding| padding.mask.clone())
    }

    /// Divides each row of `[rows, hidden]` by `divisor` of its sequence's length.
    pub(crate) fn divide_by_length(&self, rows: Tensor<2>, divisor: impl Fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let lengths = match &self.padding {
            Some(padding) => padding.lengths.clone(),
            None => Tensor::full([1, 1], self.len as f32, &rows.device()),
        };
        rows / divisor(lengths)
    }
}

/// The last token of each sequence of a block: `[rows, len, hidden]` to `[rows, hidden]`.
pub(crate) fn last_tokens(block: Tensor<3>) -> Tensor<2> {
    // Padding repeats the last token, so the last place holds it in every row.
    let [rows, len, hidden] = block.dims();
    block.slice([0..rows, len - 1..len, 0..hidden]).reshape([rows, hidden])
}

/// One block for each run of equal lengths.
fn runs(lengths: &[usize]) -> Vec<Block> {
    let mut start = 0;
    let runs = lengths.chunk_by(|a, b| a == b).map(|run| {
        let tokens = start..start + run.len() * run[0];
        start = tokens.end;
        Block { tokens, rows: run.len(), len: run[0], padding: None }
    });
    runs.collect()
}

/// One block for all sequences, padded where the lengths differ.
fn rectangle(lengths: &[usize], device: &Device) -> Block {
    let (rows, len) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
    let tokens: usize = lengths.iter().sum();
    let mut block = Block { tokens: 0..tokens, rows, len, padding: None };
    if tokens == rows * len {
        return block;
    }
    let (mut pad, mut unpad, mut mask) = (Vec::new(), Vec::new(), Vec::new());
    let mut start = 0;
    for (row, &length) in lengths.iter().enumerate() {
        pad.extend((0..len).map(|place| (start + place.min(length - 1)) as i32));
        unpad.extend((0..length).map(|place| (row * len + place) as i32));
        mask.extend((0..len).map(|place| place >= length));
        start += length;
    }
    block.padding = Some(Padding {
        pad: Tensor::from_data(TensorData::new(pad, [rows * len]), device),
        unpad: Tensor::from_data(TensorData::new(unpad, [tokens]), device),
        mask: Tensor::from_data(TensorData::new(mask, [rows, len]), device),
        lengths: Tensor::from_data(TensorData::new(lengths.iter().map(|&l| l as f32).collect(), [rows, 1]), device),
    });
    block
}
