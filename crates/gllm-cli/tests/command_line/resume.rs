//! `gllm embed --resume`: however a run ended, the next one completes the same file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{BGE_M3, Home, SPLADE, arg, many_lines};

const FORMATS: [&str; 3] = ["jsonl", "npy", "text"];

fn args<'a>(format: &'a str, input: &'a Path, output: &'a Path) -> Vec<&'a str> {
    vec!["--resume", "--format", format, "--input", arg(input), "--output", arg(output)]
}

/// An input of so many lines, and what an uninterrupted run makes of it.
fn whole(home: &Home, format: &str, lines: usize) -> (PathBuf, Vec<u8>) {
    let input = home.write(&format!("{lines}-lines"), many_lines(lines));
    let output = home.path(&format!("whole.{format}"));
    // Resuming what isn't there begins it.
    home.embed(&args(format, &input, &output)).text();
    (input, fs::read(output).expect("the output"))
}

#[test]
fn file_cut_anywhere_is_completed_byte_for_byte() {
    let home = Home::new();
    for format in FORMATS {
        let (input, whole) = whole(&home, format, 530);
        let row_end = |row: usize| match format {
            "npy" => 128 + (row + 1) * 48 * 4,
            _ => {
                whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(row).map_or(0, |(place, _)| place + 1)
            }
        };
        let around = |place: usize| [place.saturating_sub(1), place, place + 1];
        let places = [&[0, 5, 128][..], &around(row_end(0)), &around(row_end(511)), &[row_end(520) + 7, whole.len()]];
        for bytes in places.concat() {
            let output = home.write("part", &whole[..bytes]);
            home.embed(&args(format, &input, &output)).text();
            assert!(fs::read(&output).expect("the output") == whole, "{format} cut at {bytes}");
        }
    }
}

#[test]
fn complete_file_is_left_as_it_is() {
    let home = Home::new();
    for format in FORMATS {
        let (input, whole) = whole(&home, format, 20);
        let output = home.write("x", &whole);
        let run = home.embed(&args(format, &input, &output));
        assert_eq!(run.text(), "");
        assert!(run.stderr.contains("nothing to do: all 20 texts"), "{}", run.stderr);
        assert_eq!(fs::read(&output).expect("the output"), whole);
    }
}

#[test]
fn vectors_of_every_kind_are_completed_byte_for_byte() {
    let home = Home::new();
    let input = home.write("lines", many_lines(20));
    for (model, kinds) in
        [(BGE_M3, &["--sparse", "--multi-vector"][..]), (BGE_M3, &["--sparse"]), (SPLADE, &["--sparse"])]
    {
        let resume = |output: &Path, kinds: &[&str]| {
            let args = [&args("jsonl", &input, output)[..], kinds].concat();
            home.run(&[&["embed", "--model", model, "--device", "cpu"], &args[..]].concat())
        };
        let output = home.path("whole");
        resume(&output, kinds).text();
        let whole = fs::read(&output).expect("the output");
        let ends: Vec<_> = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(end, _)| end).collect();
        assert_eq!(ends.len(), 20);
        for bytes in [0, 5, ends[0], ends[0] + 1, ends[11] + 9, whole.len()] {
            let output = home.write("part", &whole[..bytes]);
            resume(&output, kinds).text();
            assert!(fs::read(&output).expect("the output") == whole, "{model} {kinds:?} cut at {bytes}");
        }
        let others: &[&str] = if model == SPLADE { &["--sparse", "--multi-vector"] } else { &[] };
        let run = resume(&output, others);
        assert!(run.error(1).contains("cannot resume"), "{}", run.stderr);
        assert!(fs::read(&output).expect("the output") == whole);
        fs::remove_file(&output).expect("the output");
    }
}

#[test]
fn files_of_something_else_are_refused_and_kept() {
    let home = Home::new();
    for format in FORMATS {
        let (input, whole) = whole(&home, format, 20);
        let fewer = home.write("fewer", many_lines(10));
        let output = home.write("x", &whole);
        let run = home.embed(&args(format, &fewer, &output));
        assert!(run.error(1).contains("20 rows, but the input only 10 texts"), "{}", run.stderr);
        assert_eq!(fs::read(&output).expect("the output"), whole);

        let notes = b"These are my notes.\nThey are worth keeping.\n".repeat(10);
        let output = home.write("notes", &notes);
        assert!(home.embed(&args(format, &input, &output)).error(1).contains("cannot resume"));
        assert_eq!(fs::read(&output).expect("the output"), notes);

        let output = home.write("x", &whole);
        let narrower = [args(format, &input, &output), vec!["--dimensions", "16"]].concat();
        assert!(home.embed(&narrower).error(1).contains("cannot resume"));
        assert_eq!(fs::read(&output).expect("the output"), whole);
    }
}

#[test]
fn killed_run_is_completed_byte_for_byte() {
    let home = Home::new();
    for format in FORMATS {
        let (input, whole) = whole(&home, format, 5000);
        let output = home.path(&format!("killed.{format}"));
        let args = args(format, &input, &output);
        let mut child = home.command(&crate::harness::embed_args(&args)).spawn().expect("gllm starts");
        wait_for(|| fs::metadata(&output).is_ok_and(|found| found.len() > 0));
        child.kill().expect("kill");
        child.wait().expect("an end");
        home.embed(&args).text();
        assert!(fs::read(&output).expect("the output") == whole, "{format}");
    }
}

#[cfg(unix)]
#[test]
fn interrupted_run_says_how_to_go_on_and_is_completed_byte_for_byte() {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use crate::harness::embed_args;

    let home = Home::new();
    for (format, signal) in FORMATS.into_iter().zip(["-INT", "-TERM", "-INT"]) {
        let (input, whole) = whole(&home, format, 1100);
        let output = home.path(&format!("interrupted.{format}"));
        let piped = ["--format", format, "--input", "-", "--output", arg(&output)];
        let mut child = home.command(&embed_args(&piped)).stdin(Stdio::piped()).spawn().expect("gllm starts");
        // Standard input stays open: the program waits for more when the signal comes.
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(&many_lines(1100)).expect("lines");
        stdin.flush().expect("lines");
        let rows_1024 = |bytes: Vec<u8>| match format {
            "npy" => bytes.len() >= 128 + 1024 * 48 * 4,
            _ => bytes.split(|byte| *byte == b'\n').count() > 1024,
        };
        wait_for(|| fs::read(&output).is_ok_and(rows_1024));
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        let ended = child.wait_with_output().expect("gllm ends");
        drop(stdin);
        assert_eq!(ended.status.code(), Some(130));
        let message = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(message, "error: interrupted; the same command with --resume goes on\n");

        home.embed(&args(format, &input, &output)).text();
        assert!(fs::read(&output).expect("the output") == whole, "{format}");
    }
}

fn wait_for(condition: impl Fn() -> bool) {
    use std::time::{Duration, Instant};
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(30), "it takes too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}
