//! The real client against a local server that speaks the Hub's protocol, well or badly.
//!
//! No test needs the network, and none is about time beyond a lower bound. `server` is the server, the other modules
//! are the tests by theme.

mod download;
mod faults;
mod gguf;
mod packages;
mod parts;
mod processes;
mod server;
mod store;

use gllm_core::{DownloadProblem, Error};
use gllm_hub::{HubConfig, ModelId, Store};

use server::Server;

/// A store below `folder` that asks `server` and doesn't dawdle.
fn store_at(folder: &std::path::Path, server: &Server) -> Store {
    Store::new(config_at(folder, server))
}

fn config_at(folder: &std::path::Path, server: &Server) -> HubConfig {
    let mut config = HubConfig::new(folder.join("models"));
    config.endpoint = Some(server.url(""));
    config.backoff = std::time::Duration::from_millis(1);
    config
}

fn id(text: &str) -> ModelId {
    ModelId::parse(text).expect(text)
}

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// The problem of a failed download, and the file at fault.
fn problem<T: std::fmt::Debug>(result: Result<T, Error>) -> (DownloadProblem, Option<String>) {
    match result {
        Err(Error::DownloadError(error)) => (error.problem, error.file),
        other => panic!("expected a download error, got {other:?}"),
    }
}
