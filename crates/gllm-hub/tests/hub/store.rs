//! What is on disk: offline, by hand, damaged, listed, removed.

use std::fs;
use std::path::Path;

use gllm_core::{DownloadProblem, Error};
use gllm_hub::{HubConfig, Progress, Source, Store};

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

    assert_eq!(store.remove(&id("org/model"), &mut ()).expect("removed"), bytes + 5);

    assert!(!model.exists());
    assert!(!folder.path().join("models/.staging/org--model").exists());
    for absent in ["org/model", "./local"] {
        let error = store.remove(&id(absent), &mut ()).expect_err(absent);
        assert!(matches!(error, Error::ModelNotFound(_)), "{error}");
    }
}

/// Waits until it is told why.
#[derive(Debug, Default)]
struct Impatient {
    notices: Vec<String>,
}

impl Progress for Impatient {
    fn notice(&mut self, text: &str) {
        self.notices.push(text.to_owned());
    }

    fn cancelled(&self) -> bool {
        !self.notices.is_empty()
    }
}

#[test]
fn remove_says_that_another_process_works_on_the_model_and_can_be_cancelled() {
    let folder = temp();
    let (models, mut impatient) = (folder.path().join("models"), Impatient::default());
    let (config, lock) = (models.join("org--model/config.json"), models.join(".locks/org--model.lock"));
    put(&config, "{}");
    put(&lock, "");
    let held = fs::File::open(&lock).expect("the lock's file");
    held.lock().expect("the lock");
    let store = Store::new(HubConfig::new(&models));

    let (problem, _) = problem(store.remove(&id("org/model"), &mut impatient));

    assert!(matches!(problem, DownloadProblem::Cancelled), "{problem}");
    assert!(impatient.notices.len() == 1 && impatient.notices[0].contains("another process"), "{impatient:?}");
    assert!(config.exists());

    drop(held);
    assert_eq!(store.remove(&id("org/model"), &mut impatient).expect("removed"), 2);
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
    store.remove(&id("org/inner"), &mut ()).expect("removed");
    assert_eq!(store.remove(&id("org/outer"), &mut ()).expect("removed"), 0);

    assert!(elsewhere.join("config.json").exists());
    assert!(store.list().expect("the models").is_empty());
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_store_is_refused() {
    use std::os::unix::fs::symlink;

    let folder = temp();
    let (elsewhere, models) = (folder.path().join("elsewhere"), folder.path().join("models"));
    put(&elsewhere.join("config.json"), "{}");
    put(&models.join(".blobs/config.json"), "{}");
    for name in ["within", "file", "below"] {
        put(&models.join(format!("org--{name}/1_Pooling/config.json")), "{}");
    }
    let link = |target: &std::path::Path, name: &str| symlink(target, models.join(name)).expect("a link");
    link(&models.join(".blobs/config.json"), "org--within/config.json");
    link(&elsewhere.join("config.json"), "org--file/config.json");
    put(&models.join("org--below/config.json"), "{}");
    link(&elsewhere.join("config.json"), "org--below/1_Pooling/more.json");
    link(&elsewhere, "org--outer");
    let store = Store::new(HubConfig::new(&models));

    store.fetch(&id("org/within"), &mut ()).expect("a link within the store");
    for (name, link) in [("file", "config.json"), ("below", "more.json"), ("outer", "org--outer")] {
        let error = store.fetch(&id(&format!("org/{name}")), &mut ()).expect_err(name).to_string();
        assert!(error.contains(link) && error.contains("elsewhere"), "{error}");
    }
    store.fetch(&id(&elsewhere.display().to_string()), &mut ()).expect("a path");
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
