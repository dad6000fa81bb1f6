//! Checkpoints in the format compressed-tensors, as llm-compressor writes them.
//!
//! A configuration has groups of layers, each with a scheme. Codes are signed there, with zeros that are too; both are
//! shifted here, so that they aren't. Source: compressed-tensors 0.20.0, `PackedQuantizationCompressor`,
//! `IntQuantizationCompressor` and `utils/match.py`, <https://github.com/vllm-project/compressed-tensors>; for groups
//! ordered by activations, which that version no longer has, 0.12.2.

use gllm_core::{LoadProblem, Result};
use regex::{Regex, RegexBuilder};
use safetensors::Dtype;
use serde_json::Value;

use crate::group_quant::{GroupQuantized, GroupSize, Sizes, order_of_groups, sort_inputs};
use crate::json_fields::{Field, Fields, shorten};
use crate::packed_words::{transpose, unpack_rows};
use crate::{NamedTensor, WeightFiles};

/// Regular expressions of a configuration, and bytes that each may take in memory: a few characters can stand for more.
const MAX_PATTERNS: usize = 64;
const MAX_PATTERN_BYTES: usize = 256 << 10;

/// What a configuration says of a checkpoint in this format.
///
/// Schemes for activations and for the cache of keys and values are left aside: they say how to compute faster, at the
/// cost of rounding what is computed with. Weights are the same with and without.
#[derive(Clone, Debug, PartialEq)]
pub struct CompressedTensorsConfig {
    groups: Vec<(Vec<Target>, Scheme)>,
    ignore: Vec<Target>,
}

/// How the weights of a group of layers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheme {
    /// Of a code: 4 or 8.
    pub bits: u32,
    /// Inputs of a group; the format calls a whole row a channel.
    pub group_size: GroupSize,
    /// Whether 0 is in the middle of the codes; otherwise each group has a zero.
    pub symmetric: bool,
    /// Whether columns were put into groups by their importance, so that a layer must have `weight_g_idx`.
    pub act_order: bool,
    /// Where the codes are.
    pub storage: Storage,
}

/// Where the codes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storage {
    /// `pack-quantized`: in 32-bit words.
    Packed,
    /// `int-quantized`: a byte each.
    Int8,
}

/// What a group's `targets`, or `ignore`, say of a layer.
#[derive(Clone, Debug)]
enum Target {
    /// It is called so, or it is a kind of module that isn't a linear layer.
    Name(String),
    /// `re:`, its name starts so.
    Pattern(Regex),
    /// `Linear`: it is a linear layer, which all are here.
    Linear,
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a == b,
            (Self::Pattern(a), Self::Pattern(b)) => a.as_str() == b.as_str(),
            (Self::Linear, Self::Linear) => true,
            _ => false,
        }
    }
}

impl Target {
    /// `patterns` of the whole configuration may still come.
    fn parse(fields: &Fields<'_>, name: &str, patterns: &mut usize) -> Field<Vec<Self>> {
        let unsupported = |target: &str, supported: String| LoadProblem::Unsupported {
            what: fields.path(name),
            found: shorten(target.into()),
            supported,
        };
        let targets = fields.strings(name)?.unwrap_or_default().into_iter();
        targets
            .map(|target| match target.strip_prefix("re:") {
                Some(pattern) => {
                    let too_many = || unsupported(target, format!("{MAX_PATTERNS} regular expressions"));
                    *patterns = patterns.checked_sub(1).ok_or_else(too_many)?;
                    let pattern = RegexBuilder::new(pattern).size_limit(MAX_PATTERN_BYTES).build();
                    pattern.map(Self::Pattern).map_err(|error| {
                        let error = error.to_string();
                        let reason = error.lines().last().unwrap_or_default();
                        unsupported(target, format!("small regular expressions without look-around ({reason})"))
                    })
                }
                None if target == "Linear" => Ok(Self::Linear),
                None => Ok(Self::Name(target.into())),
            })
            .collect()
    }

    /// How well this says which layer it is; `None` if it is another one.
    fn matches(&self, module: &str) -> Option<u8> {
        match self {
            Self::Name(name) => (name == module).then_some(3),
            // As Python's `re.match`: from the start, but not to the end.
            Self::Pattern(pattern) => pattern.find(module).filter(|found| found.start() == 0).map(|_| 2),
            Self::Linear => Some(1),
        }
    }
}

impl CompressedTensorsConfig {
    pub(crate) fn parse(fields: &Fields<'_>) -> Field<Self> {
        for name in ["sparsity_config", "transform_config"] {
            let dense =
                fields.object(name)?.is_some_and(|config| config.string("format").ok().flatten() == Some("dense"));
            if fields.is_set(name) && !dense {
                return Err(fields.unsupported(name, "weights that are quantised and nothing else"));
            }
        }
        let groups = fields.object("config_groups")?.ok_or_else(|| fields.bad("config_groups", "an object"))?;
        let mut patterns = MAX_PATTERNS;
        let groups: Vec<_> = groups
            .names()
            .filter_map(|name| groups.object(name).transpose())
            .map(|group| {
                let group = group?;
                let targets = Target::parse(&group, "targets", &mut patterns)?;
                if targets.is_empty() {
                    return Err(group.bad("targets", "a list of layers"));
                }
                Ok((targets, Scheme::parse(fields, &group)?))
            })
            .collect::<Field<_>>()?;
        if groups.is_empty() {
            return Err(fields.bad("config_groups", "at least one group"));
        }
        Ok(Self { groups, ignore: Target::parse(fields, "ignore", &mut patterns)? })
    }

    /// How the linear layer called `module` is quantised; `None` if it isn't. A target that names it comes before one
    /// that has a pattern for it, and that before `Linear`.
    #[must_use]
    pub fn scheme(&self, module: &str) -> Option<Scheme> {
        if self.ignore.iter().any(|target| target.matches(module).is_some()) {
            return None;
        }
        let rank = |targets: &[Target]| targets.iter().filter_map(|target| target.matches(module)).max();
        let ranked = self.groups.iter().rev().filter_map(|(targets, scheme)| Some((rank(targets)?, *scheme)));
        // Of equals the last is taken, which is the first group.
        ranked.max_by_key(|(rank, _)| *rank).map(|(_, scheme)| scheme)
    }
}

impl Scheme {
    fn parse(config: &Fields<'_>, group: &Fields<'_>) -> Field<Self> {
        let (named, name) = if group.get("format").is_some() { (group, "format") } else { (config, "format") };
        let storage = match named.string(name)?.ok_or_else(|| config.bad(name, "pack-quantized or int-quantized"))? {
            "pack-quantized" => Storage::Packed,
            "int-quantized" => Storage::Int8,
            _ => return Err(named.unsupported(name, "pack-quantized, int-quantized")),
        };
        let weights = group.object("weights")?.ok_or_else(|| group.bad("weights", "an object"))?;
        if weights.string("type")?.is_some_and(|number| number != "int") {
            return Err(weights.unsupported("type", "int"));
        }
        if weights.is_set("dynamic") {
            return Err(weights.unsupported("dynamic", "false"));
        }
        let act_order = match weights.get("actorder") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => match weights.string("actorder")? {
                Some("group" | "dynamic") => true,
                // Such a layer was quantised in another order, but its groups are of neighbours.
                Some("weight" | "static") => false,
                _ => return Err(weights.unsupported("actorder", "group, weight")),
            },
        };
        let group_size = weights.group_size("group_size")?;
        let strategy = weights.string("strategy")?.unwrap_or(match group_size {
            None => "tensor",
            Some(GroupSize::WholeRow) => "channel",
            Some(GroupSize::Inputs(_)) => "group",
        });
        let group_size = match (strategy, group_size) {
            ("channel", None | Some(GroupSize::WholeRow)) => GroupSize::WholeRow,
            ("channel", Some(GroupSize::Inputs(_))) => {
                return Err(weights.bad("group_size", "-1 with the strategy `channel`"));
            }
            ("group", Some(GroupSize::Inputs(size))) => GroupSize::Inputs(size),
            ("group", _) => return Err(weights.bad("group_size", "at least 1 with the strategy `group`")),
            _ => return Err(weights.unsupported("strategy", "group, channel")),
        };
        Ok(Self {
            bits: weights.bits("num_bits", &[4, 8])?.unwrap_or(8),
            group_size,
            symmetric: weights.boolean("symmetric")?.unwrap_or(true),
            act_order,
            storage,
        })
    }

    /// The code of 0 in a symmetric scheme, which is also what is added to signed codes.
    fn middle(self) -> u8 {
        1 << (self.bits - 1)
    }
}

/// The weight of a linear layer as this format stores it, checked; see [`CompressedTensorsWeight::new`] for the shapes.
#[derive(Clone, Debug)]
pub struct CompressedTensorsWeight {
    sizes: Sizes,
    scheme: Scheme,
    codes: Codes,
    zeros: Option<Codes>,
    scales: Vec<f32>,
    order: Option<Vec<u32>>,
}

/// Codes, or zeros.
#[derive(Clone, Debug)]
enum Codes {
    Words(Vec<u32>),
    /// Unsigned already.
    Bytes(Vec<u8>),
}

/// The tensors of a layer.
#[derive(Clone, Debug)]
pub struct CompressedTensors {
    /// `weight_packed`, or `weight` where codes have a byte each.
    pub weight: NamedTensor,
    /// `weight_scale`.
    pub scale: NamedTensor,
    /// `weight_zero_point`, unless the scheme is symmetric.
    pub zero_point: Option<NamedTensor>,
    /// `weight_g_idx`, where groups aren't of neighbours.
    pub g_idx: Option<NamedTensor>,
    /// `weight_shape`, where codes are packed.
    pub shape: Option<NamedTensor>,
}

impl CompressedTensorsWeight {
    /// Reads the tensors of `module`; see [`CompressedTensorsWeight::new`].
    pub fn load(files: &WeightFiles, scheme: Scheme, module: &str, shape: [usize; 2]) -> Result<Self> {
        let tensor = |name: &str| NamedTensor::require(files, &format!("{module}.{name}"));
        let packed = scheme.storage == Storage::Packed;
        let tensors = CompressedTensors {
            weight: tensor(if packed { "weight_packed" } else { "weight" })?,
            scale: tensor("weight_scale")?,
            zero_point: (!scheme.symmetric).then(|| tensor("weight_zero_point")).transpose()?,
            g_idx: scheme.act_order.then(|| tensor("weight_g_idx")).transpose()?,
            shape: packed.then(|| tensor("weight_shape")).transpose()?,
        };
        Self::new(scheme, shape, &tensors)
    }

    /// The weight of a layer of the shape `[outputs, inputs]`.
    ///
    /// # Shapes
    /// With 8 codes of 4 bits or 4 of 8 in a word, the last of which may be part empty:
    /// - `weight_packed`: `[outputs, ⌈inputs / codes⌉]`, I32; or `weight`: `[outputs, inputs]`, I8
    /// - `weight_scale`: `[outputs, groups]`, F16, BF16 or F32
    /// - `weight_zero_point`: `[⌈outputs / codes⌉, groups]`, I32; or `[outputs, groups]`, I8
    /// - `weight_g_idx`: `[inputs]`, I32
    /// - `weight_shape`: two integers, I64 or I32
    ///
    /// # Errors
    /// [`LoadError`](gllm_core::LoadError), if a tensor has another shape or type, is missing, has codes out of range,
    /// inputs aren't a multiple of the group size, or `weight_g_idx` doesn't make groups of that size.
    pub fn new(scheme: Scheme, shape: [usize; 2], tensors: &CompressedTensors) -> Result<Self> {
        let weight = &tensors.weight;
        let sizes = Sizes::new(shape, scheme.group_size, weight)?;
        let missing = |what: &str| {
            let tensor = what.to_owned();
            weight.error(LoadProblem::MissingTensor { tensor, nearest: Some(weight.name.clone()) })
        };
        let word = 32 / scheme.bits as usize;
        let codes = match scheme.storage {
            Storage::Packed => {
                check_shape(tensors.shape.as_ref().ok_or_else(|| missing("weight_shape"))?, shape)?;
                Codes::Words(weight.words(&[sizes.outputs, sizes.inputs.div_ceil(word)])?)
            }
            Storage::Int8 => Codes::Bytes(unsigned(weight, &shape, scheme)?),
        };
        let zeros = if scheme.symmetric {
            None
        } else {
            let zeros = tensors.zero_point.as_ref().ok_or_else(|| missing("weight_zero_point"))?;
            Some(match scheme.storage {
                Storage::Packed => Codes::Words(zeros.words(&[sizes.outputs.div_ceil(word), sizes.groups()])?),
                Storage::Int8 => Codes::Bytes(unsigned(zeros, &[sizes.outputs, sizes.groups()], scheme)?),
            })
        };
        let scales = tensors.scale.floats(&[sizes.outputs, sizes.groups()])?;
        let order = tensors.g_idx.as_ref().map(|g_idx| order_of_groups(g_idx, sizes)).transpose()?.flatten();
        Ok(Self { sizes, scheme, codes, zeros, scales, order })
    }

    /// Codes, zeros and scales, a row for each output.
    #[must_use]
    pub fn unpack(self) -> GroupQuantized {
        let Sizes { outputs, inputs, group_size } = self.sizes;
        let bits = self.scheme.bits;
        let groups = self.sizes.groups();
        let mut codes = match self.codes {
            Codes::Words(words) => unpack_rows(&words, inputs, bits),
            Codes::Bytes(codes) => codes,
        };
        if let Some(order) = &self.order {
            sort_inputs(&mut codes, order);
        }
        // Words of zeros run down the outputs.
        let zeros = match self.zeros {
            Some(Codes::Words(words)) => transpose(&unpack_rows(&transpose(&words, groups), outputs, bits), outputs),
            Some(Codes::Bytes(zeros)) => zeros,
            None => vec![self.scheme.middle(); self.scales.len()],
        };
        GroupQuantized { outputs, inputs, bits, group_size, codes, scales: self.scales, zeros, order: self.order }
    }
}

/// Signed bytes of `tensor`, shifted so that the smallest code is 0.
fn unsigned(tensor: &NamedTensor, shape: &[usize], scheme: Scheme) -> Result<Vec<u8>> {
    let middle = i16::from(scheme.middle());
    let signed = tensor.integers(shape, Dtype::I8, i8::from_le_bytes)?;
    let shifted = signed.into_iter().map(|code| {
        let shifted = u8::try_from(i16::from(code) + middle).ok().filter(|code| i16::from(*code) < 2 * middle);
        let expected = || format!("{code} is not a number of {} bits", scheme.bits);
        shifted.ok_or_else(|| tensor.corrupt(expected()))
    });
    shifted.collect()
}

/// Fails unless `tensor` says that the layer is of this shape.
fn check_shape(tensor: &NamedTensor, shape: [usize; 2]) -> Result<()> {
    let found = match tensor.raw.dtype {
        crate::DType::Other(Dtype::I32) => {
            tensor.integers(&[2], Dtype::I32, |bytes| i64::from(i32::from_le_bytes(bytes)))?
        }
        _ => tensor.integers(&[2], Dtype::I64, i64::from_le_bytes)?,
    };
    if found.iter().zip(shape).all(|(found, expected)| usize::try_from(*found) == Ok(expected)) {
        return Ok(());
    }
    let (field, expected) = (tensor.name.clone(), format!("{shape:?}"));
    Err(tensor.error(LoadProblem::Field { field, expected, found: format!("{found:?}") }))
}
