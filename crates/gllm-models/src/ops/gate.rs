//! The gate of a feed-forward block: `activation(gate) · value`. Source: <https://arxiv.org/abs/2002.05202>.

use burn::tensor::Tensor;
#[cfg(feature = "cpu")]
use gllm_quant::QLinear;

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
    if cpu::runs_here(&both.device())
        && let Some(kernel) = kernel(activation)
    {
        return cpu::map(both, width, &mut |both, out| cpu::gate::gate(both, width, kernel, out));
    }
    let half = |index: usize| both.clone().slice([0..tokens, index * width..(index + 1) * width]);
    activate(half(0), activation) * half(1)
}

/// `down(activation(gate(x)) · up(x))` in one go; `None` if there is no kernel for the gate.
///
/// # Shapes
/// - `x`: `[tokens, inputs]`, on flex
/// - returns `[tokens, outputs of down]`
#[cfg(feature = "cpu")]
pub(crate) fn gated_feed_forward(
    x: Tensor<2>,
    gate_and_up: [&QLinear; 2],
    activation: Activation,
    down: &QLinear,
) -> Option<Tensor<2>> {
    let kernel = kernel(activation)?;
    let combine = |gate: &mut [f32], up: &[f32]| cpu::gate::gate_by(gate, up, kernel);
    Some(cpu::map(x, down.outputs(), &mut |x, y| QLinear::forward_through(gate_and_up, down, x, &combine, y)))
}

#[cfg(feature = "cpu")]
fn kernel(activation: Activation) -> Option<Gate> {
    match activation {
        Activation::Silu => Some(Gate::Silu),
        Activation::GeluTanh => Some(Gate::GeluTanh),
        _ => None,
    }
}
