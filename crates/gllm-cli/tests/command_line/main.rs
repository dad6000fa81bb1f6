//! The binary, run as a person or a script runs it, with tiny models of golden data.

mod embed;
mod errors;
mod harness;
mod inspect;
mod models;
mod quantize;
mod rerank;
mod resume;
mod similarity;
