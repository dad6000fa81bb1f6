//! AWQ checkpoints, in the layout of AutoAWQ's GEMM kernels.
//!
//! Words run along the outputs, and the codes in them are interleaved for a GPU's half-precision pairs. Source:
//! `WQLinear_GEMM.from_linear` and `AwqConfig` of AutoAWQ 0.2.9, <https://github.com/casper-hansen/AutoAWQ>.

use gllm_core::Result;

use crate::group_quant::{GroupQuantized, GroupSize, Sizes};
use crate::json_fields::{Field, Fields};
use crate::packed_words::{transpose, unpack_rows_from};
use crate::{NamedTensor, WeightFiles, quantization_config};

const BITS: u32 = 4;
/// Where output `n` of eight starts: code `n` of a word is output `[0, 2, 4, 6, 1, 3, 5, 7][n]`.
const STARTS: [u32; 8] = [0, 16, 4, 20, 8, 24, 12, 28];

/// What a configuration says of a checkpoint that AutoAWQ made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwqConfig {
    /// Inputs of a group.
    pub group_size: GroupSize,
    /// Modules whose name contains one of these aren't quantised.
    pub modules_to_not_convert: Vec<String>,
}

impl AwqConfig {
    pub(crate) fn parse(fields: &Fields<'_>) -> Field<Self> {
        // AutoAWQ's own files have the second names, those that transformers reads the first.
        for name in ["bits", "w_bit"] {
            fields.bits(name, &[BITS])?;
        }
        for name in ["version", "format"] {
            if fields.string(name)?.is_some_and(|layout| !layout.eq_ignore_ascii_case("gemm")) {
                return Err(fields.unsupported(name, "gemm"));
            }
        }
        if fields.string("backend")?.is_some_and(|backend| backend == "llm-awq") {
            return Err(fields.unsupported("backend", "autoawq"));
        }
        // Without zeros AutoAWQ packs for Marlin only.
        if fields.boolean("zero_point")? == Some(false) {
            return Err(fields.unsupported("zero_point", "true"));
        }
        let group_size = match fields.group_size("group_size")? {
            Some(size) => size,
            None => fields.group_size("q_group_size")?.unwrap_or(GroupSize::Inputs(128)),
        };
        let excluded = fields.strings("modules_to_not_convert")?.unwrap_or_default();
        Ok(Self { group_size, modules_to_not_convert: excluded.into_iter().map(str::to_owned).collect() })
    }

    /// Whether the linear layer called `module` is quantised: those in numbered blocks are, unless a part of their
    /// name is listed.
    ///
    /// So it is in AutoAWQ, which replaces linear layers of blocks (`_load_quantized_modules`,
    /// `exclude_layers_to_not_quantize`). transformers' `AwqQuantizer` excludes the output embedding, the last module
    /// and tied ones, which are outside the blocks, and the listed ones by their start, their end or as a regular
    /// expression; on the lists that AutoAWQ writes, such as `visual` and `gate`, they agree but for names that a part
    /// is in the middle of.
    #[must_use]
    pub fn is_quantized(&self, module: &str) -> bool {
        quantization_config::is_in_a_block(module)
            && !self.modules_to_not_convert.iter().any(|part| module.contains(part))
    }
}

/// The weight of a linear layer as AutoAWQ stores it, checked; see [`AwqWeight::new`] for the shapes.
#[derive(Clone, Debug)]
pub struct AwqWeight {
    sizes: Sizes,
    qweight: Vec<u32>,
    qzeros: Vec<u32>,
    scales: Vec<f32>,
}

impl AwqWeight {
    /// Reads `module.qweight`, `module.qzeros` and `module.scales`; see [`AwqWeight::new`].
    pub fn load(files: &WeightFiles, config: &AwqConfig, module: &str, shape: [usize; 2]) -> Result<Self> {
        let tensor = |name: &str| NamedTensor::require(files, &format!("{module}.{name}"));
        Self::new(config, shape, &tensor("qweight")?, &tensor("qzeros")?, &tensor("scales")?)
    }

    /// The weight of a layer of the shape `[outputs, inputs]`.
    ///
    /// # Shapes
    /// - `qweight`: `[inputs, outputs / 8]`, I32
    /// - `qzeros`: `[groups, outputs / 8]`, I32
    /// - `scales`: `[groups, outputs]`, F16, BF16 or F32
    ///
    /// # Errors
    /// [`LoadError`](gllm_core::LoadError), if a tensor has another shape or type, outputs aren't a multiple of 8 or
    /// inputs not one of the group size.
    pub fn new(
        config: &AwqConfig,
        shape: [usize; 2],
        qweight: &NamedTensor,
        qzeros: &NamedTensor,
        scales: &NamedTensor,
    ) -> Result<Self> {
        let sizes = Sizes::new(shape, config.group_size, qweight)?;
        Sizes::whole_words(&[("outputs", sizes.outputs)], BITS, qweight)?;
        let words = sizes.outputs / STARTS.len();
        Ok(Self {
            sizes,
            qweight: qweight.words(&[sizes.inputs, words])?,
            qzeros: qzeros.words(&[sizes.groups(), words])?,
            scales: scales.floats(&[sizes.groups(), sizes.outputs])?,
        })
    }

    /// Codes, zeros and scales, a row for each output.
    #[must_use]
    pub fn unpack(self) -> GroupQuantized {
        let Sizes { outputs, inputs, group_size } = self.sizes;
        let rows_of_outputs = |words: &[u32]| transpose(&unpack_rows_from(words, outputs, STARTS), outputs);
        GroupQuantized {
            outputs,
            inputs,
            bits: BITS,
            group_size,
            codes: rows_of_outputs(&self.qweight),
            scales: transpose(&self.scales, outputs),
            zeros: rows_of_outputs(&self.qzeros),
            order: None,
        }
    }
}
