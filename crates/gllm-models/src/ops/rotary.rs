//! Rotary position embeddings: queries and keys turned by angles that grow with their place.
//!
//! Source: <https://arxiv.org/abs/2104.09864>, mostly in the layout of GPT-NeoX ("rotate half"): the two coordinates of
//! a pair are half a head apart. The angles are computed in f32 like the reference's, not better: at thousands of tokens
//! a rounding of the frequency is an error of the angle.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use crate::{RotaryConfig, RotaryPairs};

/// `cos`, `sin`: `[tokens, 1, head_dim / 2]`, for the tokens of a batch.
#[derive(Debug)]
pub(crate) struct RotaryTables {
    cos: Tensor<3>,
    sin: Tensor<3>,
    pairs: RotaryPairs,
}

/// How the tokens of a batch are rotated, where their keys and values are kept.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one for each pass")]
pub(crate) enum Rotation {
    #[cfg(feature = "cpu")]
    Host(HostRotation),
    Tensors(RotaryTables),
}

/// `cos`, `sin`: `[tokens, head_dim / 2]`.
#[cfg(feature = "cpu")]
#[derive(Debug)]
pub(crate) struct HostRotation {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
    pairs: RotaryPairs,
}

impl RotaryTables {
    fn of(angles: &[f32], head_dim: usize, amplitude: f64, pairs: RotaryPairs, device: &Device) -> Self {
        let half = head_dim / 2;
        let table = |f: fn(f64) -> f64| {
            let values = scaled(angles, amplitude, f);
            Tensor::from_data(TensorData::new(values, [angles.len() / half, 1, half]), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin), pairs }
    }
}

/// The angles of all pairs of these places, one after the other.
pub(crate) fn angles(frequencies: &[f32], places: Range<usize>) -> impl Iterator<Item = f32> {
    places.flat_map(move |place| frequencies.iter().map(move |frequency| place as f32 * frequency))
}

fn scaled(angles: &[f32], amplitude: f64, f: fn(f64) -> f64) -> Vec<f32> {
    angles.iter().map(|&angle| (f(f64::from(angle)) * amplitude) as f32).collect()
}

impl Rotation {
    /// For sequences of these lengths, each from place 0.
    pub(crate) fn of_sequences(config: RotaryConfig, head_dim: usize, lengths: &[usize], device: &Device) -> Self {
        let mut turned = Vec::new();
        for &length in lengths {
            turned.extend(angles(&config.frequencies(head_dim, length), 0..length));
        }
        Self::new(&turned, head_dim, config.amplitude(), RotaryPairs::Halves, device)
    }

    /// By `angles`, `[tokens, head_dim / 2]`.
    pub(crate) fn new(angles: &[f32], head_dim: usize, amplitude: f64, pairs: RotaryPairs, device: &Device) -> Self {
        #[cfg(feature = "cpu")]
        if super::has_kernels(device) {
            let (cos, sin) = (scaled(angles, amplitude, f64::cos), scaled(angles, amplitude, f64::sin));
            return Self::Host(HostRotation { cos, sin, half: head_dim / 2, pairs });
        }
        Self::Tensors(RotaryTables::of(angles, head_dim, amplitude, pairs, device))
    }
}

#[cfg(feature = "cpu")]
impl HostRotation {
    /// Turns a head of token `row`: `[head_dim]`.
    pub(crate) fn rotate(&self, row: usize, x: &mut [f32]) {
        let own = row * self.half..(row + 1) * self.half;
        let turns = self.cos[own.clone()].iter().zip(&self.sin[own]);
        let turn = |a: &mut f32, b: &mut f32, cos: f32, sin: f32| (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
        match self.pairs {
            RotaryPairs::Halves => {
                let (first, second) = x.split_at_mut(self.half);
                for ((a, b), (cos, sin)) in first.iter_mut().zip(second).zip(turns) {
                    turn(a, b, *cos, *sin);
                }
            }
            RotaryPairs::Neighbours => {
                for ([a, b], (cos, sin)) in x.as_chunks_mut().0.iter_mut().zip(turns) {
                    turn(a, b, *cos, *sin);
                }
            }
        }
    }
}

/// # Shapes
/// - `x`: `[tokens, n_heads * head_dim]`, returns the same
pub(crate) fn rotate(x: Tensor<2>, n_heads: usize, tables: &RotaryTables) -> Tensor<2> {
    let [tokens, hidden] = x.dims();
    let half = hidden / n_heads / 2;
    let (cos, sin) = (tables.cos.clone(), tables.sin.clone());
    let turned = |a: Tensor<3>, b: Tensor<3>| {
        [a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos.clone() + a * sin.clone()]
    };
    match tables.pairs {
        RotaryPairs::Halves => {
            let x = x.reshape([tokens, n_heads, 2 * half]);
            let part = |range| x.clone().slice([0..tokens, 0..n_heads, range]);
            let turned = turned(part(0..half), part(half..2 * half));
            Tensor::cat(turned.into(), 2).reshape([tokens, hidden])
        }
        RotaryPairs::Neighbours => {
            let x = x.reshape([tokens, n_heads, half, 2]);
            let part = |i| x.clone().slice([0..tokens, 0..n_heads, 0..half, i..i + 1]).reshape([tokens, n_heads, half]);
            let turned = turned(part(0), part(1)).map(|x| x.unsqueeze_dim::<4>(3));
            Tensor::cat(turned.into(), 3).reshape([tokens, hidden])
        }
    }
}
