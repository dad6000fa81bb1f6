//! `general.…`: where a model comes from, what it is called, and under which licence.
//!
//! What its card states comes first; then the name in `config.json`, then that of its folder are taken apart. Source:
//! `Metadata` of llama.cpp's `gguf-py`.

use std::path::Path;

use gllm_core::Result;
use serde::Deserialize;

use super::card::Card;
use super::metadata::Entries;
use super::model_name::{ModelName, size_label, title};
use crate::config::read_json;

#[derive(Default, Deserialize)]
struct File {
    #[serde(rename = "_name_or_path")]
    name_or_path: Option<String>,
}

/// `generation_config.json`: how the publisher would have it sampled.
#[derive(Default, Deserialize)]
struct Generation {
    top_k: Option<u32>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    temperature: Option<f32>,
    repetition_penalty: Option<f32>,
}

/// Fields of a card, and the keys that say the same. A later field of the same key holds where the earlier isn't there.
const STATED: [(&str, &[&str]); 10] = [
    ("general.name", &["name", "model_name"]),
    ("general.author", &["author", "model_author", "model_creator"]),
    ("general.version", &["version", "model_version"]),
    ("general.organization", &["organization", "model_organization"]),
    ("general.description", &["description", "model_description"]),
    ("general.finetune", &["finetune", "model_finetune"]),
    ("general.basename", &["basename", "model_basename", "model_type"]),
    ("general.size_label", &["size_label", "model_size_label"]),
    ("general.license", &["license"]),
    ("general.license.name", &["license_name"]),
];

/// Writes what is known of the model in `folder`, which has so many `parameters`.
pub(super) fn write(folder: &Path, parameters: usize, entries: &mut Entries) -> Result<()> {
    let card = Card::read(folder);
    for (key, fields) in STATED {
        if let Some(text) = card.text(fields) {
            entries.text(key, text);
        }
    }
    if let Some(link) = card.text(&["license_link"]) {
        entries.text("general.license.link", link);
    }
    let file: File = read_json(&folder.join("config.json"))?.unwrap_or_default();
    // A path on somebody's disk isn't a name.
    let published = file.name_or_path.filter(|name| name.matches('/').count() <= 1 && !name.is_empty());
    let folder_name = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let folder_name = folder_name.file_name().map(|name| name.to_string_lossy().into_owned());
    for id in published.into_iter().chain(folder_name) {
        let name = ModelName::parse(&id, parameters);
        let parts = [
            ("general.name", Some(title(&name.name))),
            ("general.organization", name.organization.as_deref().map(title)),
            ("general.basename", name.basename),
            ("general.finetune", name.finetune),
            ("general.version", name.version),
            ("general.size_label", name.size_label),
        ];
        for (key, part) in parts {
            if let Some(part) = part {
                entries.text(key, &part);
            }
        }
    }
    entries.text("general.size_label", &size_label(parameters));
    write_lists(&card, parameters, entries);
    write_sampling(&read_json(&folder.join("generation_config.json"))?.unwrap_or_default(), entries);
    Ok(())
}

fn write_lists(card: &Card, parameters: usize, entries: &mut Entries) {
    let sources = [
        ("base_model", card.list(&["base_model", "base_models", "base_model_sources"])),
        ("dataset", card.list(&["datasets", "dataset", "dataset_sources"])),
    ];
    for (kind, ids) in sources.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        entries.u32(&format!("general.{kind}.count"), ids.len() as u32);
        for (index, id) in ids.iter().enumerate() {
            write_source(&format!("general.{kind}.{index}"), id, parameters, entries);
        }
    }
    let tags = [card.list(&["tags"]), card.list(&["pipeline_tag"])].concat();
    let languages = [card.list(&["languages"]), card.list(&["language"])].concat();
    for (key, texts) in [("general.tags", tags), ("general.languages", languages)] {
        if !texts.is_empty() {
            entries.texts(key, texts);
        }
    }
}

/// Writes a repository, or the address of one, below `key`.
fn write_source(key: &str, id: &str, parameters: usize, entries: &mut Entries) {
    const HUB: &str = "https://huggingface.co/";
    let is_address = ["http://", "https://", "ssh://"].iter().any(|scheme| id.starts_with(scheme));
    let repository = id.strip_prefix(HUB).filter(|name| name.split('/').count() == 2);
    if is_address {
        entries.text(&format!("{key}.repo_url"), id);
    }
    let Some(id) = repository.or(Some(id).filter(|_| !is_address)) else { return };
    let name = ModelName::parse(id, parameters);
    entries.text(&format!("{key}.name"), &title(&name.name));
    if let Some(version) = &name.version {
        entries.text(&format!("{key}.version"), version);
    }
    if let Some(organization) = &name.organization {
        entries.text(&format!("{key}.organization"), &title(organization));
        entries.text(&format!("{key}.repo_url"), &format!("{HUB}{organization}/{}", name.name));
    }
}

fn write_sampling(generation: &Generation, entries: &mut Entries) {
    if let Some(top_k) = generation.top_k {
        entries.i32("general.sampling.top_k", i32::try_from(top_k).unwrap_or(i32::MAX));
    }
    let numbers = [
        ("top_p", generation.top_p),
        ("min_p", generation.min_p),
        ("temp", generation.temperature),
        ("penalty_repeat", generation.repetition_penalty),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            entries.f32(&format!("general.sampling.{name}"), number);
        }
    }
}
