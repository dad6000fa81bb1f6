//! The block types of GGUF: elements that share scales, packed into blocks of a fixed number of bytes.
//!
//! A row of a tensor is a whole number of blocks. Source: `ggml_type` and `type_traits` of ggml
//! (<https://github.com/ggml-org/ggml>), whose numbers and sizes these are.

use std::fmt;

/// How the elements of a quantised tensor are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(non_camel_case_types, reason = "the names that the field knows them by")]
#[expect(missing_docs, reason = "`BlockType` says what they have in common, `blocks` what each is")]
#[non_exhaustive]
pub enum BlockType {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
    IQ2_XXS,
    IQ2_XS,
    IQ3_XXS,
    IQ1_S,
    IQ4_NL,
    IQ3_S,
    IQ2_S,
    IQ4_XS,
    IQ1_M,
    TQ1_0,
    TQ2_0,
    MXFP4,
}

/// Type, number in a file, elements of a block, bytes of a block.
const TABLE: [(BlockType, u32, usize, usize); 24] = [
    (BlockType::Q4_0, 2, 32, 18),
    (BlockType::Q4_1, 3, 32, 20),
    (BlockType::Q5_0, 6, 32, 22),
    (BlockType::Q5_1, 7, 32, 24),
    (BlockType::Q8_0, 8, 32, 34),
    (BlockType::Q8_1, 9, 32, 36),
    (BlockType::Q2_K, 10, 256, 84),
    (BlockType::Q3_K, 11, 256, 110),
    (BlockType::Q4_K, 12, 256, 144),
    (BlockType::Q5_K, 13, 256, 176),
    (BlockType::Q6_K, 14, 256, 210),
    (BlockType::Q8_K, 15, 256, 292),
    (BlockType::IQ2_XXS, 16, 256, 66),
    (BlockType::IQ2_XS, 17, 256, 74),
    (BlockType::IQ3_XXS, 18, 256, 98),
    (BlockType::IQ1_S, 19, 256, 50),
    (BlockType::IQ4_NL, 20, 32, 18),
    (BlockType::IQ3_S, 21, 256, 110),
    (BlockType::IQ2_S, 22, 256, 82),
    (BlockType::IQ4_XS, 23, 256, 136),
    (BlockType::IQ1_M, 29, 256, 56),
    (BlockType::TQ1_0, 34, 256, 54),
    (BlockType::TQ2_0, 35, 256, 66),
    (BlockType::MXFP4, 39, 32, 17),
];

impl BlockType {
    /// Every type, in the order of their numbers.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::Q4_0; TABLE.len()];
        let mut index = 0;
        while index < TABLE.len() {
            // `row` finds a type's row by its place in the enum.
            assert!(TABLE[index].0 as usize == index);
            all[index] = TABLE[index].0;
            index += 1;
        }
        all
    };

    /// The type that GGUF files call by this number.
    ///
    /// ```
    /// use gllm_quant::BlockType;
    /// assert_eq!(BlockType::from_ggml(12), Some(BlockType::Q4_K));
    /// assert_eq!(BlockType::from_ggml(1), None); // F16 has no blocks
    /// ```
    #[must_use]
    pub fn from_ggml(number: u32) -> Option<Self> {
        TABLE.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// The type of this name, in either case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|of| of.to_string().eq_ignore_ascii_case(name))
    }

    /// Its number in GGUF files.
    #[must_use]
    pub const fn ggml(self) -> u32 {
        TABLE[self as usize].1
    }

    /// Elements of a block.
    #[must_use]
    pub const fn block_len(self) -> usize {
        TABLE[self as usize].2
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        TABLE[self as usize].3
    }
}

impl fmt::Display for BlockType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants have the published names.
        fmt::Debug::fmt(self, f)
    }
}
