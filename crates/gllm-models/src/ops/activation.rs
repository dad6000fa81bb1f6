//! Activation functions between the two linear layers of a feed-forward block, and after a Dense module.

use burn::tensor::Tensor;
use burn::tensor::activation as composed;

#[cfg(feature = "cpu")]
use super::cpu::{self, share::Then};

/// An element-wise non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// `x · Φ(x)` with the exact error function. Source: <https://arxiv.org/abs/1606.08415>.
    Gelu,
    /// The same by its tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x · σ(x)`.
    Silu,
    /// `tanh(x)`.
    Tanh,
    /// `x`.
    Identity,
}

impl Activation {
    /// The names in [`Activation::from_config`], for error messages.
    pub const SUPPORTED: &'static str = "gelu, gelu_new, gelu_pytorch_tanh, relu, silu, swish, tanh";

    /// The activation that a `config.json` of transformers calls `name`.
    ///
    /// ```
    /// use gllm_models::Activation;
    /// assert_eq!(Activation::from_config("gelu_new"), Some(Activation::GeluTanh));
    /// assert_eq!(Activation::from_config("xielu"), None);
    /// ```
    #[must_use]
    pub fn from_config(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Self::GeluTanh),
            "relu" => Some(Self::Relu),
            "silu" | "swish" => Some(Self::Silu),
            "tanh" => Some(Self::Tanh),
            _ => None,
        }
    }

    /// The activation of torch that sentence-transformers writes by its path in Python, such as
    /// `torch.nn.modules.activation.Tanh`.
    #[must_use]
    pub(crate) fn from_torch(path: &str) -> Option<Self> {
        match path.rsplit('.').next() {
            Some("Tanh") => Some(Self::Tanh),
            Some("Identity") => Some(Self::Identity),
            Some("ReLU") => Some(Self::Relu),
            Some("GELU") => Some(Self::Gelu),
            Some("SiLU") => Some(Self::Silu),
            _ => None,
        }
    }

    /// The names in [`Activation::from_torch`], for error messages.
    pub(crate) const SUPPORTED_TORCH: &'static str = "Tanh, Identity, ReLU, GELU, SiLU";
}

/// Applies `activation` to each element.
///
/// # Shapes
/// - `x`: `[tokens, width]`, returns the same
pub(crate) fn activate(x: Tensor<2>, activation: Activation) -> Tensor<2> {
    #[cfg(feature = "cpu")]
    if cpu::runs_here(&x.device())
        && let Some(then) = activation.kernel()
    {
        return cpu::update(x, &mut |x| cpu::map::map(x, then));
    }
    match activation {
        Activation::Gelu => composed::gelu(x),
        Activation::GeluTanh => composed::gelu_approximate(x),
        Activation::Relu => composed::relu(x),
        Activation::Silu => composed::silu(x),
        Activation::Tanh => composed::tanh(x),
        Activation::Identity => x,
    }
}

#[cfg(feature = "cpu")]
impl Activation {
    /// As the kernels call it; `None` for what does nothing.
    pub(crate) fn kernel(self) -> Option<Then> {
        match self {
            Self::Gelu => Some(Then::Gelu),
            Self::GeluTanh => Some(Then::GeluTanh),
            Self::Relu => Some(Then::Relu),
            Self::Silu => Some(Then::Silu),
            Self::Tanh => Some(Then::Tanh),
            Self::Identity => None,
        }
    }
}
