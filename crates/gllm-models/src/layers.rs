//! Layers: typed weights and a forward pass each.

mod embedding_table;
mod layer_norm;
mod linear;
mod self_attention;

pub(crate) use embedding_table::EmbeddingTable;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::Linear;
pub(crate) use self_attention::SelfAttention;
