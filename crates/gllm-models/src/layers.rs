//! Layers: typed weights and a forward pass each.

mod embedding_table;
mod embeddings;
mod feed_forward;
mod layer_norm;
mod linear;
mod narrow_weight;
mod relative_bias;
mod self_attention;

pub(crate) use embedding_table::EmbeddingTable;
pub(crate) use embeddings::Embeddings;
pub(crate) use feed_forward::FeedForward;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use relative_bias::RelativeBias;
pub(crate) use self_attention::SelfAttention;
