//! llama.cpp in a process of its own, asked for one case after the other.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use gllm_quant::BlockType;

/// Long enough for idle threads to fall asleep.
const REST: Duration = Duration::from_millis(100);

/// A running `benches/peers/llama_matmul.py`.
pub(crate) struct LlamaCpp {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    threads: usize,
}

impl LlamaCpp {
    /// Starts it.
    pub(crate) fn start(python: &Path, threads: usize) -> Result<Self, Box<dyn std::error::Error>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers/llama_matmul.py");
        let mut command = Command::new(python);
        // What it writes to standard error is how it packs each tensor.
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|e| format!("cannot start `{}`: {e}", python.display()))?;
        let (input, output) = (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
        Ok(Self { child, input, output: BufReader::new(output), threads })
    }

    /// Seconds that one product takes, `[outputs, inputs, rows]`; `None` for a type that it doesn't multiply.
    pub(crate) fn seconds(
        &mut self,
        of: BlockType,
        [outputs, inputs, rows]: [usize; 3],
    ) -> Result<Option<f64>, Box<dyn std::error::Error>> {
        writeln!(self.input, "{of} {outputs} {inputs} {rows} {}", self.threads)?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        // Its threads go on looking for work for a while before they sleep.
        thread::sleep(REST);
        match answer.trim() {
            "" => Err("llama.cpp's process ended; is `llama-cpp-python` installed for this Python?".into()),
            "none" => Ok(None),
            seconds => Ok(Some(seconds.parse()?)),
        }
    }
}

impl Drop for LlamaCpp {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
