//! The arguments of the commands that write texts.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use clap::builder::RangedU64ValueParser;

use super::ModelArgs;

/// The model that writes where none is named.
pub(super) const MODEL: &str = "qwen2.5-coder-0.5b-instruct";

pub(super) const GENERATE_HELP: &str = "\
Examples:
  gllm generate -p \"Write a haiku about Rust.\"
  gllm generate -p \"What is the capital of France?\" --system \"Answer in one word.\" --temperature 0
  git diff | gllm generate --system \"Write a commit message for this change.\"
  gllm generate -p \"A person\" --schema person.json --json
  gllm generate --raw -p \"fn main() {\" --max-tokens 64 --stop \"```\"

The prompt goes through the model's chat template, if it has one; --raw gives it to the model as it is. Of a prompt that \
is read, the last line's end is dropped, and a byte order mark at the start. A prompt that starts with a dash is given \
as --prompt=-PROMPT. What isn't set is as the model's publisher recommends; where nobody says, the most likely token is \
taken each time.";

pub(super) const CHAT_HELP: &str = "\
Examples:
  gllm chat
  gllm chat --system \"You are a terse assistant.\" --temperature 0.7
  printf 'What is a panda?\\nWhere does it live?\\n' | gllm chat

A line is a message. One that ends in a backslash goes on in the next line, and so does everything between \"\"\" and \
\"\"\". /clear begins a new conversation, /system TEXT sets what the model must keep to, /exit ends; /help says more. \
Ctrl-C stops an answer. Where the input isn't a terminal, its messages are answered one after the other.";

/// `gllm generate`.
#[derive(ClapArgs, Debug)]
pub(crate) struct GenerateArgs {
    /// The prompt, `-` is standard input; without it and without --input, standard input too
    #[arg(short, long, value_name = "PROMPT")]
    pub(crate) prompt: Option<String>,
    /// Read the prompt from a file, `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "prompt")]
    pub(crate) input: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// What the model must keep to
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Give the prompt to the model as it is, without its chat template
    #[arg(long, conflicts_with = "system")]
    pub(crate) raw: bool,
    /// Write JSON that the JSON schema in this file describes
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// Write a text that this regular expression matches as a whole
    #[arg(long, value_name = "PATTERN", conflicts_with = "schema")]
    pub(crate) regex: Option<String>,
    /// Answer in JSON: the text, its tokens, why it ends, how long it took
    #[arg(long)]
    pub(crate) json: bool,
    /// Say how likely each token was, and the N most likely ones in its place; with --json
    #[arg(long, value_name = "N", requires = "json")]
    pub(crate) logprobs: Option<usize>,
    #[command(flatten)]
    pub(crate) choice: ChoiceArgs,
}

/// `gllm chat`.
#[derive(ClapArgs, Debug)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// What the model must keep to
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    pub(crate) choice: ChoiceArgs,
}

/// How the tokens of a text are chosen, and where it ends.
#[derive(ClapArgs, Debug)]
#[command(next_help_heading = "Choice of tokens")]
pub(crate) struct ChoiceArgs {
    /// Write at most N tokens [default: as many as the context has room for]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) max_tokens: Option<usize>,
    /// How far to stray from the most likely token: 0 never does, 1 follows the model's probabilities
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(crate) temperature: Option<f32>,
    /// Choose among the most likely tokens that together have this probability
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(crate) top_p: Option<f32>,
    /// Choose among the N most likely tokens, 0 for all
    #[arg(long, value_name = "N")]
    pub(crate) top_k: Option<usize>,
    /// Choose among tokens that are at least this likely, relative to the most likely one
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(crate) min_p: Option<f32>,
    /// Make tokens of the prompt and the text less likely: above 1
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(crate) repetition_penalty: Option<f32>,
    /// Make a token less likely for each time that it is in the text: -2 to 2
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(crate) frequency_penalty: Option<f32>,
    /// Make a token less likely once it is in the text: -2 to 2
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(crate) presence_penalty: Option<f32>,
    /// The same seed gives the same text
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// End the text before this string; may be given several times
    #[arg(long, value_name = "S")]
    pub(crate) stop: Vec<String>,
}
