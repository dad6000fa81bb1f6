//! `gllm`: embeddings, rankings and generated text on this machine, from the command line.
//!
//! Results go to standard output, everything else to standard error. A file of this crate is one command or one thing
//! that commands share; what a model is and does is the library's business.

mod args;
mod chat;
mod choice;
mod client;
mod console;
mod embed;
mod exit;
mod generate;
mod input;
mod inspect;
mod interrupt;
mod line;
mod lines;
mod logging;
mod models;
mod output;
mod place;
mod progress;
mod prompt;
mod quantize;
mod read_ahead;
mod rerank;
mod resume;
mod similarity;
mod source;
mod speed;
mod table;
mod writing;

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
        Command::Generate(args) => generate::run(args, console),
        Command::Chat(args) => chat::run(args, console),
        Command::Quantize(args) => quantize::run(&args, console),
        Command::Inspect(args) => inspect::run(&args),
        Command::Pull(args) => models::pull(&args, console),
        Command::List(args) => models::list(&args),
        Command::Show(args) => models::show(&args),
        Command::Rm(args) => models::rm(&args, console),
    }
}
