//! What developers and CI of gllm run: `cargo xtask TASK`.
//!
//! Each task is a file. They start cargo, pip and git as a person would, so that each step can be repeated by hand.

mod bench;
mod ci;
mod features;
mod golden;
mod process;
mod setup;
mod test_results;
mod tidy;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// What a task returns; the error is for people.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What developers and CI of gllm run.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
enum Task {
    /// Check everything: format, lints, docs, spelling, dependencies, tests
    Ci,
    /// Check the rules of the source tree that no other tool knows
    Tidy,
    /// Compile the library with each of its features alone
    Features,
    /// Measure gllm, alone or beside what else there is
    #[command(subcommand)]
    Bench(Box<bench::Bench>),
    /// Make the golden data of the tests again, with Python
    Golden {
        /// The Python to make the virtual environment with
        #[arg(long, default_value = "python3")]
        python: PathBuf,
        /// A folder with all-MiniLM-L6-v2; without it, only the tiny models are made again
        #[arg(long, value_name = "FOLDER")]
        minilm: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let outcome = match Task::parse() {
        Task::Ci => return ci::run(),
        Task::Tidy => tidy::run(),
        Task::Features => features::run(),
        Task::Bench(bench) => bench::run(&bench),
        Task::Golden { python, minilm } => golden::run(&python, minilm.as_deref()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
