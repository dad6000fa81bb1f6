//! The command line.
//!
//! Invariant: what clap can check is checked here; what depends on more than one argument is checked by the command.

mod text;

use std::path::PathBuf;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};
use gllm::{Device, FileType, ModelType, Precision, Truncation};

pub(crate) use text::{ChatArgs, ChoiceArgs, GenerateArgs};

const AFTER_HELP: &str = "\
Examples:
  gllm embed \"The cat sleeps.\" --format jsonl
  gllm generate -p \"Write a haiku about Rust.\"

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such model, 4 download failed, 130 interrupted.
Settings: GLLM_HOME (~/.gllm) and its config.toml; GLLM_NUM_THREADS, GLLM_PRECISION, GLLM_LOG, HF_TOKEN, HF_ENDPOINT,
HF_HUB_OFFLINE.";

const EMBED_HELP: &str = "\
Examples:
  gllm embed \"first text\" \"second text\"
  gllm embed --input texts.txt --output vectors.npy --format npy
  gllm embed -m bge-small-en --input big.txt --output big.jsonl --format jsonl --resume
  cut -f2 table.tsv | gllm embed --format text | head -n 3
  gllm embed -m bge-m3 --sparse --multi-vector --format jsonl \"a text\"

Each line of the input is a text, an empty line too. A carriage return at its end is dropped, and a byte order mark \
at the start. A text that starts with a dash goes after `--`.";

const RERANK_HELP: &str = "\
Examples:
  gllm rerank --query \"What is a panda?\" \"A bear of China.\" \"A Python library.\"
  gllm rerank --query \"What is a panda?\" --input passages.txt --top-n 3
  grep -i panda notes.txt | gllm rerank --query \"What is a panda?\" --json

Each line of the input is a document, an empty line too. A score is in 0 to 1 with most models; --raw-scores gives \
what the network says. A document that starts with a dash goes after `--`.";

const SIMILARITY_HELP: &str = "\
Example:
  gllm similarity \"A cat sleeps.\" \"A kitten naps.\" \"Stocks fell.\"";

const QUANTIZE_HELP: &str = "\
Examples:
  gllm quantize all-MiniLM-L6-v2 minilm.gguf --type Q8_0
  gllm quantize ./model model-q4.gguf --type Q4_K_M --json
  gllm quantize model-f16.gguf model-q6.gguf --type Q6_K

Types, from the exact to the small: F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q5_1, Q5_0, Q4_K_M, Q4_K_S, Q4_1, \
IQ4_NL, Q4_0, IQ4_XS, Q3_K_L, Q3_K_M, Q3_K_S, Q2_K. Those that end in _S, _M or _L give the tensors that matter most \
more bits. A tensor whose rows a type doesn't fit gets the next one that does.";

const INSPECT_HELP: &str = "\
Examples:
  gllm inspect model-q4_k_m.gguf
  gllm inspect ./all-MiniLM-L6-v2 --json

A file is safetensors, a PyTorch checkpoint or GGUF, whatever its name is. Of a model in several files all are shown.";

const PULL_HELP: &str = "\
Example:
  gllm pull all-MiniLM-L6-v2";

const LIST_HELP: &str = "\
Example:
  gllm list --all --type generator";

const SHOW_HELP: &str = "\
Example:
  gllm show bge-small-en --json";

const RM_HELP: &str = "\
Example:
  gllm rm all-MiniLM-L6-v2";

/// Text embeddings, rankings and generated text on this machine, in pure Rust.
#[derive(Debug, Parser)]
#[command(name = "gllm", version, after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Say more: -v what happens, -vv every step
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Say nothing but errors, draw no bars
    // Without a letter: `-q` is the query of `rerank`.
    #[arg(long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn texts into vectors
    #[command(after_help = EMBED_HELP)]
    Embed(EmbedArgs),
    /// Rank documents by how well they answer a query
    #[command(after_help = RERANK_HELP, mut_arg("model", |arg| arg.default_value("bge-reranker-v2")))]
    Rerank(RerankArgs),
    /// Compare texts by the cosine of their vectors
    #[command(after_help = SIMILARITY_HELP)]
    Similarity(SimilarityArgs),
    /// Write a text that a prompt asks for
    #[command(after_help = text::GENERATE_HELP, mut_arg("model", |arg| arg.default_value(text::MODEL)))]
    Generate(GenerateArgs),
    /// Talk with a model
    #[command(after_help = text::CHAT_HELP, mut_arg("model", |arg| arg.default_value(text::MODEL)))]
    Chat(ChatArgs),
    /// Write a model to a GGUF file, its weights in fewer bits
    #[command(after_help = QUANTIZE_HELP)]
    Quantize(QuantizeArgs),
    /// Show what is in weight files: metadata, tensors, sizes
    #[command(after_help = INSPECT_HELP)]
    Inspect(InspectArgs),
    /// Download a model
    #[command(after_help = PULL_HELP)]
    Pull(NameArgs),
    /// List the models on this machine
    #[command(visible_alias = "ls", after_help = LIST_HELP)]
    List(ListArgs),
    /// Show what is known of a model, without downloading it
    #[command(after_help = SHOW_HELP)]
    Show(NameArgs),
    /// Delete a downloaded model
    #[command(after_help = RM_HELP)]
    Rm(NameArgs),
}

/// Which model, and where it runs.
#[derive(ClapArgs, Debug)]
pub(crate) struct ModelArgs {
    /// An alias (see `gllm list --all`), `org/name[:file.gguf][@revision]`, or a folder such as `./model`
    #[arg(short, long, default_value = "all-MiniLM-L6-v2")]
    pub(crate) model: String,
    /// auto, cpu, gpu or gpu:N [default: auto, or as config.toml says]
    #[arg(long)]
    pub(crate) device: Option<Device>,
    /// auto, f32, bf16 or int8: the numbers that a model in floats computes with [default: auto, or as configured]
    #[arg(long)]
    pub(crate) precision: Option<Precision>,
}

/// Which vectors a text has beside its embedding.
#[derive(ClapArgs, Clone, Copy, Debug)]
pub(crate) struct KindArgs {
    /// Write the weights of the text's tokens too, for models that have them: bge-m3, SPLADE
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Write a vector for each token too, for models that have them: bge-m3
    #[arg(long)]
    pub(crate) multi_vector: bool,
}

/// `gllm embed`.
#[derive(ClapArgs, Debug)]
pub(crate) struct EmbedArgs {
    /// The texts; without them and without --input, the lines of standard input
    #[arg(value_name = "TEXT")]
    pub(crate) texts: Vec<String>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Read texts from the lines of a file, `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "texts")]
    pub(crate) input: Option<PathBuf>,
    /// Write to a file, `-` is standard output; an existing file is replaced
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t = Format::Json)]
    pub(crate) format: Format,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Read at most N tokens of a text, fewer than the model could
    #[arg(long, value_name = "N")]
    pub(crate) max_length: Option<usize>,
    /// Keep the first N numbers of a vector, for models that are made for it
    #[arg(long, value_name = "N")]
    pub(crate) dimensions: Option<usize>,
    #[command(flatten)]
    pub(crate) kinds: KindArgs,
    /// Put the model's prompt of this name, such as `query`, before each text
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt_name: Option<String>,
    /// Compute about N tokens at once: more takes more memory, and results do not depend on it
    #[arg(long, value_name = "N")]
    pub(crate) batch_tokens: Option<usize>,
    /// What to do with a text that is longer than the model reads
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnLong::Cut)]
    pub(crate) on_long: OnLong,
    /// Go on with the --output of an interrupted run
    #[arg(long, requires = "output")]
    pub(crate) resume: bool,
}

/// The form of the output of `gllm embed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON document in the shape of the `OpenAI` API
    Json,
    /// One `{"index":…,"embedding":[…]}` a line
    Jsonl,
    /// A float32 array [texts, dimensions] for `numpy.load`; needs --output
    Npy,
    /// One vector a line, numbers separated by spaces; with --sparse or --multi-vector, a summary a line
    Text,
}

/// What to do with a long text.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OnLong {
    /// Cut it, and say so at the end
    Cut,
    /// Stop with an error
    Error,
}

impl From<OnLong> for Truncation {
    fn from(on_long: OnLong) -> Self {
        match on_long {
            OnLong::Cut => Self::Cut,
            OnLong::Error => Self::Error,
        }
    }
}

/// `gllm rerank`.
#[derive(ClapArgs, Debug)]
pub(crate) struct RerankArgs {
    /// The documents; without them and without --input, the lines of standard input
    #[arg(value_name = "DOCUMENT")]
    pub(crate) documents: Vec<String>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// What the documents should answer
    #[arg(short, long, value_name = "QUERY")]
    pub(crate) query: String,
    /// Read documents from the lines of a file, `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "documents")]
    pub(crate) input: Option<PathBuf>,
    /// What makes a document a good one, for models that are told, such as Qwen3-Reranker
    #[arg(long, value_name = "TEXT")]
    pub(crate) instruction: Option<String>,
    /// Answer with the best N documents only
    #[arg(long, value_name = "N")]
    pub(crate) top_n: Option<usize>,
    /// Answer with what the network says, not with what the model makes of it, most often its sigmoid
    #[arg(long)]
    pub(crate) raw_scores: bool,
    /// Read at most N tokens of the query and a document together, fewer than the model could
    #[arg(long, value_name = "N")]
    pub(crate) max_length: Option<usize>,
    /// Compute about N tokens at once: more takes more memory, and results do not depend on it
    #[arg(long, value_name = "N")]
    pub(crate) batch_tokens: Option<usize>,
    /// What to do with a document that is longer than the model reads beside the query
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = OnLong::Cut)]
    pub(crate) on_long: OnLong,
    /// Answer in JSON, in the shape of Jina's API
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gllm similarity`.
#[derive(ClapArgs, Debug)]
pub(crate) struct SimilarityArgs {
    /// The texts, two or more
    #[arg(value_name = "TEXT", required = true, num_args = 2..)]
    pub(crate) texts: Vec<String>,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gllm quantize`.
#[derive(ClapArgs, Debug)]
pub(crate) struct QuantizeArgs {
    /// An alias (see `gllm list --all`), `org/name[:file.gguf][@revision]`, a folder such as `./model`, or a GGUF file
    pub(crate) model: String,
    /// The file to write
    #[arg(value_name = "OUT.gguf")]
    pub(crate) output: PathBuf,
    /// What the weights are written as: `F32`, `F16`, `Q8_0`, `Q4_K_M` and others, see below
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    pub(crate) of: FileType,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Say in JSON what was written
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gllm inspect`.
#[derive(ClapArgs, Debug)]
pub(crate) struct InspectArgs {
    /// A file of weights, or a folder with a model
    pub(crate) file: PathBuf,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A command on one model of the store.
#[derive(ClapArgs, Debug)]
pub(crate) struct NameArgs {
    /// An alias (see `gllm list --all`), `org/name[:file.gguf][@revision]`, or a folder such as `./model`
    pub(crate) model: String,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `gllm list`.
#[derive(ClapArgs, Debug)]
pub(crate) struct ListArgs {
    /// Also list the models that have an alias and aren't downloaded
    #[arg(long)]
    pub(crate) all: bool,
    /// Only models of this type
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) model_type: Option<TypeArg>,
    /// Answer in JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TypeArg {
    /// Text to vector
    Embedding,
    /// Query and document to score
    Rerank,
    /// Text to text
    Generator,
}

impl From<TypeArg> for ModelType {
    fn from(model_type: TypeArg) -> Self {
        match model_type {
            TypeArg::Embedding => Self::Embedding,
            TypeArg::Rerank => Self::Rerank,
            TypeArg::Generator => Self::Generator,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    #[test]
    fn command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
