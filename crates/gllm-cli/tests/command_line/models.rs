//! `gllm pull`, `list`, `show` and `rm` on a store with a model that was copied there.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{GGUF, Home, MODEL, arg, finish};

const KEYS: [&str; 14] = [
    "alias",
    "architecture",
    "bytes",
    "commit",
    "dimensions",
    "downloaded",
    "file",
    "folder",
    "licence",
    "max_length",
    "model_type",
    "repo_id",
    "revision",
    "source",
];

fn copy(from: &Path, to: &Path) -> u64 {
    fs::create_dir_all(to).expect("a folder");
    let entries = fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if from.is_dir() { copy(&from, &to) } else { fs::copy(&from, &to).expect("a copy") }
        })
        .sum()
}

/// A home whose store has the tiny model under two names, and the bytes of each.
fn stocked() -> (Home, u64) {
    let home = Home::new();
    copy(Path::new(MODEL), &home.path("models/sentence-transformers--all-MiniLM-L6-v2"));
    let bytes = copy(Path::new(MODEL), &home.path("models/someone--tiny@v1"));
    (home, bytes)
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn list_shows_the_store_and_with_all_the_registry() {
    let (home, bytes) = stocked();
    let listed = home.run(&["list", "--json"]).json();
    assert_eq!(listed["models_dir"], arg(&home.path("models")));
    let models = listed["models"].as_array().expect("a list");
    assert_eq!(models.len(), 2);
    assert!(models.iter().all(|model| keys(model) == KEYS));
    assert_eq!(models[0]["alias"], "all-MiniLM-L6-v2");
    assert_eq!((&models[0]["model_type"], &models[0]["dimensions"]), (&json!("embedding"), &json!(384)));
    assert_eq!((&models[1]["repo_id"], &models[1]["revision"]), (&json!("someone/tiny"), &json!("v1")));
    assert_eq!((&models[1]["alias"], &models[1]["bytes"]), (&Value::Null, &json!(bytes)));

    let all = home.run(&["list", "--all", "--json"]).json();
    let all = all["models"].as_array().expect("a list");
    assert!(all.iter().all(|model| keys(model) == KEYS));
    let downloaded = |model: &&Value| model["downloaded"] == true;
    assert_eq!(all.iter().filter(downloaded).count(), 2);
    assert!(all.iter().any(|model| model["alias"] == "bge-small-en" && model["licence"] == "MIT"));

    let table = home.run(&["list", "--all"]);
    let columns: Vec<_> = table.text().lines().filter_map(|line| line.find("  embedding")).collect();
    assert!(columns.len() > 10 && columns.iter().all(|column| *column == columns[0]), "{}", table.text());
    assert!(home.run(&["ls"]).text().contains("someone/tiny@v1"));
    assert!(Home::new().run(&["list"]).text().starts_with("no models in "));
}

#[test]
fn list_shows_models_of_one_type() {
    let (home, _) = stocked();
    let types = |arguments: &[&str]| {
        let listed = home.run(arguments).json();
        let models = listed["models"].as_array().expect("a list").clone();
        models.into_iter().map(|model| model["model_type"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(types(&["list", "--type", "embedding", "--json"]), ["embedding"]);
    let generators = types(&["list", "--all", "--type", "generator", "--json"]);
    assert!(generators.len() > 20 && generators.iter().all(|kind| kind == "generator"));
    assert!(home.run(&["list", "--type", "generator"]).text().starts_with("no models of type generator in "));
}

#[test]
fn models_in_gguf_of_a_repository_go_by_their_files() {
    let home = Home::new();
    let folder = home.path("models/Qwen--Qwen2.5-Coder-0.5B-Instruct-GGUF");
    let (alias, file) = ("qwen2.5-coder-0.5b-instruct", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf");
    fs::create_dir_all(&folder).expect("a folder");
    fs::copy(GGUF, folder.join(file)).expect("a copy");
    let shown = home.run(&["show", alias, "--json"]).json();
    assert_eq!((&shown["file"], &shown["downloaded"]), (&json!(file), &json!(true)));
    assert_eq!((&shown["folder"], &shown["model_type"]), (&json!(arg(&folder.join(file))), &json!("generator")));
    let other = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF:other.gguf";
    assert!(home.run(&["show", other]).error(3).contains(&format!("gllm pull {other}")));
    home.run(&["rm", alias]);
    assert!(!folder.exists());
}

#[test]
fn show_knows_registry_store_and_folders() {
    let (home, bytes) = stocked();
    let shown = home.run(&["show", "all-minilm-l6-v2", "--json"]).json();
    assert_eq!(keys(&shown), KEYS);
    assert_eq!((&shown["downloaded"], &shown["bytes"]), (&json!(true), &json!(bytes)));
    assert_eq!((&shown["licence"], &shown["max_length"]), (&json!("Apache-2.0"), &json!(256)));

    let absent = home.run(&["show", "bge-small-en", "--json"]).json();
    assert_eq!((&absent["downloaded"], &absent["folder"]), (&json!(false), &Value::Null));
    assert!(home.run(&["show", "bge-small-en"]).text().contains("\ndownloaded    no"));
    assert_eq!(home.run(&["show", "someone/tiny@v1", "--json"]).json()["revision"], "v1");
    assert_eq!(home.run(&["show", MODEL, "--json"]).json()["folder"], MODEL);
    assert_eq!(home.run(&["show", GGUF, "--json"]).json()["folder"], GGUF);
    assert!(home.run(&["show", "someone/else"]).error(3).contains("gllm pull someone/else"));
    home.run(&["show", "./none"]).error(3);
}

#[test]
fn pull_of_a_model_that_is_there_says_where() {
    let (home, _) = stocked();
    assert!(home.run(&["pull", "all-MiniLM-L6-v2"]).text().contains("sentence-transformers--all-MiniLM-L6-v2, "));
    let pulled = home.run(&["pull", "all-MiniLM-L6-v2", "--json"]).json();
    assert_eq!((keys(&pulled), &pulled["downloaded"]), (KEYS.to_vec(), &json!(true)));
}

#[test]
fn model_of_the_store_is_used_by_its_name() {
    let (home, _) = stocked();
    let answer = home.run(&["embed", "--device", "cpu", "a"]).json();
    assert_eq!(answer["model"], "all-MiniLM-L6-v2");
}

#[test]
fn rm_frees_a_model_and_says_how_much() {
    let (home, bytes) = stocked();
    let removed = home.run(&["rm", "all-MiniLM-L6-v2", "--json"]).json();
    assert_eq!(removed, json!({"model": "sentence-transformers/all-MiniLM-L6-v2", "freed_bytes": bytes}));
    assert!(!home.path("models/sentence-transformers--all-MiniLM-L6-v2").exists());
    assert!(home.run(&["rm", "someone/tiny@v1"]).text().starts_with("removed `someone/tiny@v1`, freed "));
    home.run(&["rm", "all-MiniLM-L6-v2"]).error(3);
    home.run(&["rm", MODEL]).error(3);
    assert!(Path::new(MODEL).exists());
}

#[test]
fn gguf_file_is_a_model_by_its_path_and_in_the_store() {
    let home = Home::new();
    let path = home.path("tiny.gguf");
    fs::copy(GGUF, &path).expect("a copy");
    let embed = |model: &str| {
        let mut command = home.command(&["embed", "--device", "cpu", "--model", model, "the first man"]);
        let answer = finish(command.current_dir(home.path(""))).json();
        assert_eq!(answer["model"], model);
        answer["data"][0]["embedding"].as_array().expect("a vector").clone()
    };
    let vector = embed(arg(&path));
    assert_eq!(vector.len(), 32);
    assert_eq!(embed("./tiny.gguf"), vector);

    let folder = home.path("models/someone--in-gguf");
    fs::create_dir_all(&folder).expect("a folder");
    fs::rename(&path, folder.join("tiny.gguf")).expect("a model in the store");
    assert_eq!(embed("someone/in-gguf"), vector);
    assert_eq!(home.run(&["show", "someone/in-gguf", "--json"]).json()["downloaded"], true);
}
