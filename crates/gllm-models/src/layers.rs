//! Layers: typed weights and a forward pass each.

mod causal_attention;
mod embedding_table;
mod embeddings;
mod experts;
mod feed_forward;
mod layer_norm;
mod linear;
mod linears;
mod narrow_weight;
mod relative_bias;
mod rms_norm;
mod self_attention;

pub(crate) use causal_attention::CausalAttention;
pub(crate) use embedding_table::EmbeddingTable;
pub(crate) use embeddings::Embeddings;
pub(crate) use experts::Experts;
pub(crate) use feed_forward::{FeedForward, FeedForwardConfig};
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use linears::Linears;
pub(crate) use relative_bias::RelativeBias;
pub(crate) use rms_norm::RmsNorm;
pub(crate) use self_attention::SelfAttention;
