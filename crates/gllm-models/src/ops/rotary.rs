//! Rotary position embeddings: queries and keys turned by angles that grow with their place.
//!
//! Source: <https://arxiv.org/abs/2104.09864>, in the layout of GPT-NeoX ("rotate half"): the two coordinates of a
//! pair are half a head apart. The angles are computed in f32 like the reference's, not better: at thousands of tokens
//! a rounding of the frequency is an error of the angle.

use burn::tensor::{Device, Tensor, TensorData};

use crate::config::{RotaryConfig, RotaryScaling};

/// `cos`, `sin`: `[tokens, 1, head_dim / 2]`, for the tokens of a batch.
#[derive(Debug)]
pub(crate) struct RotaryTables {
    cos: Tensor<3>,
    sin: Tensor<3>,
}

impl RotaryTables {
    /// For sequences of these lengths, each from place 0.
    pub(crate) fn new(config: RotaryConfig, head_dim: usize, lengths: &[usize], device: &Device) -> Self {
        let tokens: usize = lengths.iter().sum();
        let mut angles = Vec::with_capacity(tokens * head_dim / 2);
        for &length in lengths {
            let frequencies = frequencies(config, head_dim, length);
            angles.extend((0..length).flat_map(|place| frequencies.iter().map(move |f| place as f32 * f)));
        }
        let table = |f: fn(f64) -> f64| {
            let values = angles.iter().map(|&angle| f(f64::from(angle)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [tokens, 1, head_dim / 2]), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }
}

/// `[head_dim / 2]`: the angle between neighbours, for a sequence of this length.
fn frequencies(config: RotaryConfig, head_dim: usize, length: usize) -> Vec<f32> {
    let dim = head_dim as f64;
    let (theta, divisor) = match config.scaling {
        RotaryScaling::None => (config.theta, 1.0),
        RotaryScaling::Ntk { factor } => (config.theta * factor, factor.powf(2.0 / dim)),
        RotaryScaling::DynamicNtk { factor, trained } => {
            let stretch = (factor * length as f64 / trained as f64) - (factor - 1.0);
            let stretch = if length > trained { stretch.powf(dim / (dim - 2.0)) } else { 1.0 };
            (config.theta * stretch, 1.0)
        }
    };
    (0..head_dim / 2).map(|pair| (theta.powf(-(2.0 * pair as f64) / dim) / divisor) as f32).collect()
}

/// # Shapes
/// - `x`: `[tokens, n_heads * head_dim]`, returns the same
pub(crate) fn rotate(x: Tensor<2>, n_heads: usize, tables: &RotaryTables) -> Tensor<2> {
    let [tokens, hidden] = x.dims();
    let head_dim = hidden / n_heads;
    let x = x.reshape([tokens, n_heads, head_dim]);
    let half = |range| x.clone().slice([0..tokens, 0..n_heads, range]);
    let (a, b) = (half(0..head_dim / 2), half(head_dim / 2..head_dim));
    let (cos, sin) = (tables.cos.clone(), tables.sin.clone());
    let turned = [a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos + a * sin];
    Tensor::cat(turned.into(), 2).reshape([tokens, hidden])
}
