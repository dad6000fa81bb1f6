//! A measured program's side of a benchmark: it stays loaded, and answers a line of JSON with a line of JSON.
//!
//! `cargo xtask bench` asks; `benches/peers/protocol.py` is the same for programs in Python. The first line is the
//! program's own: `{"program": NAME}` with what else it tells once it is loaded, or `{"skip": WHY}`. A question names its
//! `task`; an answer has the seconds of each run, or an `error`.

use std::io::{BufRead, Write};
use std::time::Instant;

use serde_json::{Value, json};

/// What goes wrong is for people.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Says `hello`, then answers each line of standard input until it ends.
pub(crate) fn serve(hello: &Value, mut answer: impl FnMut(&Value) -> Result<Value>) -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{hello}")?;
    for line in std::io::stdin().lock().lines() {
        let answered = serde_json::from_str(&line?).map_err(Into::into).and_then(|question| answer(&question));
        let answered = answered.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(output, "{answered}")?;
        output.flush()?;
    }
    Ok(())
}

/// The text of a question's field.
pub(crate) fn text<'a>(question: &'a Value, field: &str) -> Result<&'a str> {
    question[field].as_str().ok_or_else(|| format!("the question has no text `{field}`: {question}").into())
}

/// What `work` returns, and the seconds that it takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed().as_secs_f64(), done)
}

/// The answer with the most memory that the process has had resident, where the system says.
#[allow(dead_code, reason = "not every program is asked")]
pub(crate) fn memory() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
    let kib = line.and_then(|kib| kib.trim().parse::<f64>().ok());
    json!({ "peak_memory_mb": kib.map(|kib| kib / 1024.0) })
}
