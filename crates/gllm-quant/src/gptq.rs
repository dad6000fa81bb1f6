//! GPTQ checkpoints: the formats `gptq` and `gptq_v2`, with 4 and 8 bits.
//!
//! Words run along the inputs, those of zeros along the outputs. With `desc_act`, the columns of a layer were quantised
//! in the order of their importance, and `g_idx` says which group each came to be in. Sources: `QuantLinear.pack` of
//! AutoGPTQ 0.7.1, <https://github.com/AutoGPTQ/AutoGPTQ>, and for `gptq_v2` and the way between the two GPTQModel
//! 7.7.0, <https://github.com/ModelCloud/GPTQModel>.

use gllm_core::Result;

use crate::group_quant::{GroupQuantized, GroupSize, Sizes, order_of_groups, sort_inputs};
use crate::json_fields::{Field, Fields};
use crate::packed_words::{transpose, unpack_rows};
use crate::{NamedTensor, WeightFiles, quantization_config};

/// What a configuration says of a GPTQ checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GptqConfig {
    /// 4 or 8.
    pub bits: u32,
    /// Inputs of a group.
    pub group_size: GroupSize,
    /// Whether columns were quantised in another order, so that a layer must have `g_idx`.
    pub desc_act: bool,
    /// How zeros are stored.
    pub format: GptqFormat,
    /// Whether the language model's head is quantised too.
    pub lm_head: bool,
    /// The modules of a block that are quantised; all of its linear layers, if this is empty.
    pub modules_in_block_to_quantize: Vec<String>,
}

/// How zeros are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GptqFormat {
    /// Each one lower than it is.
    V1,
    /// As they are.
    V2,
}

impl GptqConfig {
    pub(crate) fn parse(fields: &Fields<'_>) -> Field<Self> {
        let mut format = GptqFormat::V1;
        for name in ["format", "checkpoint_format"] {
            match fields.string(name)? {
                None => {}
                Some("gptq") => format = GptqFormat::V1,
                Some("gptq_v2") => format = GptqFormat::V2,
                Some(_) => return Err(fields.unsupported(name, "gptq, gptq_v2")),
            }
        }
        if fields.string("pack_dtype")?.is_some_and(|dtype| dtype != "int32") {
            return Err(fields.unsupported("pack_dtype", "int32"));
        }
        let others = ["is_marlin_format", "awq_gemm_checkpoint", "dynamic", "adapter", "rotation"];
        if let Some(name) = others.into_iter().find(|name| fields.is_set(name)) {
            return Err(fields.unsupported(name, "layers that are all packed alike, as AutoGPTQ does"));
        }
        Ok(Self {
            bits: fields.bits("bits", &[4, 8])?.ok_or_else(|| fields.bad("bits", "4 or 8"))?,
            group_size: fields
                .group_size("group_size")?
                .ok_or_else(|| fields.bad("group_size", "at least 1, or -1 for the whole row"))?,
            desc_act: fields.boolean("desc_act")?.unwrap_or(false),
            format,
            lm_head: fields.boolean("lm_head")?.unwrap_or(false),
            modules_in_block_to_quantize: fields.lists_of_strings("modules_in_block_to_quantize")?.unwrap_or_default(),
        })
    }

    /// Whether the linear layer called `module` is quantised: those in numbered blocks are, or the ones of them that
    /// are listed, and the language model's head where the configuration says so.
    ///
    /// Sources: optimum's `GPTQQuantizer.convert_model`, and `lm_head` of GPTQModel's configuration.
    #[must_use]
    pub fn is_quantized(&self, module: &str) -> bool {
        let listed = &self.modules_in_block_to_quantize;
        if quantization_config::is_in_a_block(module) {
            listed.is_empty() || listed.iter().any(|name| module.ends_with(name))
        } else {
            self.lm_head && module.rsplit('.').next() == Some("lm_head")
        }
    }
}

/// The weight of a linear layer as GPTQ checkpoints store it, checked; see [`GptqWeight::new`] for the shapes.
#[derive(Clone, Debug)]
pub struct GptqWeight {
    sizes: Sizes,
    bits: u32,
    format: GptqFormat,
    qweight: Vec<u32>,
    qzeros: Vec<u32>,
    scales: Vec<f32>,
    order: Option<Vec<u32>>,
}

impl GptqWeight {
    /// Reads `module.qweight`, `module.qzeros`, `module.scales` and, where it is there, `module.g_idx`; see
    /// [`GptqWeight::new`].
    pub fn load(files: &WeightFiles, config: &GptqConfig, module: &str, shape: [usize; 2]) -> Result<Self> {
        let tensor = |name: &str| NamedTensor::require(files, &format!("{module}.{name}"));
        let g_idx = NamedTensor::find(files, &format!("{module}.g_idx"));
        let g_idx = if config.desc_act && g_idx.is_none() { Some(tensor("g_idx")?) } else { g_idx };
        Self::new(config, shape, &tensor("qweight")?, &tensor("qzeros")?, &tensor("scales")?, g_idx.as_ref())
    }

    /// The weight of a layer of the shape `[outputs, inputs]`; without `g_idx`, groups are of neighbouring inputs.
    ///
    /// # Shapes
    /// With 8 codes of 4 bits or 4 of 8 in a word:
    /// - `qweight`: `[inputs / codes, outputs]`, I32
    /// - `qzeros`: `[groups, outputs / codes]`, I32
    /// - `scales`: `[groups, outputs]`, F16, BF16 or F32
    /// - `g_idx`: `[inputs]`, I32
    ///
    /// # Errors
    /// [`LoadError`](gllm_core::LoadError), if a tensor has another shape or type, outputs or inputs don't fill their
    /// words, inputs aren't a multiple of the group size, or `g_idx` doesn't make groups of that size.
    pub fn new(
        config: &GptqConfig,
        shape: [usize; 2],
        qweight: &NamedTensor,
        qzeros: &NamedTensor,
        scales: &NamedTensor,
        g_idx: Option<&NamedTensor>,
    ) -> Result<Self> {
        let sizes = Sizes::new(shape, config.group_size, qweight)?;
        Sizes::whole_words(&[("outputs", sizes.outputs), ("inputs", sizes.inputs)], config.bits, qweight)?;
        let codes = 32 / config.bits as usize;
        Ok(Self {
            sizes,
            bits: config.bits,
            format: config.format,
            qweight: qweight.words(&[sizes.inputs / codes, sizes.outputs])?,
            qzeros: qzeros.words(&[sizes.groups(), sizes.outputs / codes])?,
            scales: scales.floats(&[sizes.groups(), sizes.outputs])?,
            order: g_idx.map(|g_idx| order_of_groups(g_idx, sizes)).transpose()?.flatten(),
        })
    }

    /// Codes, zeros and scales, a row for each output.
    #[must_use]
    pub fn unpack(self) -> GroupQuantized {
        let Sizes { outputs, inputs, group_size } = self.sizes;
        let mut codes = unpack_rows(&transpose(&self.qweight, outputs), inputs, self.bits);
        if let Some(order) = &self.order {
            sort_inputs(&mut codes, order);
        }
        // As GPTQModel goes from one format to the other: words are added, so a carry undoes the borrow that a zero
        // of 0 made. Where no zero is 0, it is the same as adding 1 to each.
        let lower = match self.format {
            GptqFormat::V1 => u32::MAX / ((1 << self.bits) - 1),
            GptqFormat::V2 => 0,
        };
        let qzeros: Vec<u32> = self.qzeros.into_iter().map(|word| word.wrapping_add(lower)).collect();
        GroupQuantized {
            outputs,
            inputs,
            bits: self.bits,
            group_size,
            codes,
            scales: transpose(&self.scales, outputs),
            zeros: transpose(&unpack_rows(&qzeros, outputs, self.bits), outputs),
            order: self.order,
        }
    }
}
