//! Downloads that go as they should.

use std::cell::Cell;
use std::fs;

use gllm_core::DownloadProblem;
use gllm_hub::{Progress, Store, Token};

use crate::server::{COMMIT, Reply, Repo, Server, ranged, sha256};
use crate::{config_at, id, problem, store_at, temp};

#[test]
fn a_model_arrives_whole_and_only_what_it_needs() {
    let (folder, repo) = (temp(), Repo::model());
    let server = Server::of(repo.clone());
    let store = store_at(folder.path(), &server);
    assert_eq!(store.find(&id("org/model")), None);

    let model = store.fetch(&id("org/model"), &mut ()).expect("the model");

    assert_eq!(model, folder.path().join("models/org--model"));
    for name in ["config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors"] {
        assert_eq!(fs::read(model.join(name)).expect(name), repo.file(name), "{name}");
    }
    for name in ["onnx", "pytorch_model.bin", "README.md"] {
        assert!(!model.join(name).exists(), "{name}");
        assert!(server.asked(name).is_empty(), "{name}");
    }
    assert!(server.log()[0].path.ends_with("/api/models/org/model/revision/main?blobs=true"), "{:?}", server.log());
    assert!(!folder.path().join("models/.staging/org--model").exists());
}

#[test]
fn pickled_weights_and_heads_arrive_where_there_are_no_safetensors() {
    let (folder, mut repo) = (temp(), Repo::model());
    repo.files.retain(|(name, _)| name != "model.safetensors");
    repo.files.push(("sparse_linear.pt".to_owned(), b"head".to_vec()));
    let server = Server::of(repo.clone());
    let store = store_at(folder.path(), &server);

    let model = store.fetch(&id("org/model"), &mut ()).expect("the model");

    for name in ["pytorch_model.bin", "sparse_linear.pt"] {
        assert_eq!(fs::read(model.join(name)).expect(name), repo.file(name), "{name}");
    }
    assert_eq!(store.find(&id("org/model")), Some(model.clone()));
    assert_eq!(store.list().expect("the models").len(), 1);
    fs::remove_file(model.join("pytorch_model.bin")).expect("lose the weights");
    assert_eq!(store.find(&id("org/model")), None, "a model without its weights is no whole model");
}

#[test]
fn the_record_states_commit_sizes_and_hashes() {
    let (folder, repo) = (temp(), Repo::model());
    let server = Server::of(repo.clone());
    let model = store_at(folder.path(), &server).fetch(&id("org/model"), &mut ()).expect("the model");
    let text = fs::read(model.join(".gllm.json")).expect("the record");
    let record: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(
        (&record["repo_id"], &record["commit"], &record["source"]),
        (&"org/model".into(), &COMMIT.into(), &"hub".into())
    );
    let files = record["files"].as_array().expect("files");
    let weights = files.iter().find(|file| file["name"] == "model.safetensors").expect("the weights");
    assert_eq!(weights["size"], 50_000);
    assert_eq!(weights["sha256"], sha256(repo.file("model.safetensors")));
}

#[test]
fn a_second_fetch_asks_nobody() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let store = store_at(folder.path(), &server);
    let first = store.fetch(&id("org/model"), &mut ()).expect("the model");
    let asked = server.log().len();
    assert_eq!(store.fetch(&id("org/model"), &mut ()).expect("the model"), first);
    assert_eq!(server.log().len(), asked);
}

#[test]
fn the_token_goes_to_the_endpoint_and_not_along_a_redirect() {
    let (folder, repo) = (temp(), Repo::model());
    let weights = repo.file("model.safetensors").to_vec();
    let cdn = Server::start(move |request, _| ranged(request, &weights));
    let blob = cdn.url("/blob?signature=x");
    let hub = Server::start(move |request, _| {
        // A gated repository: nothing without the token.
        if request.header("authorization") != Some("Bearer hf_secret") {
            return Reply::status(401);
        }
        match request.path.strip_suffix("/model.safetensors") {
            // First to another path of the Hub, as after a repository was renamed, then to another host.
            Some(path) if path.starts_with("/org/") => Reply::redirect("/renamed/model.safetensors"),
            Some(_) => repo.headers(Reply::redirect(&blob), repo.file("model.safetensors")),
            None => repo.answer(request),
        }
    });
    let mut config = config_at(folder.path(), &hub);
    config.token = Some(Token::new("hf_secret").expect("a token"));

    Store::new(config).fetch(&id("org/model"), &mut ()).expect("the model");

    assert_eq!(cdn.log().len(), 1);
    assert_eq!(cdn.log()[0].header("authorization"), None);
}

#[test]
fn the_token_does_not_go_along_a_redirect_of_the_list_of_files() {
    let (folder, repo) = (temp(), Repo::model());
    // The same host, another port.
    let other = Server::of(repo.clone());
    let listing = other.url("/api/models/org/model");
    let hub =
        Server::start(
            move |request, _| {
                if request.path.starts_with("/api/") { Reply::redirect(&listing) } else { repo.answer(request) }
            },
        );
    let mut config = config_at(folder.path(), &hub);
    config.token = Some(Token::new("hf_secret").expect("a token"));

    Store::new(config).fetch(&id("org/model"), &mut ()).expect("the model");

    assert_eq!(hub.log()[0].header("authorization"), Some("Bearer hf_secret"));
    assert_eq!(other.log().len(), 1);
    assert_eq!(other.log()[0].header("authorization"), None);
}

#[test]
fn a_revision_has_its_own_folder_and_its_commit_is_pinned() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let store = store_at(folder.path(), &server);
    let model = store.fetch(&id("org/model@refs/pr/1"), &mut ()).expect("the model");
    assert_eq!(model, folder.path().join("models/org--model@refs--pr--1"));
    assert!(server.log()[0].path.contains("/revision/refs%2Fpr%2F1"), "{:?}", server.log());
    assert!(server.log()[1..].iter().all(|request| request.path.contains(&format!("/resolve/{COMMIT}/"))));
    assert_eq!(store.find(&id("org/model")), None);
}

#[test]
fn a_commit_that_was_asked_for_must_be_the_one_that_comes() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let store = store_at(folder.path(), &server);
    store.fetch(&id(&format!("org/model@{COMMIT}")), &mut ()).expect("the commit of the server");
    let other = format!("org/model@{}", "f".repeat(40));
    let (problem, _) = problem(store.fetch(&id(&other), &mut ()));
    assert!(matches!(problem, DownloadProblem::Protocol { .. }), "{problem}");
}

/// Notes what it hears, and cancels at a position.
#[derive(Default)]
struct Listener {
    started: Option<(usize, Option<u64>)>,
    files: Vec<String>,
    done: Cell<u64>,
    cancel_at: Option<u64>,
}

impl Progress for Listener {
    fn started(&mut self, files: usize, total_bytes: Option<u64>) {
        self.started = Some((files, total_bytes));
    }

    fn file(&mut self, name: &str, _bytes: Option<u64>) {
        self.files.push(name.to_owned());
    }

    fn advanced(&mut self, done_bytes: u64) {
        self.done.set(done_bytes);
    }

    fn cancelled(&self) -> bool {
        self.cancel_at.is_some_and(|at| self.done.get() >= at)
    }
}

#[test]
fn progress_hears_files_and_bytes() {
    let (folder, repo) = (temp(), Repo::model());
    let server = Server::of(repo.clone());
    let mut listener = Listener::default();
    store_at(folder.path(), &server).fetch(&id("org/model"), &mut listener).expect("the model");
    let names = ["config.json", "tokenizer.json", "1_Pooling/config.json", "model.safetensors"];
    let total = names.iter().map(|name| repo.file(name).len() as u64).sum();
    assert_eq!(listener.started, Some((4, Some(total))));
    assert_eq!(listener.files, names);
    assert_eq!(listener.done.get(), total);
}

#[test]
fn a_cancelled_download_is_resumed() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let store = store_at(folder.path(), &server);
    let mut listener = Listener { cancel_at: Some(100), ..Listener::default() };
    let (problem, _) = problem(store.fetch(&id("org/model"), &mut listener));
    assert!(matches!(problem, DownloadProblem::Cancelled), "{problem}");
    assert_eq!(store.find(&id("org/model")), None);

    store.fetch(&id("org/model"), &mut ()).expect("the model");
    assert_eq!(server.asked("/config.json").len(), 2, "config.json and 1_Pooling/config.json, once each");
}
