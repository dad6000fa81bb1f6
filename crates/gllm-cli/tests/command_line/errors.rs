//! What goes wrong, and the code and words for it.

use std::fs;

use crate::harness::{Home, MODEL, arg, embed_args, finish};

#[test]
fn invalid_utf8_names_file_and_line_after_the_texts_before_it() {
    let home = Home::new();
    let input = home.write("bad.txt", b"a\nb\nc \xff d\ne\n");
    let run = home.embed(&["--format", "text", "--input", arg(&input)]);
    let message = run.error(1);
    assert!(message.contains("line 3 of `") && message.contains("bad.txt` is not valid UTF-8 at byte 3"), "{message}");
    assert_eq!(run.stdout.split(|byte| *byte == b'\n').count(), 3, "two rows");
    let run = home.embed_piped(&["--format", "text"], b"\xff".to_vec());
    assert!(run.error(1).contains("line 1 of standard input"), "{}", run.stderr);
}

#[test]
fn unknown_model_comes_with_a_suggestion() {
    let home = Home::new();
    for command in
        [&["embed", "--model", "all-MiniLM-L6", "a"][..], &["pull", "all-MiniLM-L6"], &["show", "all-MiniLM-L6"]]
    {
        let run = home.run(command);
        assert!(run.error(3).contains("did you mean `all-MiniLM-L6-v2`"), "{}", run.stderr);
    }
    assert!(home.run(&["embed", "--model", "./none", "a"]).error(3).contains("./none"));
    home.run(&["embed", "--model", "a/b/c", "a"]).error(2);
}

#[test]
fn folder_that_is_no_model_is_named() {
    let home = Home::new();
    let folder = home.path("empty-model");
    fs::create_dir(&folder).expect("a folder");
    let run = home.run(&["embed", "--device", "cpu", "--model", arg(&folder), "a"]);
    let message = run.error(1);
    assert!(message.contains("empty-model") && message.contains("model.safetensors"), "{message}");
}

#[test]
fn model_that_cannot_be_downloaded_is_code_4() {
    let home = Home::new();
    let offline = home.run(&["embed", "--device", "cpu", "a"]);
    assert!(offline.error(4).contains("offline"), "{}", offline.stderr);
    home.run(&["pull", "bge-small-en"]).error(4);

    let mut unreachable = home.command(&["--quiet", "pull", "all-MiniLM-L6-v2"]);
    let unreachable = unreachable.env_remove("HF_HUB_OFFLINE").env("GLLM_NO_PACKAGES", "1");
    let run = finish(unreachable.env("HF_ENDPOINT", "http://127.0.0.1:9"));
    assert!(run.error(4).contains("cannot reach `http://127.0.0.1:9"), "{}", run.stderr);
}

#[test]
fn devices_that_are_not_there_or_make_no_sense_are_code_2() {
    let home = Home::new();
    home.run(&["embed", "--model", MODEL, "--device", "gpu:7", "a"]).error(2);
    assert!(home.run(&["embed", "--device", "tpu", "a"]).error(2).contains("gpu:N"));
}

#[test]
fn settings_out_of_range_are_code_2() {
    let home = Home::new();
    let run = finish(home.command(&["list"]).env("HF_HUB_OFFLINE", "perhaps"));
    assert!(run.error(2).contains("HF_HUB_OFFLINE"), "{}", run.stderr);
    let run = finish(home.command(&["list"]).env("GLLM_LOG", "gllm=shouting"));
    assert!(run.error(2).contains("GLLM_LOG"), "{}", run.stderr);
}

#[test]
fn no_texts_are_an_error() {
    let home = Home::new();
    let input = home.write("empty", "");
    for format in ["json", "jsonl", "text"] {
        let run = home.embed(&["--format", format, "--input", arg(&input)]);
        assert!(run.error(2).contains("at least one text"), "{}", run.stderr);
        assert!(run.stdout.is_empty());
    }
    home.embed(&[]).error(2);
}

#[test]
fn missing_input_is_named() {
    let home = Home::new();
    let run = home.embed(&["--input", arg(&home.path("none.txt"))]);
    assert!(run.error(1).contains("none.txt"), "{}", run.stderr);
    let run = home.embed(&["--input", arg(&home.path(""))]);
    assert_eq!(run.code, Some(1), "{}", run.stderr);
}

#[test]
fn arguments_that_do_not_go_together_are_code_2() {
    let home = Home::new();
    for args in [
        &["--input", "x", "text"][..],
        &["--json", "--format", "text", "a"],
        &["--resume", "a"],
        &["--resume", "--output", "x", "a"],
        &["--resume", "--output", "-", "--format", "jsonl", "a"],
        &["--format", "xml", "a"],
        &["--quiet", "-v", "a"],
    ] {
        assert_eq!(home.embed(args).code, Some(2), "{args:?}");
    }
}

#[test]
fn log_lines_come_on_request_and_without_colour() {
    let home = Home::new();
    assert_eq!(home.embed(&["a"]).stderr, "");
    let run = home.embed(&["-v", "a"]);
    assert!(run.stderr.contains(" on cpu") && !run.stderr.contains('\x1b'), "{}", run.stderr);
    let run = finish(home.command(&embed_args(&["a"])).env("GLLM_LOG", "gllm=info"));
    assert!(run.stderr.contains(" on cpu"), "{}", run.stderr);
}

#[cfg(unix)]
#[test]
fn interrupted_download_is_code_130() {
    use std::process::Command;
    use std::thread::sleep;
    use std::time::Duration;

    let home = Home::new();
    let mut command = home.command(&["pull", "all-MiniLM-L6-v2"]);
    command.env_remove("HF_HUB_OFFLINE").env("GLLM_NO_PACKAGES", "1").env("HF_ENDPOINT", "http://127.0.0.1:9");
    let child = command.spawn().expect("gllm starts");
    // It tries again for three seconds.
    sleep(Duration::from_millis(800));
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let ended = child.wait_with_output().expect("gllm ends");
    assert_eq!(ended.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("error: interrupted; "));
}
