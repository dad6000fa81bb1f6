//! Log lines on standard error: warnings, unless the command line or the environment say otherwise.

use std::io::{self, IsTerminal};

use gllm::InvalidConfig;
use tracing_subscriber::EnvFilter;

use crate::console::colour_wanted;
use crate::exit::Failure;

/// Variables that hold a filter, the first that is set wins; an empty one counts as unset.
const VARIABLES: [&str; 2] = ["GLLM_LOG", "RUST_LOG"];

/// Warnings, but for those that commands say themselves: cut texts, and the fall-back of a download.
const DEFAULT: &str =
    "warn,gllm_models::embedding_engine=error,gllm_models::rerank_engine=error,gllm_hub::package=error";

/// Starts logging. `-v` and `--quiet` win over the variables.
pub(crate) fn start(verbose: u8, quiet: bool) -> Result<(), Failure> {
    let filter = match (quiet, verbose) {
        (true, _) => EnvFilter::new("error"),
        (false, 0) => from_env()?.unwrap_or_else(|| EnvFilter::new(DEFAULT)),
        (false, 1) => EnvFilter::new("warn,gllm=info"),
        (false, _) => EnvFilter::new("info,gllm=debug"),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && colour_wanted())
        .without_time()
        .with_target(verbose > 1)
        .init();
    Ok(())
}

fn from_env() -> Result<Option<EnvFilter>, Failure> {
    let set = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let found = VARIABLES.into_iter().find_map(|name| Some((name, set(name)?)));
    let Some((name, text)) = found else { return Ok(None) };
    let filter = EnvFilter::try_new(&text);
    let invalid = |_| InvalidConfig::new(name, "a log filter such as `gllm=debug`", format!("`{text}`"));
    Ok(Some(filter.map_err(invalid)?))
}
