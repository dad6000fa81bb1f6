//! `gllm`: embeddings and rankings on this machine, from the command line.
//!
//! Results go to standard output, everything else to standard error. A file of this crate is one command or one thing
//! that commands share; what a model is and does is the library's business.

mod args;
mod client;
mod console;
mod embed;
mod exit;
mod input;
mod inspect;
mod interrupt;
mod line;
mod logging;
mod models;
mod output;
mod place;
mod progress;
mod quantize;
mod rerank;
mod resume;
mod similarity;
mod table;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::console::Console;
use crate::exit::Failure;

fn main() -> ExitCode {
    let args = Args::parse();
    let console = Console::new(args.quiet);
    exit::report(run(args, console), console)
}

fn run(args: Args, console: Console) -> Result<(), Failure> {
    logging::start(args.verbose, args.quiet)?;
    interrupt::listen(console)?;
    match args.command {
        Command::Embed(args) => embed::run(args, console),
        Command::Rerank(args) => rerank::run(args, console),
        Command::Similarity(args) => similarity::run(args, console),
        Command::Quantize(args) => quantize::run(&args, console),
        Command::Inspect(args) => inspect::run(&args),
        Command::Pull(args) => models::pull(&args, console),
        Command::List(args) => models::list(&args),
        Command::Show(args) => models::show(&args),
        Command::Rm(args) => models::rm(&args),
    }
}
