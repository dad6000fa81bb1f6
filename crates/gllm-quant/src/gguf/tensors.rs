//! Where a GGUF file's tensors are, of which type and shape.
//!
//! Invariant: a tensor's elements are whole rows of whole blocks that lie within the file, and no two tensors overlap.

use std::ops::Range;

use bytes::Bytes;
use safetensors::Dtype;

use super::cursor::Cursor;
use super::{Outcome, corrupt, unsupported};
use crate::named::Named;
use crate::{BlockType, DType};

/// The least that the description of a tensor takes: the name's length, one dimension and their number, type, offset.
pub(super) const MIN_INFO_BYTES: usize = 32;
const MAX_DIMENSIONS: usize = 4;
/// Types without blocks, with their numbers in a file.
const DENSE_TYPES: [(u32, DType); 8] = [
    (0, DType::F32),
    (1, DType::F16),
    (30, DType::BF16),
    (28, DType::Other(Dtype::F64)),
    (24, DType::Other(Dtype::I8)),
    (25, DType::Other(Dtype::I16)),
    (26, DType::Other(Dtype::I32)),
    (27, DType::Other(Dtype::I64)),
];
/// Names of types that are known and not read.
const OTHER_TYPES: [(u32, &str); 4] = [(4, "Q4_2"), (5, "Q4_3"), (40, "NVFP4"), (41, "Q1_0")];

/// A tensor's place in the file.
pub(super) struct Tensor {
    /// Outermost dimension first.
    shape: Vec<usize>,
    dtype: DType,
    /// From the start of the data, until the file's end is known to be behind it; then from the start of the file.
    extent: Range<usize>,
}

impl Tensor {
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its bytes in the file.
    pub(super) fn extent(&self) -> Range<usize> {
        self.extent.clone()
    }

    /// Its big-endian elements with their lowest byte first.
    pub(super) fn to_little_endian(&self, bytes: Bytes) -> Bytes {
        let size = element_bytes(self.dtype);
        if size == 1 {
            return bytes;
        }
        let mut copy = bytes.to_vec();
        copy.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        copy.into()
    }

    /// Reads what follows the name of a tensor.
    fn read(cursor: &mut Cursor<'_>, name: &str, alignment: usize) -> Outcome<Self> {
        let what = format_args!("the description of tensor `{name}`");
        let n_dims = cursor.u32(what)? as usize;
        if n_dims > MAX_DIMENSIONS {
            return Err(corrupt(format!("tensor `{name}` has {n_dims} dimensions, expected 1 to {MAX_DIMENSIONS}")));
        }
        let mut shape = cursor.reserve(n_dims)?;
        for _ in 0..n_dims {
            let dim = cursor.u64(what)?;
            shape.push(usize::try_from(dim).map_err(|_| corrupt(format!("tensor `{name}` has dimension {dim}")))?);
        }
        // A file has the innermost dimension first.
        shape.reverse();
        let dtype = read_dtype(cursor.u32(what)?, name)?;
        if let (DType::Block(of), true) = (dtype, cursor.is_big_endian()) {
            let supported = "blocks in little-endian files; in big-endian ones, floats and integers";
            return Err(unsupported(format!("big-endian tensor `{name}` of type"), of.to_string(), supported));
        }
        let bytes = tensor_bytes(&shape, dtype).map_err(|reason| corrupt(format!("tensor `{name}` {reason}")))?;
        let offset = cursor.u64(what)?;
        if !offset.is_multiple_of(alignment as u64) {
            return Err(corrupt(format!("tensor `{name}` is at offset {offset}, no multiple of {alignment}")));
        }
        let start = usize::try_from(offset).ok();
        let end = start.and_then(|start| start.checked_add(bytes));
        let extent = start.zip(end).map(|(start, end)| start..end);
        let extent = extent.ok_or_else(|| corrupt(format!("tensor `{name}` is at offset {offset}: too far away")))?;
        Ok(Self { shape, dtype, extent })
    }
}

/// Reads the descriptions of `count` tensors, and finds where they are.
pub(super) fn read(cursor: &mut Cursor<'_>, count: usize, alignment: usize) -> Outcome<Named<Tensor>> {
    let mut tensors = cursor.named(count, "tensor", |cursor, name| Tensor::read(cursor, name, alignment))?;
    // From here on, all places are in the file or refused.
    let start = cursor.at().checked_next_multiple_of(alignment);
    for (name, Tensor { extent, .. }) in tensors.values_mut() {
        let place = start.and_then(|at| Some(at.checked_add(extent.start)?..at.checked_add(extent.end)?));
        *extent =
            place.ok_or_else(|| corrupt(format!("tensor `{name}` is at offset {}: too far away", extent.start)))?;
    }
    lie_in_file(&tensors, cursor.file_len())?;
    dont_overlap(cursor, &tensors)?;
    Ok(tensors)
}

fn lie_in_file(tensors: &Named<Tensor>, file_len: usize) -> Outcome<()> {
    let last = tensors.iter().max_by_key(|(_, tensor)| tensor.extent.end);
    match last.filter(|(_, tensor)| tensor.extent.end > file_len) {
        Some((name, Tensor { extent, .. })) => {
            let missing = extent.end - file_len;
            let end = extent.end;
            Err(corrupt(format!(
                "tensor `{name}` ends at byte {end}, the file at byte {file_len}: {missing} bytes are missing"
            )))
        }
        None => Ok(()),
    }
}

fn dont_overlap(cursor: &mut Cursor<'_>, tensors: &Named<Tensor>) -> Outcome<()> {
    let mut extents = cursor.reserve(tensors.iter().len())?;
    extents.extend(tensors.iter().map(|(name, tensor)| (tensor.extent.start, tensor.extent.end, name)));
    extents.sort_unstable();
    match extents.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(corrupt(format!("tensors `{}` and `{}` overlap", pair[0].2, pair[1].2))),
        None => Ok(()),
    }
}

fn read_dtype(number: u32, name: &str) -> Outcome<DType> {
    let dense = DENSE_TYPES.iter().find(|(dense, _)| *dense == number).map(|(_, dtype)| *dtype);
    let dtype = dense.or_else(|| BlockType::from_ggml(number).map(DType::Block));
    dtype.ok_or_else(|| unknown_type(number, name))
}

/// The number of a type in files, if it has one.
pub(super) fn type_number(dtype: DType) -> Option<u32> {
    match dtype {
        DType::Block(of) => Some(of.ggml()),
        dense => DENSE_TYPES.iter().find(|(_, dtype)| *dtype == dense).map(|(number, _)| *number),
    }
}

fn unknown_type(number: u32, name: &str) -> super::LoadProblem {
    let known = OTHER_TYPES.iter().find(|(other, _)| *other == number).map(|(_, known)| format!(" ({known})"));
    let found = format!("{number}{}", known.unwrap_or_default());
    unsupported(format!("tensor `{name}` of type"), found, &type_names())
}

/// Every type that tensors may have.
pub(super) fn type_names() -> String {
    let dense = DENSE_TYPES.iter().map(|(_, dtype)| *dtype);
    let names: Vec<_> = dense.chain(BlockType::ALL.map(DType::Block)).map(|dtype| dtype.to_string()).collect();
    names.join(", ")
}

/// Bytes of an element of a dense type; of block types there is no such thing.
fn element_bytes(dtype: DType) -> usize {
    match dtype {
        DType::F32 => 4,
        DType::F16 | DType::BF16 => 2,
        DType::Other(dtype) => dtype.bitsize() / 8,
        DType::Block(_) => 1,
    }
}

/// Bytes of a tensor, or what is wrong with its shape.
pub(super) fn tensor_bytes(shape: &[usize], dtype: DType) -> Result<usize, String> {
    let (block_len, block_bytes) = match dtype {
        DType::Block(of) => (of.block_len(), of.block_bytes()),
        dense => (1, element_bytes(dense)),
    };
    let Some(row) = shape.last().filter(|_| shape.len() <= MAX_DIMENSIONS) else {
        return Err(format!("has {} dimensions, expected 1 to {MAX_DIMENSIONS}", shape.len()));
    };
    if shape.contains(&0) {
        return Err(format!("has shape {shape:?}: nothing is in it"));
    }
    if !row.is_multiple_of(block_len) {
        return Err(format!("has rows of {row} elements, no whole blocks of {dtype}"));
    }
    let elements = shape.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
    let bytes = elements.and_then(|elements| (elements / block_len).checked_mul(block_bytes));
    let bytes = bytes.filter(|bytes| isize::try_from(*bytes).is_ok());
    bytes.ok_or_else(|| format!("has shape {shape:?}: more than any file holds"))
}
