//! The binary, run as a person or a script runs it, with tiny models of golden data.

mod chat;
#[cfg(unix)]
mod chat_terminal;
mod embed;
mod errors;
mod generate;
mod generate_errors;
mod harness;
mod inspect;
mod models;
mod quantize;
mod real_model;
mod rerank;
mod resume;
mod similarity;
