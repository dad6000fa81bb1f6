//! Texts to tokens, and tokens to batches.

mod batch;
pub(crate) mod gguf_tokenizer;
mod tokenizer;

pub use batch::plan_batches;
pub use tokenizer::{Pairs, Tokenizer, Tokens};
