//! `gllm pull`, `list`, `show` and `rm`: the models of the registry and of the store.

use std::fmt::{self, Display};
use std::path::PathBuf;

use gllm::hub::{HubConfig, ModelId, ModelRegistry, RegistryEntry, Source, Store, StoredModel};
use gllm::{Architecture, Error, ModelNotFound, ModelType};
use indicatif::DecimalBytes;
use serde::Serialize;

use crate::args::{ListArgs, NameArgs};
use crate::console::{Console, answer, answer_json};
use crate::exit::Failure;
use crate::progress::DownloadBar;
use crate::table::table;

/// What is known of a model; the form of `--json`. What isn't known is null.
#[derive(Debug, Serialize)]
struct Known {
    alias: Option<String>,
    repo_id: Option<String>,
    file: Option<String>,
    revision: Option<String>,
    model_type: Option<ModelType>,
    architecture: Option<Architecture>,
    dimensions: Option<usize>,
    max_length: Option<usize>,
    licence: Option<String>,
    downloaded: bool,
    folder: Option<PathBuf>,
    bytes: Option<u64>,
    commit: Option<String>,
    source: Option<Source>,
}

/// `gllm list --json`.
#[derive(Debug, Serialize)]
struct Listing {
    models_dir: PathBuf,
    models: Vec<Known>,
}

/// `gllm rm --json`.
#[derive(Debug, Serialize)]
struct Removed {
    model: String,
    freed_bytes: u64,
}

/// Downloads a model and says where it is.
pub(crate) fn pull(args: &NameArgs, console: Console) -> Result<(), Failure> {
    let store = store()?;
    let id = ModelId::parse(&args.model)?;
    let folder = store.fetch(&id, &mut DownloadBar::new(&args.model, console))?;
    let model = describe(&store, &id)?;
    if args.json {
        return answer_json(&model);
    }
    let size = model.bytes.map_or_else(String::new, |bytes| format!(", {}", DecimalBytes(bytes)));
    answer(format_args!("`{id}` is in {}{size}", folder.display()))
}

/// Lists the store, and with `--all` the rest of the registry; of one type if one is given.
pub(crate) fn list(args: &ListArgs) -> Result<(), Failure> {
    let store = store()?;
    let registry = ModelRegistry::builtin();
    let stored = store.list()?;
    let mut models = Vec::new();
    if args.all {
        // In the registry's order, each with its default revision.
        for entry in registry.models().filter_map(|info| registry.get(&info.alias)) {
            let is_it = |model: &&StoredModel| {
                let known = registry.entry(&model.id).map(|entry| &entry.info.alias);
                model.id.is_default_revision() && known == Some(&entry.info.alias)
            };
            models.push(Known::new(Some(entry), stored.iter().find(is_it)));
        }
    }
    for model in &stored {
        let entry = registry.entry(&model.id);
        let is_listed = args.all && entry.is_some() && model.id.is_default_revision();
        if !is_listed {
            models.push(Known::new(entry, Some(model)));
        }
    }
    if let Some(wanted) = args.model_type.map(ModelType::from) {
        models.retain(|model| model.model_type == Some(wanted));
    }
    let models = Listing { models_dir: store.config().models_dir.clone(), models };
    if args.json {
        answer_json(&models)
    } else if models.models.is_empty() {
        let kind = args.model_type.map_or_else(String::new, |kind| format!(" of type {}", ModelType::from(kind)));
        let dir = models.models_dir.display();
        answer(format_args!("no models{kind} in {dir}; `gllm list --all` shows what there is"))
    } else {
        answer(models)
    }
}

/// Says what is known of a model, without the network.
pub(crate) fn show(args: &NameArgs) -> Result<(), Failure> {
    let model = describe(&store()?, &ModelId::parse(&args.model)?)?;
    if args.json { answer_json(&model) } else { answer(model) }
}

/// Deletes a model of the store.
pub(crate) fn rm(args: &NameArgs, console: Console) -> Result<(), Failure> {
    let id = ModelId::parse(&args.model)?;
    let removed = store()?.remove(&id, &mut DownloadBar::new(&args.model, console));
    let freed_bytes = removed.map_err(|error| match Failure::from(error) {
        // There is no download that would go on.
        Failure::Interrupted(_) => Failure::Interrupted(None),
        failure => failure,
    })?;
    if args.json {
        return answer_json(&Removed { model: id.to_string(), freed_bytes });
    }
    answer(format_args!("removed `{id}`, freed {}", DecimalBytes(freed_bytes)))
}

fn store() -> Result<Store, Failure> {
    Ok(Store::new(HubConfig::from_env()?))
}

/// What the registry and the store know; `ModelNotFound` if neither knows it.
fn describe(store: &Store, id: &ModelId) -> Result<Known, Failure> {
    let unknown =
        |reason: String| Error::from(ModelNotFound { model: id.to_string(), reason, suggestions: Vec::new() });
    let ModelId::Hub(hub) = id else {
        let path = store.find(id).ok_or_else(|| unknown(format!("there is no `{id}`")))?;
        return Ok(Known { folder: Some(path), downloaded: true, ..Known::new(None, None) });
    };
    let stored = store.get(hub);
    let entry = ModelRegistry::builtin().entry(hub);
    if stored.is_none() && entry.is_none() {
        let dir = store.config().models_dir.display();
        return Err(unknown(format!("it has no alias and is not in `{dir}`; `gllm pull {id}` gets it")).into());
    }
    Ok(Known { revision: Some(hub.revision().to_owned()), ..Known::new(entry, stored.as_ref()) })
}

impl Known {
    fn new(entry: Option<&RegistryEntry>, stored: Option<&StoredModel>) -> Self {
        let info = entry.map(|entry| &entry.info);
        let repo_id = stored.map(|model| model.id.repo_id()).or(info.map(|info| info.repo_id.as_str()));
        let file = match stored {
            Some(model) => model.id.file(),
            None => entry.and_then(|entry| entry.file.as_deref()),
        };
        Self {
            alias: info.map(|info| info.alias.clone()),
            repo_id: repo_id.map(str::to_owned),
            file: file.map(str::to_owned),
            revision: stored.map(|model| model.id.revision().to_owned()),
            model_type: info.map(|info| info.model_type),
            architecture: info.map(|info| info.architecture.clone()),
            dimensions: info.and_then(|info| info.dimensions),
            max_length: info.and_then(|info| info.max_length),
            licence: entry.and_then(|entry| entry.licence.clone()),
            downloaded: stored.is_some(),
            folder: stored.map(|model| model.folder.clone()),
            bytes: stored.map(|model| model.bytes),
            commit: stored.and_then(|model| model.commit.clone()),
            source: stored.and_then(|model| model.source),
        }
    }

    /// The alias where there is one, with the revision where it isn't the default.
    fn name(&self) -> String {
        let in_hub = |repo_id: &String| match &self.file {
            Some(file) => format!("{repo_id}:{file}"),
            None => repo_id.clone(),
        };
        let name = self.alias.clone().or(self.repo_id.as_ref().map(in_hub)).unwrap_or_default();
        match self.revision.as_deref() {
            None | Some("main") => name,
            Some(revision) => format!("{name}@{revision}"),
        }
    }
}

impl Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.downloaded { "yes" } else { "no" };
        let lines = [
            ("alias", self.alias.clone()),
            ("repository", self.repo_id.clone()),
            ("file", self.file.clone()),
            ("revision", self.revision.clone()),
            ("type", shown(self.model_type)),
            ("architecture", shown(self.architecture.as_ref())),
            ("dimensions", shown(self.dimensions)),
            ("max length", shown(self.max_length.map(|tokens| format!("{tokens} tokens")))),
            ("licence", self.licence.clone()),
            ("downloaded", Some(state.to_owned())),
            ("folder", shown(self.folder.as_ref().map(|folder| folder.display()))),
            ("size", shown(self.bytes.map(DecimalBytes))),
            ("commit", self.commit.clone()),
            ("source", self.source.map(|source| source_name(source).to_owned())),
        ];
        let known: Vec<_> = lines.into_iter().filter_map(|(key, value)| Some(format!("{key:<14}{}", value?))).collect();
        f.write_str(&known.join("\n"))
    }
}

impl Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = ["MODEL", "TYPE", "DIM", "TOKENS", "LICENCE", "ON DISK", "REPOSITORY"].map(str::to_owned);
        let rows = self.models.iter().map(|model| {
            let unknown = || "-".to_owned();
            [
                model.name(),
                shown(model.model_type).unwrap_or_else(unknown),
                shown(model.dimensions).unwrap_or_else(unknown),
                shown(model.max_length).unwrap_or_else(unknown),
                model.licence.clone().unwrap_or_else(unknown),
                shown(model.bytes.map(DecimalBytes)).unwrap_or_else(|| "no".to_owned()),
                model.repo_id.clone().unwrap_or_else(unknown),
            ]
        });
        let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
        f.write_str(&table(&rows))
    }
}

fn shown<T: Display>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Hub => "the Hub",
        Source::Package => "a Python package",
        _ => "elsewhere",
    }
}
