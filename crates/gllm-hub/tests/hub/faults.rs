//! Servers and networks that misbehave: each fault ends in the model or in an error that says which it was.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use gllm_core::{DownloadProblem, Error, LoadProblem};
use gllm_hub::{HubConfig, ModelId, Store};

use crate::server::{Reply, Repo, Request, Server, ranged};
use crate::{config_at, id, problem, store_at, temp};

const WEIGHTS: &str = "model.safetensors";

/// Serves [`Repo::model`], but lets `fault` answer for the weights. It gets the number of times they were asked for.
fn faulty(fault: impl Fn(&Repo, &Request, usize) -> Reply + Send + Sync + 'static) -> Server {
    let repo = Repo::model();
    Server::start(
        move |request, before| {
            if request.path.ends_with(WEIGHTS) { fault(&repo, request, before) } else { repo.answer(request) }
        },
    )
}

/// Nor hashes.
fn list_without_sizes() -> Reply {
    Reply::body(format!(
        r#"{{"sha":"{}","siblings":[{{"rfilename":"config.json"}},{{"rfilename":"{WEIGHTS}"}}]}}"#,
        Repo::model().commit
    ))
}

fn fetch(folder: &tempfile::TempDir, server: &Server) -> Result<std::path::PathBuf, Error> {
    store_at(folder.path(), server).fetch(&id("org/model"), &mut ())
}

fn assert_weights(model: &std::path::Path) {
    assert_eq!(fs::read(model.join(WEIGHTS)).expect(WEIGHTS), Repo::model().file(WEIGHTS));
}

fn ranges(server: &Server) -> Vec<Option<String>> {
    server.asked(WEIGHTS).iter().map(|request| request.header("range").map(str::to_owned)).collect()
}

#[test]
fn a_dropped_connection_is_resumed_where_it_broke() {
    let folder = temp();
    let server = faulty(|repo, request, before| {
        let reply = repo.answer(request);
        if before == 0 { reply.cut_at(20_000) } else { reply }
    });
    assert_weights(&fetch(&folder, &server).expect("the model"));
    assert_eq!(ranges(&server), [None, Some("bytes=20000-".to_owned())]);
}

#[test]
fn a_staged_part_is_resumed_by_a_later_store() {
    let folder = temp();
    let broken = faulty(|repo, request, before| match before {
        0 => repo.answer(request).cut_at(30_000),
        _ => Reply::hang_up(),
    });
    let (problem, file) = problem(fetch(&folder, &broken));
    let DownloadProblem::Interrupted { received: 30_000, expected: Some(50_000), .. } = problem else {
        panic!("{problem}")
    };
    assert_eq!(file.as_deref(), Some(WEIGHTS));

    let server = Server::of(Repo::model());
    assert_weights(&fetch(&folder, &server).expect("the model"));
    assert_eq!(ranges(&server), [Some("bytes=30000-".to_owned())]);
}

#[test]
fn a_part_of_another_commit_is_not_used() {
    let folder = temp();
    let broken = faulty(|repo, request, before| match before {
        0 => repo.answer(request).cut_at(100),
        _ => Reply::hang_up(),
    });
    problem(fetch(&folder, &broken));

    let server = Server::of(Repo { commit: "f".repeat(40), ..Repo::model() });
    assert_weights(&fetch(&folder, &server).expect("the model"));
    assert_eq!(ranges(&server), [None]);
}

#[test]
fn a_corrupt_part_is_found_by_its_hash_and_discarded() {
    let folder = temp();
    let broken = faulty(|repo, request, before| match before {
        0 => repo.answer(request).cut_at(100),
        _ => Reply::hang_up(),
    });
    problem(fetch(&folder, &broken));
    let part = folder.path().join("models/.staging/org--model/model.safetensors.part");
    fs::write(&part, [7; 100]).expect("damage the part");

    let server = Server::of(Repo::model());
    let (problem, _) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Hash { .. }), "{problem}");
    assert_weights(&fetch(&folder, &server).expect("the model, from the start"));
}

#[test]
fn a_server_that_ignores_ranges_makes_the_file_start_anew() {
    let folder = temp();
    let server = faulty(|repo, _, before| {
        let reply = Reply::body(repo.file(WEIGHTS));
        if before == 0 { reply.cut_at(20_000) } else { reply }
    });
    assert_weights(&fetch(&folder, &server).expect("the model"));
    assert_eq!(ranges(&server).len(), 2);
}

#[test]
fn a_range_that_starts_elsewhere_is_not_appended() {
    let folder = temp();
    let server = faulty(|repo, request, before| match before {
        0 => repo.answer(request).cut_at(20_000),
        1 => Reply { status: 206, ..Reply::body(&repo.file(WEIGHTS)[10..]) }
            .with("Content-Range", "bytes 10-49999/50000"),
        _ => repo.answer(request),
    });
    assert_weights(&fetch(&folder, &server).expect("the model"));
    assert_eq!(ranges(&server), [None, Some("bytes=20000-".to_owned()), None]);
}

#[test]
fn a_file_that_changes_between_attempts_starts_anew() {
    let folder = temp();
    let server = Server::start(|request, before| match request.path.contains("/resolve/") {
        true if request.path.ends_with(WEIGHTS) => {
            let content = vec![before.min(1) as u8; 5000];
            let reply = ranged(request, &content).with("ETag", format!("\"{}\"", before.min(1)));
            if before == 0 { reply.cut_at(1000) } else { reply }
        }
        true => Repo::model().answer(request),
        // So that only the entity tag tells.
        false => list_without_sizes(),
    });
    let model = fetch(&folder, &server).expect("the model");
    assert_eq!(fs::read(model.join(WEIGHTS)).expect(WEIGHTS), [1; 5000]);
}

#[test]
fn a_file_of_unknown_size_that_breaks_says_what_arrived_and_no_more() {
    let folder = temp();
    let server = Server::start(|request, _| match request.path.contains("/resolve/") {
        true if request.path.ends_with(WEIGHTS) => Reply::hang_up(),
        true => Repo::model().answer(request),
        false => list_without_sizes(),
    });
    let (problem, file) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Interrupted { received: 0, expected: None, .. }), "{problem}");
    assert!(problem.to_string().starts_with("the connection broke after 0 bytes ("), "{problem}");
    assert_eq!(file.as_deref(), Some(WEIGHTS));
}

#[test]
fn unauthorised_and_forbidden_are_denied_at_once() {
    for status in [401, 403] {
        let (folder, server) = (temp(), Server::start(move |_, _| Reply::status(status)));
        let (problem, _) = problem(fetch(&folder, &server));
        assert!(matches!(problem, DownloadProblem::Denied { status: s } if s == status), "{problem}");
        assert_eq!(server.log().len(), 1);
    }
}

#[test]
fn a_gated_file_is_denied_by_name() {
    let (folder, server) = (temp(), faulty(|_, _, _| Reply::status(403)));
    let (problem, file) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Denied { status: 403 }), "{problem}");
    assert_eq!(file.as_deref(), Some(WEIGHTS));
}

#[test]
fn not_found_is_missing_at_once() {
    let (folder, server) = (temp(), Server::start(|_, _| Reply::status(404)));
    let (problem, _) = problem(fetch(&folder, &server));
    let DownloadProblem::Missing { url } = problem else { panic!("{problem}") };
    assert!(url.starts_with(&server.url("/api/models/org/model")), "{url}");
    assert_eq!(server.log().len(), 1);
}

#[test]
fn too_many_requests_waits_as_long_as_it_is_told() {
    let folder = temp();
    let server = faulty(|repo, request, before| match before {
        0 => Reply::status(429).with("Retry-After", "1"),
        _ => repo.answer(request),
    });
    let start = Instant::now();
    assert_weights(&fetch(&folder, &server).expect("the model"));
    assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn server_errors_pass_when_tried_again() {
    let folder = temp();
    let repo = Repo::model();
    let server = Server::start(move |request, before| match before {
        0 => Reply::status(500),
        1 => Reply::status(503),
        _ => repo.answer(request),
    });
    assert_weights(&fetch(&folder, &server).expect("the model"));
}

#[test]
fn server_errors_without_end_are_given_up() {
    let (folder, server) = (temp(), Server::start(|_, _| Reply::status(500)));
    let (problem, _) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Status { status: 500, attempts: 5 }), "{problem}");
    assert_eq!(server.log().len(), 5);
}

#[test]
fn connections_that_always_drop_are_given_up() {
    let (folder, server) = (temp(), faulty(|repo, _, _| Reply::body(repo.file(WEIGHTS)).cut_at(1000)));
    let (problem, _) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Interrupted { expected: Some(50_000), .. }), "{problem}");
}

#[test]
fn a_server_that_falls_silent_is_left_and_the_download_resumed() {
    let folder = temp();
    let server = faulty(|repo, request, before| {
        let reply = repo.answer(request);
        if before == 0 { Reply { stall: true, ..reply.cut_at(20_000) } } else { reply }
    });
    let mut config = config_at(folder.path(), &server);
    config.idle_timeout = Duration::from_millis(500);
    assert_weights(&Store::new(config).fetch(&id("org/model"), &mut ()).expect("the model"));
    assert_eq!(ranges(&server), [None, Some("bytes=20000-".to_owned())]);
}

#[test]
fn a_slow_transfer_may_take_longer_than_the_longest_silence() {
    let folder = temp();
    let server = faulty(|repo, request, _| Reply { pace: Some(Duration::from_millis(100)), ..repo.answer(request) });
    let mut config = config_at(folder.path(), &server);
    config.idle_timeout = Duration::from_millis(500);
    let start = Instant::now();
    assert_weights(&Store::new(config).fetch(&id("org/model"), &mut ()).expect("the model"));
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(ranges(&server), [None]);
}

#[test]
fn a_hub_that_always_hangs_up_is_unreachable() {
    let (folder, server) = (temp(), Server::start(|_, _| Reply::hang_up()));
    let (problem, _) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Unreachable { .. }), "{problem}");
    assert_eq!(server.log().len(), 3);
}

#[test]
fn a_wrong_hash_discards_the_file() {
    let folder = temp();
    let server = faulty(|repo, request, _| {
        let mut bytes = repo.file(WEIGHTS).to_vec();
        bytes[49_999] ^= 1;
        ranged(request, &bytes)
    });
    let (problem, file) = problem(fetch(&folder, &server));
    let DownloadProblem::Hash { expected, found } = problem else { panic!("{problem}") };
    assert_ne!(expected, found);
    assert_eq!(file.as_deref(), Some(WEIGHTS));
    assert!(!folder.path().join("models/org--model").exists());
    assert!(!folder.path().join("models/.staging/org--model/model.safetensors.part").exists());
}

#[test]
fn a_wrong_size_is_refused() {
    for size in [40_000, 60_000] {
        let (folder, server) = (temp(), faulty(move |_, request, _| ranged(request, &vec![0; size])));
        let (problem, _) = problem(fetch(&folder, &server));
        assert!(matches!(problem, DownloadProblem::Protocol { .. }), "{problem}");
    }
}

#[test]
fn a_body_without_length_is_held_to_the_stated_size() {
    let unsized_body = |bytes: &[u8]| Reply { unsized_body: true, ..Reply::body(bytes) };
    let (folder, server) = (temp(), faulty(move |repo, _, _| unsized_body(repo.file(WEIGHTS))));
    assert_weights(&fetch(&folder, &server).expect("the model"));

    let (folder, server) = (temp(), faulty(move |_, _, _| unsized_body(&vec![0; 60_000])));
    let (problem, _) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Protocol { .. }), "{problem}");
    let part = folder.path().join("models/.staging/org--model/model.safetensors.part");
    assert!(fs::metadata(part).expect("the part").len() <= 50_000);
}

#[test]
fn a_file_of_another_commit_is_refused() {
    let (folder, server) =
        (temp(), faulty(|repo, request, _| ranged(request, repo.file(WEIGHTS)).with("X-Repo-Commit", "abc")));
    let (problem, _) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Protocol { .. }), "{problem}");
}

#[test]
fn redirects_without_end_are_refused() {
    let (folder, server) = (temp(), faulty(|_, request, _| Reply::redirect(&request.path)));
    let (problem, _) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Protocol { .. }), "{problem}");
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    for name in ["../../evil/config.json", "/tmp/evil", "1_Pooling\\..\\..\\config.json", "C:evil"] {
        let folder = temp();
        let mut repo = Repo::model();
        repo.files.push((name.to_owned(), b"evil".to_vec()));
        let server = Server::of(repo);
        let (problem, _) = problem(fetch(&folder, &server));
        assert!(matches!(problem, DownloadProblem::Protocol { .. }), "{name}: {problem}");
        assert_eq!(server.log().len(), 1, "{name}");
    }
}

#[test]
fn an_answer_that_is_no_listing_is_refused() {
    let (folder, server) = (temp(), Server::start(|_, _| Reply::body("<html>log in to the hotel's network</html>")));
    let (problem, _) = problem(fetch(&folder, &server));
    assert!(matches!(problem, DownloadProblem::Protocol { .. }), "{problem}");
}

#[test]
fn weights_of_another_format_are_refused_by_name() {
    let folder = temp();
    let mut repo = Repo::model();
    repo.files.retain(|(name, _)| name != WEIGHTS && name != "pytorch_model.bin");
    let server = Server::of(repo);
    let error = fetch(&folder, &server).expect_err("only ONNX");
    let Error::LoadError(error) = error else { panic!("{error}") };
    assert!(matches!(&error.problem, LoadProblem::Unsupported { found, .. } if found == "onnx/model.onnx"), "{error}");
    assert_eq!(server.log().len(), 1, "nothing is downloaded in vain");
}

#[test]
fn a_closed_port_is_unreachable() {
    let folder = temp();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let mut config = HubConfig::new(folder.path());
    config.endpoint = Some(format!("http://127.0.0.1:{port}"));
    config.backoff = Duration::from_millis(1);
    let (problem, _) = problem(Store::new(config).fetch(&id("org/model"), &mut ()));
    let DownloadProblem::Unreachable { endpoint, .. } = problem else { panic!("{problem}") };
    assert!(endpoint.contains(&port.to_string()), "{endpoint}");
}

#[test]
fn unknown_aliases_come_with_suggestions() {
    let error = ModelId::parse("all-minilm-l6-v9").expect_err("no such alias");
    assert!(error.to_string().contains("did you mean `all-MiniLM-L6-v2`"), "{error}");
}

#[test]
fn a_bad_endpoint_is_refused_before_anything_is_sent() {
    for endpoint in ["", "hub", "ftp://hub", "https://", "https://user:password@hub"] {
        let folder = temp();
        let mut config = HubConfig::new(folder.path());
        config.endpoint = Some(endpoint.to_owned());
        let error = Store::new(config).fetch(&id("org/model"), &mut ()).expect_err(endpoint);
        assert!(matches!(error, Error::InvalidConfig(_)), "{endpoint}: {error}");
    }
}
