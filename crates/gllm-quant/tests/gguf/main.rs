//! GGUF files from what the `gguf` package wrote to what an attacker would.

mod builder;
mod folders;
mod golden;
mod malformed;
mod metadata;
mod mutations;
mod writer;
