//! The name of a model in, a local folder with its files out.
//!
//! This is the only crate of gllm with network. A name is parsed into a [`ModelId`], with the short names of the
//! [`ModelRegistry`]; the [`Store`] finds the model under [`HubConfig::models_dir`] or downloads it there.
//!
//! Invariants: a folder in the store is a whole model, since downloads are staged beside it and renamed at the end;
//! one process downloads a model while the others wait; the token goes to the endpoint and to nobody else.
//!
//! ```no_run
//! use gllm_hub::{HubConfig, ModelId, Store};
//!
//! let store = Store::new(HubConfig::from_env()?);
//! let folder = store.fetch(&ModelId::parse("all-MiniLM-L6-v2")?, &mut ())?;
//! # Ok::<(), gllm_core::Error>(())
//! ```

mod config;
mod download;
mod folder;
mod gguf_name;
mod http;
mod id;
mod listing;
mod lock;
mod package;
mod package_parts;
mod part;
mod pip;
mod progress;
mod record;
mod registry;
mod retry;
mod select;
mod store;

pub use config::{HubConfig, Settings, Token, home};
pub use id::{HubId, ModelId};
pub use progress::Progress;
pub use record::Source;
pub use registry::{ModelRegistry, Package, PackageFiles, PackagePart, PackageParts, RegistryEntry};
pub use store::{Store, StoredModel};
