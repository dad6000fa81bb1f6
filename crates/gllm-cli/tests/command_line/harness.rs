//! Runs the binary in a home of its own, and reads what it wrote.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

/// A model of 48 dimensions and 48 tokens, with what sentence-transformers makes of a few texts.
pub(crate) const MODEL: &str = "../../tests/golden/bert/mean";

/// A model with three kinds of vectors, of 24 dimensions, made as bge-m3 is.
pub(crate) const BGE_M3: &str = "../../tests/golden/bge_m3/model";

/// A model that has only sparse vectors.
pub(crate) const SPLADE: &str = "../../tests/golden/families/bert/splade";

/// A model of 32 dimensions in one file.
pub(crate) const GGUF: &str = "../../tests/golden/gguf_models/bert-q8_0.gguf";

/// A cross-encoder of 48 tokens.
pub(crate) const RERANKER: &str = "../../tests/golden/families/bert/reranker";

/// A decoder of 128 tokens and 64 of vocabulary, without a chat template.
pub(crate) const WRITER: &str = "../../tests/golden/decoders/qwen2.gguf";

/// A decoder with a vocabulary of all bytes, and with a chat template.
const TALKER: &str = "../../tests/golden/export/qwen2";

/// Longest input of the models in tokens.
pub(crate) const MAX_LENGTH: usize = 48;

/// Length of the model's vectors.
pub(crate) const DIMENSIONS: usize = 48;

/// Largest difference from the golden vectors.
const TOLERANCE: f32 = 2e-5;

/// A folder for `GLLM_HOME` and for files.
pub(crate) struct Home(TempDir);

/// How a run ended.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a file");
        path
    }

    /// The binary in f32, as golden answers are, out of reach of the environment's other settings and of the network.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gllm"));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in ["HF_ENDPOINT", "HF_HOME", "HF_TOKEN", "HF_TOKEN_PATH", "GLLM_LOG", "RUST_LOG"] {
            command.env_remove(name);
        }
        command.env("GLLM_HOME", self.0.path()).env("HF_HUB_OFFLINE", "1").env("GLLM_PRECISION", "f32");
        // Some GPU drivers complain on standard error without it.
        command.env("XDG_RUNTIME_DIR", self.0.path());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        finish(&mut self.command(args))
    }

    /// `gllm embed` with the tiny model.
    pub(crate) fn embed(&self, args: &[&str]) -> Run {
        self.run(&embed_args(args))
    }

    /// The same, with texts on standard input.
    pub(crate) fn embed_piped(&self, args: &[&str], input: Vec<u8>) -> Run {
        self.run_piped(&embed_args(args), input)
    }

    /// `gllm generate` with the tiny decoder.
    pub(crate) fn generate(&self, args: &[&str]) -> Run {
        self.run(&generate_args(WRITER, args))
    }

    /// A copy of the decoder that has a chat template: with room for so many tokens, it never ends a text by itself.
    pub(crate) fn talker(&self, max_length: usize) -> String {
        let folder = self.path(&format!("talker-{max_length}"));
        fs::create_dir_all(&folder).expect("a folder");
        for name in ["model.safetensors", "tokenizer.json", "chat_template.jinja"] {
            fs::copy(Path::new(TALKER).join(name), folder.join(name)).expect("a copy");
        }
        let mut config = read_json(&Path::new(TALKER).join("config.json"));
        config["max_position_embeddings"] = max_length.into();
        fs::write(folder.join("config.json"), config.to_string()).expect("a file");
        arg(&folder).to_owned()
    }

    /// A run with texts on standard input.
    pub(crate) fn run_piped(&self, args: &[&str], input: Vec<u8>) -> Run {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("gllm starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let writer = thread::spawn(move || stdin.write_all(&input));
        let run = Run::of(child.wait_with_output().expect("gllm ends"));
        // It fails if the program ended before it had read all, which is for the test to judge.
        let _ = writer.join().expect("no panic");
        run
    }
}

impl Run {
    fn of(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }

    /// The standard output of a run that went well.
    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        std::str::from_utf8(&self.stdout).expect("UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.text()).expect("JSON")
    }

    /// The message of a run that failed with this code: said once, in words.
    pub(crate) fn error(&self, code: i32) -> &str {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        assert_eq!(self.stderr.matches("error: ").count(), 1, "{}", self.stderr);
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains(" { "), "{}", self.stderr);
        &self.stderr
    }
}

pub(crate) fn embed_args<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["embed", "--model", MODEL, "--device", "cpu"], args].concat()
}

pub(crate) fn generate_args<'a>(model: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["generate", "--model", model, "--device", "cpu"], args].concat()
}

/// `gllm chat`, which takes the most likely token each time.
pub(crate) fn chat_args<'a>(model: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    [&["chat", "--model", model, "--device", "cpu", "--temperature", "0"], args].concat()
}

pub(crate) fn finish(command: &mut Command) -> Run {
    Run::of(command.output().expect("gllm runs"))
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// The golden texts.
pub(crate) fn golden_texts() -> Vec<String> {
    let bytes = fs::read(Path::new(MODEL).join("../texts.json")).expect("the golden texts");
    serde_json::from_slice(&bytes).expect("a list of texts")
}

/// What a JSON file holds.
pub(crate) fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

/// The golden texts, one a line.
pub(crate) fn golden_lines() -> Vec<u8> {
    golden_texts().iter().flat_map(|text| [text.as_bytes(), b"\n"].concat()).collect()
}

/// `count` different lines.
pub(crate) fn many_lines(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| format!("the {n} of {} and {}\n", n % 7, "more ".repeat(n % 5)).into_bytes()).collect()
}

/// Holds vectors against the golden ones.
pub(crate) fn assert_golden(vectors: &[Vec<f32>]) {
    let expected = read_npy(&Path::new(MODEL).join("expected.npy"));
    assert_eq!(vectors.len(), expected.len());
    for (row, (vector, expected)) in vectors.iter().zip(&expected).enumerate() {
        assert_eq!(vector.len(), expected.len());
        let worst = vector.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= TOLERANCE, "row {row} is off by {worst}");
    }
}

/// The rows of a float32 array as long as the model's vectors.
pub(crate) fn read_npy(path: &Path) -> Vec<Vec<f32>> {
    read_array(path, DIMENSIONS)
}

/// The rows of a float32 array with so many columns.
pub(crate) fn read_array(path: &Path, columns: usize) -> Vec<Vec<f32>> {
    let bytes = fs::read(path).expect("an array");
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "version 1.0");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..start]).expect("ASCII");
    assert_eq!(start % 64, 0, "aligned");
    let numbers: Vec<f32> = bytes[start..].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let rows: Vec<_> = numbers.chunks_exact(columns).map(<[f32]>::to_vec).collect();
    let shape = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {columns}), }}", rows.len());
    assert_eq!(header.trim_end(), shape);
    rows
}

/// The vector in `{"embedding": […]}`.
pub(crate) fn vector(item: &Value) -> Vec<f32> {
    serde_json::from_value(item["embedding"].clone()).expect("a vector")
}
