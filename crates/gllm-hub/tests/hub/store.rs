//! What is on disk: offline, by hand, damaged, listed, removed.

use std::fs;
use std::path::Path;

use gllm_core::{DownloadProblem, Error};
use gllm_hub::{HubConfig, Source, Store};

use crate::server::{COMMIT, Repo, Server};
use crate::{config_at, id, problem, store_at, temp};

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("create a folder");
    fs::write(path, text).expect("write a file");
}

#[test]
fn offline_uses_what_is_there_and_asks_nobody() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let mut config = config_at(folder.path(), &server);
    config.offline = true;
    let store = Store::new(config);
    let (problem, _) = problem(store.fetch(&id("org/model"), &mut ()));
    assert!(matches!(problem, DownloadProblem::Offline { .. }), "{problem}");

    put(&folder.path().join("models/org--model/config.json"), "{}");
    store.fetch(&id("org/model"), &mut ()).expect("put there by hand");
    assert!(server.log().is_empty());
}

#[test]
fn local_paths_pass_through_or_are_not_found() {
    let folder = temp();
    let store = Store::new(HubConfig::new(folder.path().join("models")));
    let file = folder.path().join("model.gguf");
    put(&file, "x");
    for path in [folder.path(), file.as_path()] {
        let id = id(path.to_str().expect("UTF-8"));
        assert_eq!(store.fetch(&id, &mut ()).expect("a path that exists"), path);
    }
    let error = store.fetch(&id("./no/such/model"), &mut ()).expect_err("not there");
    assert!(matches!(error, Error::ModelNotFound(_)), "{error}");
}

#[test]
fn list_has_downloads_and_models_put_there_by_hand_and_nothing_else() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let store = store_at(folder.path(), &server);
    assert!(store.list().expect("no folder yet").is_empty());
    store.fetch(&id("org/model@v1"), &mut ()).expect("the model");
    let models = folder.path().join("models");
    put(&models.join("by--hand/config.json"), "{}");
    put(&models.join("not--a-model/README.md"), "");
    put(&models.join("notes.txt"), "");
    put(&models.join(".staging/half--done/config.json"), "{}");

    let listed = store.list().expect("the models");

    let found: Vec<_> =
        listed.iter().map(|model| (model.id.to_string(), model.commit.as_deref(), model.source)).collect();
    assert_eq!(
        found,
        [("by/hand".to_owned(), None, None), ("org/model@v1".to_owned(), Some(COMMIT), Some(Source::Hub))]
    );
    assert_eq!(listed[0].bytes, 2);
    assert!(listed[1].bytes > 50_000);
}

#[test]
fn remove_frees_the_model_and_what_is_staged() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let store = store_at(folder.path(), &server);
    let model = store.fetch(&id("org/model"), &mut ()).expect("the model");
    put(&folder.path().join("models/.staging/org--model/x.part"), "12345");
    let bytes = store.list().expect("the models")[0].bytes;

    assert_eq!(store.remove(&id("org/model")).expect("removed"), bytes + 5);

    assert!(!model.exists());
    assert!(!folder.path().join("models/.staging/org--model").exists());
    for absent in ["org/model", "./local"] {
        let error = store.remove(&id(absent)).expect_err(absent);
        assert!(matches!(error, Error::ModelNotFound(_)), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn remove_deletes_links_and_not_what_they_point_to() {
    use std::os::unix::fs::symlink;

    let folder = temp();
    let (elsewhere, models) = (folder.path().join("elsewhere"), folder.path().join("models"));
    put(&elsewhere.join("config.json"), "{}");
    put(&models.join("org--inner/config.json"), "{}");
    symlink(&elsewhere, models.join("org--inner/link")).expect("a link in a model");
    symlink(&elsewhere, models.join("org--outer")).expect("a link as a model");
    let store = Store::new(HubConfig::new(models));

    assert_eq!(store.list().expect("the models").len(), 2);
    store.remove(&id("org/inner")).expect("removed");
    assert_eq!(store.remove(&id("org/outer")).expect("removed"), 0);

    assert!(elsewhere.join("config.json").exists());
    assert!(store.list().expect("the models").is_empty());
}

#[test]
fn a_model_that_lost_a_file_is_completed() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let store = store_at(folder.path(), &server);
    let model = store.fetch(&id("org/model"), &mut ()).expect("the model");
    fs::remove_file(model.join("tokenizer.json")).expect("lose a file");
    assert_eq!(store.find(&id("org/model")), None);

    store.fetch(&id("org/model"), &mut ()).expect("the model");

    assert!(model.join("tokenizer.json").exists());
    assert_eq!(server.asked("tokenizer.json").len(), 2);
    assert_eq!(server.asked("model.safetensors").len(), 1, "what was there is kept");
}

#[test]
fn a_folder_in_the_way_is_not_touched() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let precious = folder.path().join("models/org--model/precious");
    put(&precious, "x");
    let (problem, _) = problem(store_at(folder.path(), &server).fetch(&id("org/model"), &mut ()));
    assert!(matches!(problem, DownloadProblem::Disk { .. }), "{problem}");
    assert!(precious.exists());
}
