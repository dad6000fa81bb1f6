//! Texts to tokens, tokens to batches, and tokens back to texts.

mod batch;
mod charsmap;
pub(crate) mod gguf_tokenizer;
mod stop_strings;
mod text_stream;
mod token_bytes;
mod tokenizer;

pub(crate) use batch::in_batches;
pub use batch::plan_batches;
pub use stop_strings::{StopStrings, Unstopped};
pub use text_stream::TextStream;
pub use token_bytes::TokenBytes;
pub use tokenizer::{Pairs, Tokenizer, Tokens};
