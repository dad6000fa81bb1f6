//! The gate of a feed-forward block: `activation(gate) · value`. Source: <https://arxiv.org/abs/2002.05202>.

use burn::tensor::Tensor;

#[cfg(feature = "cpu")]
use super::cpu::{self, gate::Gate};
use super::{Activation, activate};

/// # Shapes
/// - `both`: `[tokens, 2 * width]`, in each row the gate first
/// - returns `[tokens, width]`
pub(crate) fn gate(both: Tensor<2>, activation: Activation) -> Tensor<2> {
    let [tokens, width] = both.dims();
    let width = width / 2;
    #[cfg(feature = "cpu")]
    if cpu::runs_here(&both.device()) {
        let kernel = match activation {
            Activation::Silu => Some(Gate::Silu),
            Activation::GeluTanh => Some(Gate::GeluTanh),
            _ => None,
        };
        if let Some(kernel) = kernel {
            return cpu::map(both, width, &mut |both| cpu::gate::gate(both, width, kernel));
        }
    }
    let half = |index: usize| both.clone().slice([0..tokens, index * width..(index + 1) * width]);
    activate(half(0), activation) * half(1)
}
