//! What layers quantised by groups come down to, whatever their checkpoint's format.
//!
//! AWQ, GPTQ and compressed-tensors all keep small unsigned integers, and for each output and group of inputs a scale
//! and a zero; they differ in how these are packed. Here nothing is packed: this is what a layer passes through on its
//! way from the file to the form that it is computed with.

use gllm_core::{LoadProblem, Result};
use rayon::prelude::*;
use safetensors::Dtype;

use crate::NamedTensor;

/// The weight of a linear layer as `[outputs, inputs]` codes: `w = scale · (code - zero)`.
///
/// A group is `group_size` neighbouring codes of an output, and `inputs` is a multiple of it. What
/// [`QuantizationConfig::weight`](crate::QuantizationConfig::weight) makes is consistent: every length is as said here,
/// codes and zeros are below `2^bits`, and `order` has each input once.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupQuantized {
    /// Rows.
    pub outputs: usize,
    /// Columns.
    pub inputs: usize,
    /// 4 or 8.
    pub bits: u32,
    /// Inputs that share a scale and a zero.
    pub group_size: usize,
    /// `[outputs, inputs]`, a byte each.
    pub codes: Vec<u8>,
    /// `[outputs, inputs / group_size]`; F16, BF16 or F32 in the file, of which each is exact here.
    pub scales: Vec<f32>,
    /// `[outputs, inputs / group_size]`: the codes that stand for 0.
    pub zeros: Vec<u8>,
    /// Where the groups' inputs aren't neighbours in the layer: code `i` of an output belongs to the layer's input
    /// `order[i]`.
    pub order: Option<Vec<u32>>,
}

impl GroupQuantized {
    /// Groups of an output.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.inputs / self.group_size
    }

    /// `[outputs, inputs]`, with the inputs in the layer's own order.
    ///
    /// # Panics
    /// If this isn't consistent: groups of nothing, or an `order` that isn't one of its inputs.
    #[must_use]
    pub fn dequantize(&self) -> Vec<f32> {
        let mut weights = vec![0.0; self.codes.len()];
        let codes = self.codes.par_chunks_exact(self.group_size);
        let groups = codes.zip(self.scales.par_iter().zip(&self.zeros)).with_min_len(self.groups());
        weights.par_chunks_exact_mut(self.group_size).zip(groups).for_each(|(weights, (codes, (scale, zero)))| {
            for (weight, code) in weights.iter_mut().zip(codes) {
                *weight = scale * f32::from(i16::from(*code) - i16::from(*zero));
            }
        });
        if let Some(order) = &self.order {
            weights.par_chunks_exact_mut(self.inputs).for_each_init(Vec::new, |sorted, weights| {
                sorted.clear();
                sorted.extend_from_slice(weights);
                for (weight, input) in sorted.iter().zip(order) {
                    weights[*input as usize] = *weight;
                }
            });
        }
        weights
    }
}

/// How many inputs share a scale and a zero, as a configuration says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupSize {
    /// So many neighbours, or with GPTQ's `desc_act` so many of the same importance.
    Inputs(usize),
    /// All of a layer's, which configurations write as -1.
    WholeRow,
}

/// The sizes of a layer, which agree with each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) outputs: usize,
    pub(crate) inputs: usize,
    pub(crate) group_size: usize,
}

impl Sizes {
    /// `weight` is the tensor to blame.
    pub(crate) fn new([outputs, inputs]: [usize; 2], group_size: GroupSize, weight: &NamedTensor) -> Result<Self> {
        let group_size = match group_size {
            GroupSize::Inputs(size) => size,
            GroupSize::WholeRow => inputs,
        };
        let problem = |field: &str, expected: String, found: usize| {
            weight.error(LoadProblem::Field { field: field.into(), expected, found: found.to_string() })
        };
        if outputs == 0 || inputs == 0 {
            let field = format!("width of `{}`", weight.name);
            return Err(problem(&field, "at least 1".into(), 0));
        }
        if group_size == 0 || !inputs.is_multiple_of(group_size) {
            let expected = format!("a divisor of {inputs}, the inputs of `{}`", weight.name);
            return Err(problem("quantization_config.group_size", expected, group_size));
        }
        Ok(Self { outputs, inputs, group_size })
    }

    /// Groups of an output.
    pub(crate) fn groups(self) -> usize {
        self.inputs / self.group_size
    }

    /// Fails if a width that is packed along doesn't fill its words.
    pub(crate) fn whole_words(widths: &[(&str, usize)], bits: u32, weight: &NamedTensor) -> Result<()> {
        let codes = 32 / bits as usize;
        match widths.iter().find(|(_, width)| !width.is_multiple_of(codes)) {
            None => Ok(()),
            Some((side, width)) => Err(weight.error(LoadProblem::Field {
                field: format!("{side} of `{}`", weight.name),
                expected: format!("a multiple of {codes}, the codes in a word"),
                found: width.to_string(),
            })),
        }
    }
}

/// The inputs sorted by the groups that `g_idx` says they are in; `None` if they lie so already.
pub(crate) fn order_of_groups(g_idx: &NamedTensor, sizes: Sizes) -> Result<Option<Vec<u32>>> {
    let groups = g_idx.integers(&[sizes.inputs], Dtype::I32, i32::from_le_bytes)?;
    let field =
        |field: String, expected: String, found: String| g_idx.error(LoadProblem::Field { field, expected, found });
    let mut members = vec![0_usize; sizes.groups()];
    for (input, group) in groups.iter().enumerate() {
        let place = usize::try_from(*group).ok().and_then(|group| members.get_mut(group));
        *place.ok_or_else(|| {
            field(format!("{}[{input}]", g_idx.name), format!("0 to {}", sizes.groups() - 1), group.to_string())
        })? += 1;
    }
    if let Some((group, found)) = members.into_iter().enumerate().find(|(_, found)| *found != sizes.group_size) {
        let expected = format!("{} inputs, the group size", sizes.group_size);
        return Err(field(format!("group {group} of {}", g_idx.name), expected, found.to_string()));
    }
    if groups.is_sorted() {
        return Ok(None);
    }
    let too_many = || field(g_idx.name.clone(), "fewer inputs".into(), sizes.inputs.to_string());
    let mut order: Vec<u32> = (0..u32::try_from(sizes.inputs).map_err(|_| too_many())?).collect();
    order.sort_by_key(|input| groups[*input as usize]);
    Ok(Some(order))
}

/// Puts the codes of each output into this order.
pub(crate) fn sort_inputs(codes: &mut [u8], order: &[u32]) {
    codes.par_chunks_exact_mut(order.len()).for_each_init(Vec::new, |unsorted, codes| {
        unsorted.clear();
        unsorted.extend_from_slice(codes);
        for (code, input) in codes.iter_mut().zip(order) {
            *code = unsorted[*input as usize];
        }
    });
}
