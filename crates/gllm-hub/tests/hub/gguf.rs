//! Models in GGUF, of which a repository holds several: each by its file, and beside the others.

use std::fs;
use std::path::Path;
use std::thread;

use gllm_core::{DownloadProblem, Error};
use gllm_hub::Store;

use crate::server::{Reply, Repo, Server};
use crate::{config_at, id, problem, store_at, temp};

/// Three models in GGUF, one of them in shards, and a picture.
fn repo() -> Repo {
    let bytes = |seed: u8| (0..20_000_u32).map(|i| (i % 251) as u8 ^ seed).collect::<Vec<u8>>();
    let names = ["a.gguf", "b.gguf", "q8/c-00001-of-00002.gguf", "q8/c-00002-of-00002.gguf", "picture.png"];
    let files = names.iter().zip(1..).map(|(name, seed)| ((*name).to_owned(), bytes(seed))).collect();
    Repo { files, ..Repo::model() }
}

/// A repository with a model in safetensors and one in GGUF.
fn mixed() -> Repo {
    let mut repo = Repo::model();
    repo.files.push(("a.gguf".to_owned(), repo.file("model.safetensors").to_vec()));
    repo
}

fn listed(store: &Store) -> Vec<String> {
    store.list().expect("the models").iter().map(|model| model.id.to_string()).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_downloaded_alone_and_lies_in_the_repositories_folder() {
    let (folder, server) = (temp(), Server::of(repo()));
    let store = store_at(folder.path(), &server);

    let path = store.fetch(&id("org/model:a.gguf"), &mut ()).expect("the model");

    let home = folder.path().join("models/org--model");
    assert_eq!(path, home.join("a.gguf"));
    assert_eq!(fs::read(&path).expect("the file"), repo().file("a.gguf"));
    assert_eq!(names(&home), [".a.gguf.gllm.json", "a.gguf"]);
    assert_eq!(server.log().len(), 2, "the list and the file");
    assert_eq!(store.find(&id("org/model:a.gguf")), Some(path.clone()));
    assert_eq!([store.find(&id("org/model")), store.find(&id("org/model:b.gguf"))], [None, None]);
    let stored = &store.list().expect("the models")[0];
    assert_eq!((stored.id.to_string().as_str(), &stored.folder), ("org/model:a.gguf", &path));
    assert!(stored.bytes > 20_000 && stored.commit.is_some());
}

#[test]
fn all_shards_come_and_one_that_got_lost_comes_again() {
    let (folder, server) = (temp(), Server::of(repo()));
    let store = store_at(folder.path(), &server);
    let model = id("org/model:q8/c-00001-of-00002.gguf@v1");
    let home = folder.path().join("models/org--model@v1/q8");
    assert_eq!(store.fetch(&model, &mut ()).expect("the model"), home.join("c-00001-of-00002.gguf"));
    assert_eq!(fs::read(home.join("c-00002-of-00002.gguf")).expect("it"), repo().file("q8/c-00002-of-00002.gguf"));

    fs::remove_file(home.join("c-00002-of-00002.gguf")).expect("lose a shard");
    assert_eq!(store.find(&model), None);
    store.fetch(&model, &mut ()).expect("the model");

    assert_eq!((server.asked("c-00001-of-00002.gguf").len(), server.asked("c-00002-of-00002.gguf").len()), (1, 2));
    let names = names(&home);
    assert_eq!(names, [".c-00001-of-00002.gguf.gllm.json", "c-00001-of-00002.gguf", "c-00002-of-00002.gguf"]);
}

#[test]
fn models_of_a_repository_come_and_go_without_the_others() {
    let (folder, server) = (temp(), Server::of(repo()));
    let store = store_at(folder.path(), &server);
    let [a, b, c] = ["org/model:a.gguf", "org/model:b.gguf", "org/model:q8/c-00001-of-00002.gguf"].map(id);
    for model in [&a, &b, &c] {
        store.fetch(model, &mut ()).expect("the model");
    }
    assert_eq!(listed(&store), [&a, &b, &c].map(ToString::to_string));

    assert!(store.remove(&c, &mut ()).expect("removed") > 40_000);
    assert!(!folder.path().join("models/org--model/q8").exists());
    assert!(store.remove(&a, &mut ()).expect("removed") > 20_000);
    assert_eq!(listed(&store), [b.to_string()]);
    assert!(matches!(store.remove(&a, &mut ()), Err(Error::ModelNotFound(_))));

    store.remove(&id("org/model"), &mut ()).expect("the rest");
    assert!(!folder.path().join("models/org--model").exists());
}

#[test]
fn two_at_a_time_do_not_meet() {
    let (folder, server) = (temp(), Server::of(repo()));
    let store = store_at(folder.path(), &server);
    thread::scope(|scope| {
        for model in ["org/model:a.gguf", "org/model:b.gguf", "org/model:q8/c-00001-of-00002.gguf"] {
            let store = &store;
            scope.spawn(move || store.fetch(&id(model), &mut ()).expect("the model"));
        }
    });
    assert_eq!(listed(&store).len(), 3);
    assert_eq!(names(&folder.path().join("models/.staging")), Vec::<String>::new());
}

#[test]
fn a_model_in_safetensors_and_one_in_gguf_share_a_folder() {
    for order in [["org/model", "org/model:a.gguf"], ["org/model:a.gguf", "org/model"]] {
        let (folder, server) = (temp(), Server::of(mixed()));
        let store = store_at(folder.path(), &server);
        for model in order {
            store.fetch(&id(model), &mut ()).expect(model);
        }
        let home = folder.path().join("models/org--model");
        assert_eq!(store.find(&id("org/model")), Some(home.clone()));
        assert_eq!(store.find(&id("org/model:a.gguf")), Some(home.join("a.gguf")));
        assert_eq!(listed(&store), ["org/model", "org/model:a.gguf"]);

        fs::remove_file(home.join("config.json")).expect("lose a file");
        store.fetch(&id("org/model"), &mut ()).expect("the model again");
        assert_eq!(server.asked("a.gguf").len(), 1);
        assert_eq!(listed(&store).len(), 2);
    }
}

#[test]
fn an_interrupted_file_is_resumed() {
    let (folder, repo) = (temp(), repo());
    let server = Server::start(move |request, before| match (request.path.ends_with("a.gguf"), before) {
        (true, 0) => repo.answer(request).cut_at(7_000),
        (true, 1..=5) => Reply::hang_up(),
        _ => repo.answer(request),
    });
    let store = store_at(folder.path(), &server);
    let (problem, file) = problem(store.fetch(&id("org/model:a.gguf"), &mut ()));
    assert!(matches!(problem, DownloadProblem::Interrupted { received: 7_000, .. }), "{problem}");
    assert_eq!(file.as_deref(), Some("a.gguf"));

    store.fetch(&id("org/model:b.gguf"), &mut ()).expect("another model of the repository");
    store.fetch(&id("org/model:a.gguf"), &mut ()).expect("the rest");
    let asked = server.asked("a.gguf");
    assert_eq!(asked.last().and_then(|request| request.header("range")), Some("bytes=7000-"));
}

#[test]
fn one_of_several_must_be_named_and_must_be_there() {
    let (folder, server) = (temp(), Server::of(repo()));
    let store = store_at(folder.path(), &server);
    for name in ["org/model", "org/model:d.gguf"] {
        let error = store.fetch(&id(name), &mut ()).expect_err(name);
        assert!(matches!(error, Error::ModelNotFound(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("`org/model:b.gguf`") && text.contains("`org/model:q8/c-00001-of-00002.gguf`"), "{text}");
    }
    assert!(!folder.path().join("models/org--model").exists());
}

#[test]
fn the_only_one_needs_no_name() {
    let mut repo = repo();
    repo.files.retain(|(name, _)| matches!(name.as_str(), "a.gguf" | "picture.png"));
    let (folder, server) = (temp(), Server::of(repo));
    let store = store_at(folder.path(), &server);
    let path = store.fetch(&id("org/model"), &mut ()).expect("the model");
    assert_eq!(path, folder.path().join("models/org--model/a.gguf"));
    assert_eq!(store.find(&id("org/model:a.gguf")), Some(path));
    assert_eq!(listed(&store), ["org/model"]);
}

#[test]
fn a_file_that_was_put_there_by_hand_is_found() {
    let (folder, server) = (temp(), Server::of(repo()));
    let mut config = config_at(folder.path(), &server);
    config.offline = true;
    let store = Store::new(config);
    let home = folder.path().join("models/org--model");
    fs::create_dir_all(&home).expect("a folder");
    fs::write(home.join("a.gguf"), "x").expect("a file");
    assert_eq!(store.fetch(&id("org/model:a.gguf"), &mut ()).expect("it"), home.join("a.gguf"));
    assert_eq!(store.fetch(&id("org/model"), &mut ()).expect("it"), home);
    assert_eq!(store.remove(&id("org/model:a.gguf"), &mut ()).expect("removed"), 1);
    assert!(!home.exists());
}
