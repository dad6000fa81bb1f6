//! Several processes: two that want the same model, one that is killed, one whose disk is full.
//!
//! A child process is this test program again, told by variables to run [`child`] alone.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Reply, Repo, Server};
use crate::{id, store_at, temp};

const FOLDER: &str = "GLLM_TEST_FOLDER";
const ENDPOINT: &str = "GLLM_TEST_ENDPOINT";

/// What a child does; as a test of its own it does nothing.
#[test]
fn child() {
    let (Some(folder), Ok(endpoint)) = (std::env::var_os(FOLDER), std::env::var(ENDPOINT)) else { return };
    let mut config = gllm_hub::HubConfig::new(Path::new(&folder).join("models"));
    config.endpoint = Some(endpoint);
    match gllm_hub::Store::new(config).fetch(&id("org/model"), &mut ()) {
        Ok(model) => println!("fetched {}", model.display()),
        Err(error) => println!("failed: {error}"),
    }
}

/// Runs [`child`], under `shell` if one is given, which then ends in `exec "$@"`.
fn spawn_child(shell: Option<&str>, folder: &Path, server: &Server) -> Child {
    let program = std::env::current_exe().expect("this program");
    let mut command = match shell {
        Some(script) => {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(program);
            command
        }
        None => Command::new(program),
    };
    command
        .args(["--exact", "processes::child", "--nocapture"])
        .env(FOLDER, folder)
        .env(ENDPOINT, server.url(""))
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child process")
}

fn output(child: Child) -> String {
    let output = child.wait_with_output().expect("the child's output");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn assert_fetched_once(server: &Server) {
    for name in ["/config.json", "/tokenizer.json", "/model.safetensors"] {
        let path = format!("/resolve/{}{name}", Repo::model().commit);
        assert_eq!(server.asked(&path).len(), 1, "{name}");
    }
}

#[test]
fn threads_that_want_the_same_model_fetch_it_once() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| store_at(folder.path(), &server).fetch(&id("org/model"), &mut ()).expect("the model"));
        }
    });
    assert_fetched_once(&server);
}

#[test]
fn processes_that_want_the_same_model_fetch_it_once() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let children: Vec<_> = (0..3).map(|_| spawn_child(None, folder.path(), &server)).collect();
    for child in children {
        let output = output(child);
        assert!(output.contains("fetched "), "{output}");
    }
    assert_fetched_once(&server);
}

#[test]
fn a_killed_download_is_no_model_and_is_resumed() {
    const SENT: usize = 20_000;
    let (folder, repo) = (temp(), Repo::model());
    let slow = Server::start(move |request, _| {
        let reply = repo.answer(request);
        let is_weights = request.path.ends_with("model.safetensors");
        if is_weights { Reply { stall: true, ..reply.cut_at(SENT) } } else { reply }
    });
    let mut child = spawn_child(None, folder.path(), &slow);
    let part = folder.path().join("models/.staging/org--model/model.safetensors.part");
    let patience = Instant::now() + Duration::from_secs(20);
    while fs::metadata(&part).map_or(0, |found| found.len()) < SENT as u64 {
        assert!(Instant::now() < patience, "the child got nothing");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("kill the child");
    child.wait().expect("the child's end");

    let server = Server::of(Repo::model());
    let store = store_at(folder.path(), &server);
    assert_eq!(store.find(&id("org/model")), None);
    let model = store.fetch(&id("org/model"), &mut ()).expect("the model");
    assert_eq!(fs::read(model.join("model.safetensors")).expect("weights"), Repo::model().file("model.safetensors"));
    let asked = server.asked("model.safetensors");
    assert_eq!(asked[0].header("range"), Some(format!("bytes={SENT}-").as_str()));
    assert!(server.asked("tokenizer.json").is_empty(), "it was whole already");
}

/// The child may write files of 16 KiB: to the program, its disk is full then.
#[cfg(unix)]
#[test]
fn a_full_disk_is_named_and_the_download_is_resumed_when_there_is_room() {
    let (folder, server) = (temp(), Server::of(Repo::model()));
    let output = output(spawn_child(Some(r#"trap "" XFSZ; ulimit -f 32; exec "$@""#), folder.path(), &server));
    assert!(output.contains("failed: cannot download `model.safetensors` of `org/model`: cannot write `"), "{output}");
    assert!(output.contains("model.safetensors.part`"), "{output}");

    let store = store_at(folder.path(), &server);
    assert_eq!(store.find(&id("org/model")), None);
    store.fetch(&id("org/model"), &mut ()).expect("the model");
}
