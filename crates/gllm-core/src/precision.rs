//! The numbers that a model computes with, as a caller asks for them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::InvalidConfig;

/// The numbers that a model's linear layers are multiplied in; sums, normalisation and softmax are `f32` always.
///
/// It is for weights that are floats in the model's files. Quantised ones are computed with as they are.
///
/// Parses from `auto`, `f32`, `bf16` and `int8`.
///
/// ```
/// use gllm_core::Precision;
/// assert_eq!("bf16".parse::<Precision>().unwrap(), Precision::Bf16);
/// assert!("fp4".parse::<Precision>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Precision {
    /// The fastest that keeps vectors within a cosine of 0.9999 of those in `f32`: `bf16` where the processor multiplies
    /// it, else `f32`.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats with the range of `f32`. Where the processor doesn't multiply them, `f32`.
    Bf16,
    /// 8-bit integers, weights and activations, with scales for groups of inputs. Where there are no kernels for them, on
    /// GPUs too, `f32`.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = InvalidConfig;

    fn from_str(text: &str) -> Result<Self, InvalidConfig> {
        let all = [Self::Auto, Self::F32, Self::Bf16, Self::Int8];
        all.into_iter()
            .find(|precision| precision.to_string() == text)
            .ok_or_else(|| InvalidConfig::new("precision", "auto, f32, bf16 or int8", format!("`{text}`")))
    }
}

impl TryFrom<String> for Precision {
    type Error = InvalidConfig;

    fn try_from(text: String) -> Result<Self, InvalidConfig> {
        text.parse()
    }
}

impl From<Precision> for String {
    fn from(precision: Precision) -> Self {
        precision.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::Precision;

    #[test]
    fn display_and_parse_are_inverse() {
        for precision in [Precision::Auto, Precision::F32, Precision::Bf16, Precision::Int8] {
            assert_eq!(precision.to_string().parse::<Precision>(), Ok(precision));
        }
    }

    #[test]
    fn unknown_precisions_are_refused_with_what_was_found() {
        for text in ["", "F32", "fp16", "int4"] {
            let error = text.parse::<Precision>().expect_err(text);
            assert_eq!(
                error.to_string(),
                format!("invalid `precision`: expected auto, f32, bf16 or int8, found `{text}`")
            );
        }
    }
}
