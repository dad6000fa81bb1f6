//! `gllm embed`: a stream of texts in, a stream of vectors out.
//!
//! Invariant: after each chunk the output is whole up to its last row, so that however a run ends, `--resume` goes on.

use gllm::{Client, EmbeddingResponse, Error, InferenceError, InvalidConfig, Truncated, Usage};

use crate::args::EmbedArgs;
use crate::client;
use crate::console::Console;
use crate::exit::Failure;
use crate::input::{Chunk, Input};
use crate::output::{Output, Summary};
use crate::progress::TextBar;

pub(crate) fn run(mut args: EmbedArgs, console: Console) -> Result<(), Failure> {
    let output = Output::new(&args)?;
    let how_to_go_on = output.is_resumable().then(|| "the same command with --resume goes on".to_owned());
    let texts = std::mem::take(&mut args.texts);
    let input = Input::open(texts, args.input.as_deref())?;
    embed(&args, input, output, console).map_err(|failure| match failure {
        Failure::Interrupted(None) => Failure::Interrupted(how_to_go_on),
        failure => failure,
    })
}

fn embed(args: &EmbedArgs, input: Input, mut output: Output, console: Console) -> Result<(), Failure> {
    let client = client::load(&args.model, console)?;
    let done = if args.resume { output.resume(dimensions(args, &client)?)? } else { 0 };

    let place = Place { lines_of: input.lines_of().map(str::to_owned) };
    let mut bar = TextBar::new(&input, console);
    let mut summary = Summary { model: client.info().alias.clone(), usage: Usage::default() };
    let mut cut = Cut::default();
    let mut seen = 0;
    let mut chunks = input.chunks();
    while let Some(chunk) = chunks.next()? {
        let (first, end) = (chunk.first.max(done), chunk.end);
        seen = chunk.next();
        if seen <= done {
            bar.skip(end);
            continue;
        }
        // A chunk that is done in part is computed whole: in another batch its vectors could round otherwise.
        bar.start();
        let response = compute(&client, args, chunk, &place)?;
        for embedding in response.embeddings.iter().filter(|embedding| embedding.index >= first) {
            output.row(embedding.index, &embedding.embedding)?;
        }
        for truncated in response.truncated.into_iter().filter(|truncated| truncated.index >= first) {
            output.cut(truncated);
            cut.add(truncated);
        }
        output.flush()?;
        summary.usage.prompt_tokens += response.usage.prompt_tokens;
        summary.usage.total_tokens += response.usage.total_tokens;
        bar.advance(seen - first, end);
    }
    drop(bar);
    check_count(seen, done)?;
    output.finish(&summary)?;
    cut.warn(&place, console);
    if seen == done {
        console.note(&format!("nothing to do: all {seen} texts are in the output"));
    }
    Ok(())
}

/// The vectors of a chunk, with places in the whole input.
fn compute(client: &Client, args: &EmbedArgs, chunk: Chunk, place: &Place) -> Result<EmbeddingResponse, Failure> {
    let first = chunk.first;
    let mut request = client.embeddings(chunk.texts).truncation(args.on_long.into());
    if let Some(max_length) = args.max_length {
        request = request.max_length(max_length);
    }
    if let Some(dimensions) = args.dimensions {
        request = request.dimensions(dimensions);
    }
    if let Some(name) = &args.prompt_name {
        request = request.prompt_name(name);
    }
    if let Some(tokens) = args.batch_tokens {
        request = request.batch_tokens(tokens);
    }
    let mut response = request.generate().map_err(|error| place.located(error, first))?;
    response.embeddings.iter_mut().for_each(|embedding| embedding.index += first);
    response.truncated.iter_mut().for_each(|truncated| truncated.index += first);
    Ok(response)
}

/// Length of the vectors that this run writes.
fn dimensions(args: &EmbedArgs, client: &Client) -> Result<usize, Failure> {
    let known = args.dimensions.or(client.info().dimensions);
    known.ok_or_else(|| Failure::Usage("this model doesn't say its dimensions: --resume needs --dimensions".to_owned()))
}

fn check_count(texts: usize, done: usize) -> Result<(), Failure> {
    if texts == 0 && done == 0 {
        return Err(InvalidConfig::new("input", "at least one text", "none").into());
    }
    if texts < done {
        let text = format!("the output has {done} rows, but the input only {texts} texts: is it of another input?");
        return Err(Failure::Failed(text));
    }
    Ok(())
}

/// What a text is called in messages: a line of a file, or an argument.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// The file.
    lines_of: Option<String>,
}

impl Place {
    /// The text at `index`, counted from 1 as people do.
    fn of(&self, index: usize) -> String {
        match &self.lines_of {
            Some(file) => format!("line {} of {file}", index + 1),
            None => format!("text {}", index + 1),
        }
    }

    /// An error that names a text of a request whose first text is the `first` of all.
    fn located(&self, error: Error, first: usize) -> Failure {
        let Error::InferenceError(cause) = &error else { return error.into() };
        Failure::Failed(match cause {
            InferenceError::TooLong { index, tokens, limit } => {
                let place = self.of(first + index);
                format!("{place} has {tokens} tokens, the limit is {limit}; shorten it, or use --on-long cut")
            }
            InferenceError::Tokenize { index, reason } => {
                format!("{} cannot be tokenized: {reason}", self.of(first + index))
            }
            InferenceError::TokenOutOfRange { index, .. } => format!("{}: {cause}", self.of(first + index)),
            _ => return error.into(),
        })
    }
}

/// The texts that were cut, counted.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    count: usize,
    first: Option<Truncated>,
}

impl Cut {
    pub(crate) fn add(&mut self, truncated: Truncated) {
        self.count += 1;
        self.first.get_or_insert(truncated);
    }

    /// Says how many texts were cut, if any.
    pub(crate) fn warn(&self, place: &Place, console: Console) {
        let Some(Truncated { index, tokens, kept }) = self.first else { return };
        let place = place.of(index);
        console.warn(&match self.count {
            1 => format!("{place} was cut from {tokens} to {kept} tokens"),
            count => format!("{count} texts were cut, the first is {place}, from {tokens} to {kept} tokens"),
        });
    }
}
