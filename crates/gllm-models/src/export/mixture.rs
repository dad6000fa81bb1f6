//! Which type each tensor of a GGUF file has: a table of mixtures, and what fits no block.
//!
//! Invariant: a type is chosen by a tensor's GGUF name, its shape and the model's size, and by nothing else, so that
//! it can be told before a weight is read. Source: `llama_tensor_get_type_impl`, `tensor_type_fallback` and
//! `llama_ftype` of llama.cpp, for dense models and without an importance matrix; what they keep is kept as `F32`.

use std::fmt;

use gllm_quant::{BlockType, DType};

use BlockType::{IQ4_NL, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};

/// What the tensors of a GGUF file are of, most of them: a type, or a mixture that spends more bits where they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "the names that the field knows them by")]
#[expect(missing_docs, reason = "named after the block types; S, M and L are small, medium and large")]
#[non_exhaustive]
pub enum FileType {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2_K,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
}

/// A row of the table.
struct Mixture {
    of: FileType,
    /// `general.file_type`.
    number: u32,
    /// The type of a tensor that no exception is for.
    base: DType,
    /// The first that holds counts.
    exceptions: &'static [(Part, Layers, BlockType)],
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// `output`, or the word embeddings where they stand in for it.
    Output,
    /// Values, alone or packed with queries and keys.
    Values,
    AttentionOutput,
    Down,
    Other,
}

/// In which layers an exception holds.
#[derive(Clone, Copy, Debug)]
enum Layers {
    All,
    /// All, in a model whose heads share keys and values by four or more.
    Shared,
    /// The first few.
    First(usize),
    /// The first of so many parts.
    FirstPart(usize),
    /// The first and last eighth, and every third between them.
    MoreBits,
}

const TABLE: [Mixture; 19] = [
    plain(FileType::F32, 0, DType::F32),
    plain(FileType::F16, 1, DType::F16),
    plain(FileType::BF16, 32, DType::BF16),
    plain(FileType::Q8_0, 7, DType::Block(Q8_0)),
    plain(FileType::Q4_0, 2, DType::Block(Q4_0)),
    plain(FileType::Q4_1, 3, DType::Block(Q4_1)),
    plain(FileType::Q5_0, 8, DType::Block(Q5_0)),
    plain(FileType::Q5_1, 9, DType::Block(Q5_1)),
    mixed(
        FileType::Q2_K,
        10,
        Q2_K,
        &[
            (Part::Values, Layers::Shared, Q4_K),
            (Part::Values, Layers::All, Q3_K),
            (Part::Down, Layers::All, Q3_K),
            (Part::AttentionOutput, Layers::All, Q3_K),
        ],
    ),
    mixed(FileType::Q3_K_S, 11, Q3_K, &[]),
    mixed(
        FileType::Q3_K_M,
        12,
        Q3_K,
        &[
            (Part::Values, Layers::First(2), Q5_K),
            (Part::Values, Layers::All, Q4_K),
            (Part::Down, Layers::FirstPart(16), Q5_K),
            (Part::Down, Layers::All, Q4_K),
            (Part::AttentionOutput, Layers::All, Q4_K),
        ],
    ),
    mixed(
        FileType::Q3_K_L,
        13,
        Q3_K,
        &[
            (Part::Values, Layers::All, Q5_K),
            (Part::Down, Layers::All, Q5_K),
            (Part::AttentionOutput, Layers::All, Q5_K),
        ],
    ),
    mixed(
        FileType::Q4_K_S,
        14,
        Q4_K,
        &[(Part::Values, Layers::First(4), Q5_K), (Part::Down, Layers::FirstPart(8), Q5_K)],
    ),
    mixed(FileType::Q4_K_M, 15, Q4_K, &[(Part::Values, Layers::MoreBits, Q6_K), (Part::Down, Layers::MoreBits, Q6_K)]),
    mixed(FileType::Q5_K_S, 16, Q5_K, &[]),
    mixed(FileType::Q5_K_M, 17, Q5_K, &[(Part::Values, Layers::MoreBits, Q6_K), (Part::Down, Layers::MoreBits, Q6_K)]),
    mixed(FileType::Q6_K, 18, Q6_K, &[]),
    mixed(
        FileType::IQ4_NL,
        25,
        IQ4_NL,
        &[(Part::Values, Layers::Shared, Q5_K), (Part::Down, Layers::FirstPart(8), Q5_K)],
    ),
    mixed(
        FileType::IQ4_XS,
        30,
        IQ4_XS,
        &[(Part::Values, Layers::Shared, Q5_K), (Part::Down, Layers::FirstPart(8), Q5_K)],
    ),
];

/// What takes the place of a type whose block doesn't divide a row.
const SMALLER_BLOCKS: [(BlockType, BlockType); 6] =
    [(Q2_K, Q4_0), (Q3_K, Q4_0), (Q4_K, Q5_0), (Q5_K, Q5_1), (Q6_K, Q8_0), (IQ4_XS, IQ4_NL)];

const fn plain(of: FileType, number: u32, base: DType) -> Mixture {
    Mixture { of, number, base, exceptions: &[] }
}

const fn mixed(
    of: FileType,
    number: u32,
    base: BlockType,
    exceptions: &'static [(Part, Layers, BlockType)],
) -> Mixture {
    Mixture { of, number, base: DType::Block(base), exceptions }
}

/// What the choice of types depends on beside the tensor.
#[derive(Clone, Copy, Debug)]
pub(super) struct ModelSize {
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// Heads of keys and values.
    pub(super) kv_heads: usize,
    /// Whether the word embeddings stand in for an output layer: there is no `output.weight`.
    pub(super) is_tied: bool,
}

impl FileType {
    /// Every type, floats first.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::F32; TABLE.len()];
        let mut index = 0;
        while index < TABLE.len() {
            // `mixture` finds a type's row by its place in the enum.
            assert!(TABLE[index].of as usize == index);
            all[index] = TABLE[index].of;
            index += 1;
        }
        all
    };

    /// The type of this name, in either case.
    ///
    /// ```
    /// use gllm_models::FileType;
    /// assert_eq!(FileType::from_name("q4_k_m"), Some(FileType::Q4_K_M));
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.to_string().eq_ignore_ascii_case(name))
    }

    /// `general.file_type`.
    pub(super) fn number(self) -> u32 {
        self.mixture().number
    }

    fn mixture(self) -> &'static Mixture {
        &TABLE[self as usize]
    }

    /// The type of the tensor called `name`, of `shape`, outermost dimension first.
    pub(super) fn of_tensor(self, name: &str, shape: &[usize], model: ModelSize) -> DType {
        let columns = shape.last().copied().unwrap_or(1);
        let mixture = self.mixture();
        match mixture.base {
            _ if !is_matrix(name, shape) => DType::F32,
            // What no converter quantises: the last layer of a classifier with one label.
            DType::Block(base) if base != Q8_0 && shape.iter().product::<usize>() == columns => DType::F32,
            DType::Block(base) => fitting(mixture.block(base, name, columns, model), columns),
            float => float,
        }
    }
}

impl Mixture {
    fn block(&self, base: BlockType, name: &str, columns: usize, model: ModelSize) -> BlockType {
        let part = Part::of(name, model.is_tied);
        if part == Part::Output {
            let fits = columns.is_multiple_of(base.block_len());
            return if fits && base != Q8_0 { Q6_K } else { Q8_0 };
        }
        let holds = |layers: Layers| layers.hold(layer(name), model);
        let found = self.exceptions.iter().find(|(of, layers, _)| *of == part && holds(*layers));
        let block = found.map_or(base, |(.., block)| *block);
        // A model of 70 billion weights has so few values that more bits for them cost next to nothing.
        let is_70b = model.layers == 80 && model.heads != model.kv_heads;
        if is_70b && part == Part::Values && matches!(block, Q3_K | Q4_K) { Q5_K } else { block }
    }
}

impl Part {
    fn of(name: &str, is_tied: bool) -> Self {
        match name.rsplit('.').nth(1).unwrap_or_default() {
            "output" => Self::Output,
            "token_embd" if is_tied => Self::Output,
            "attn_v" | "attn_qkv" => Self::Values,
            "attn_output" => Self::AttentionOutput,
            "ffn_down" => Self::Down,
            _ => Self::Other,
        }
    }
}

impl Layers {
    fn hold(self, layer: usize, model: ModelSize) -> bool {
        let (layers, eighth) = (model.layers, model.layers / 8);
        match self {
            Self::All => true,
            Self::Shared => model.heads / model.kv_heads.max(1) >= 4,
            Self::First(count) => layer < count,
            Self::FirstPart(parts) => layer < layers / parts,
            Self::MoreBits => layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2,
        }
    }
}

/// The number in `blk.N.…`.
fn layer(name: &str) -> usize {
    name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse().ok()).unwrap_or_default()
}

/// Whether the tensor is one that types are for: biases, norms and small tables stay floats.
fn is_matrix(name: &str, shape: &[usize]) -> bool {
    shape.len() >= 2
        && name.ends_with(".weight")
        && !name.ends_with("_norm.weight")
        && !["position_embd.weight", "token_types.weight"].contains(&name)
}

/// `block`, or what stands in for it in rows of `columns`.
fn fitting(block: BlockType, columns: usize) -> DType {
    let fits = |block: &BlockType| columns.is_multiple_of(block.block_len());
    let smaller = SMALLER_BLOCKS.iter().find(|(of, _)| *of == block).map(|(_, smaller)| *smaller);
    [Some(block), smaller].into_iter().flatten().find(fits).map_or(DType::F16, DType::Block)
}

impl fmt::Display for FileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants have the published names.
        fmt::Debug::fmt(self, f)
    }
}

impl std::str::FromStr for FileType {
    type Err = gllm_core::InvalidConfig;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::from_name(name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(Self::to_string).collect();
            gllm_core::InvalidConfig::new("type", names.join(", "), name)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    /// A model, a type of file, and what llama.cpp makes of the model's tensors.
    #[derive(Deserialize)]
    struct Row {
        columns: usize,
        heads: usize,
        kv_heads: usize,
        is_tied: bool,
        mixture: String,
        types: BTreeMap<String, OneOrMany>,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        /// One for each layer.
        Many(Vec<String>),
    }

    #[test]
    fn types_are_those_of_llama_cpp() {
        let rows: Vec<Row> =
            serde_json::from_str(include_str!("../../../../tests/golden/export/mixtures.json")).expect("golden data");
        let mut seen = std::collections::BTreeSet::new();
        for Row { columns, heads, kv_heads, is_tied, mixture, types } in rows {
            let of = FileType::from_name(&mixture).unwrap_or_else(|| panic!("no {mixture}"));
            let layers = types.values().map(|types| if let OneOrMany::Many(types) = types { types.len() } else { 0 });
            let model = ModelSize { layers: layers.max().expect("layers"), heads, kv_heads, is_tied };
            let check = |name: String, expected: &str| {
                let shape = if name.ends_with("norm.weight") { vec![columns] } else { vec![4, columns] };
                let found = of.of_tensor(&name, &shape, model).to_string();
                assert_eq!(found, expected, "{mixture}: {name} of {columns} columns, {kv_heads} heads of keys");
            };
            for (part, types) in &types {
                match types {
                    OneOrMany::One(of) => check(format!("{part}.weight"), of),
                    OneOrMany::Many(types) => {
                        let layers = types.iter().enumerate();
                        layers.for_each(|(layer, of)| check(format!("blk.{layer}.{part}.weight"), of));
                    }
                }
            }
            seen.insert(mixture);
        }
        // All but the floats.
        assert_eq!(seen.len(), FileType::ALL.len() - 3);
    }

    #[test]
    fn small_tables_stay_floats() {
        let model = ModelSize { layers: 2, heads: 2, kv_heads: 2, is_tied: true };
        for (name, shape) in [
            ("position_embd.weight", vec![512, 256]),
            ("token_types.weight", vec![2, 256]),
            ("blk.0.attn_q.bias", vec![256]),
            ("blk.0.attn_output_norm.weight", vec![256]),
        ] {
            for of in FileType::ALL {
                assert_eq!(of.of_tensor(name, &shape, model), DType::F32, "{of}: {name}");
            }
        }
        assert_eq!(FileType::Q4_K_M.of_tensor("cls.output.weight", &[1, 256], model), DType::F32);
        assert_eq!(FileType::Q8_0.of_tensor("cls.output.weight", &[1, 256], model), DType::Block(Q8_0));
    }
}
