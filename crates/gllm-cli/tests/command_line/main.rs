//! The binary, run as a person or a script runs it, with a tiny model of golden data.

mod embed;
mod errors;
mod harness;
mod models;
mod resume;
mod similarity;
