//! Who gllm is compared with, and how each is started.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use serde_json::json;

use super::model::{Material, Task, folder};
use super::turns::Programs;
use super::worker::{Started, Worker};
use super::{Options, targets};
use crate::{Result, process, workspace};

/// A program that does what gllm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    Torch,
    Onnxruntime,
    OnnxruntimeInt8,
    #[value(name = "llama.cpp")]
    LlamaCpp,
    Candle,
}

impl Peer {
    /// As `--against` has it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether its results are only near those of floats.
    pub(crate) fn is_approximate(self) -> bool {
        self == Self::OnnxruntimeInt8
    }

    /// What it says why it was left out.
    pub(crate) fn left_out(self, why: &str) -> String {
        format!("Not compared with {}: {why}.", self.name())
    }

    /// The command that encodes with the model in the folder `model`; an error says why there is none.
    fn encoder(self, options: &Options, material: &Material, model: &Path) -> Result<Command> {
        let script = |name: &str| script(options, name);
        let mut command = match (self, material.task) {
            (Self::Torch, _) => script("torch_encoder.py"),
            (Self::Onnxruntime | Self::OnnxruntimeInt8, _) => script("onnx_encoder.py"),
            (Self::LlamaCpp, Task::Embed) => script("llama_encoder.py"),
            (Self::Candle, Task::Embed) => candle()?,
            (Self::LlamaCpp | Self::Candle, Task::Rerank) => return Err("its peer here doesn't rank".into()),
        };
        match self {
            Self::LlamaCpp => command.arg(gguf(options, material)?),
            _ => command.arg(material.task.name()).arg(model),
        };
        if let Self::Onnxruntime | Self::OnnxruntimeInt8 = self {
            command.arg("--cache").arg(folder("onnx")?).args(self.is_approximate().then_some("--int8"));
        }
        command.args(["--threads", &options.threads.to_string(), "--tokens", &material.tokens.to_string()]);
        Ok(command)
    }
}

/// gllm and the peers that there are as encoders of `material`; who they are, and who was left out.
pub(crate) fn encoders(options: &Options, material: &Material) -> Result<(Programs, Vec<Peer>, Vec<String>)> {
    let gllm = own(options, material)?;
    let model = Path::new(gllm.hello["model"].as_str().ok_or("gllm says of no model where it is")?).to_owned();
    let (mut peers, mut left_out, mut all) = (Vec::new(), Vec::new(), vec![gllm]);
    for &peer in &options.against {
        let command = peer.encoder(options, material, &model);
        let started = command.and_then(|mut command| Worker::start(of_threads(&mut command, options.threads)));
        match started.unwrap_or_else(|error| Started::Skipped(error.to_string())) {
            Started::Ready(worker) => {
                eprintln!("{} is loaded", worker.program);
                peers.push(peer);
                all.push(worker);
            }
            Started::Skipped(why) => left_out.push(peer.left_out(&why)),
        }
    }
    Ok((Programs { all }, peers, left_out))
}

/// gllm as an encoder of `material`.
fn own(options: &Options, material: &Material) -> Result<Worker> {
    let mut command = process::at_root(targets::bench("worker")?);
    command.arg(material.task.name()).arg(&material.model);
    command.args(["--device", &material.device, "--tokens", &material.tokens.to_string()]);
    Worker::start_own(of_threads(&mut command, options.threads))
}

/// The model in llama.cpp's format, by a process of its own: its memory isn't that of an encoder.
fn gguf(options: &Options, material: &Material) -> Result<PathBuf> {
    let file = folder("gguf")?.join("model.gguf");
    own(options, material)?.ask(&json!({ "task": "gguf", "output": file }))?;
    Ok(file)
}

/// A script in `benches/peers`.
pub(crate) fn script(options: &Options, name: &str) -> Command {
    let mut command = Command::new(&options.python);
    command.arg(workspace::root().join("benches/peers").join(name));
    command
}

/// With so many threads, for those that read it from the environment.
pub(crate) fn of_threads(command: &mut Command, threads: usize) -> &mut Command {
    let threads = threads.to_string();
    for variable in ["GLLM_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS"] {
        command.env(variable, &threads);
    }
    command
}

/// candle's program, compiled if need be.
fn candle() -> Result<Command> {
    let target = folder("candle")?;
    let manifest = workspace::root().join("benches/peers/candle/Cargo.toml");
    let mut build = workspace::cargo(&["build", "--release", "--manifest-path"]);
    process::run(build.arg(manifest).arg("--target-dir").arg(&target))?;
    Ok(process::at_root(target.join("release/peer-candle")))
}
