//! The operations that cost time, behind one seam.
//!
//! Models call these and never Burn's own, so that a backend can get a hand-written kernel for one of
//! them without touching a model: each has a body composed of Burn's tensor operations, which runs
//! everywhere, and `cpu` takes over where the tensors are on the flex backend.

mod activation;
mod add_norm;
mod attention;
pub(crate) mod cached_attention;
#[cfg(feature = "cpu")]
mod cpu;
mod gate;
mod linear;
mod pooling;
mod rms_norm;
pub(crate) mod rotary;
mod score_bias;

pub use activation::Activation;
pub(crate) use activation::activate;
pub(crate) use add_norm::{add_norm, norm};
pub(crate) use attention::{AttentionPattern, Heads, attention};
#[cfg(feature = "cpu")]
pub(crate) use cpu::awake::awake;
#[cfg(feature = "cpu")]
pub(crate) use cpu::buffers::reused;
#[cfg(feature = "cpu")]
pub(crate) use cpu::layer_norm::Norm;
#[cfg(feature = "cpu")]
pub(crate) use cpu::share::alone;
#[cfg(feature = "cpu")]
pub(crate) use cpu::{
    FloatLinear, feed_forward, float_linear, has_bf16, has_int8, packed_linears, runs_here as has_kernels,
};
pub(crate) use gate::gate;
#[cfg(feature = "cpu")]
pub(crate) use gate::gated_feed_forward;
pub(crate) use linear::linear;
pub(crate) use pooling::{kept, l2_normalize, pool};
pub(crate) use rms_norm::rms_norm;
pub(crate) use score_bias::ScoreBias;
