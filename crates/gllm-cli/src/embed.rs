//! `gllm embed`: a stream of texts in, a stream of vectors out.
//!
//! Invariant: after each chunk the output is whole up to its last row, so that however a run ends, `--resume` goes on.

use gllm::{Client, EmbeddingResponse, InvalidConfig, ModelType, Usage};

use crate::args::EmbedArgs;
use crate::client;
use crate::console::Console;
use crate::exit::Failure;
use crate::input::{Chunk, Input};
use crate::output::{Form, Output, Summary};
use crate::place::{Cut, Place};
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
    let form = form(args, &client)?;
    let done = if args.resume { output.resume(form)? } else { 0 };

    let place = Place::texts(&input);
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
            output.row(embedding)?;
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
    request = request.sparse(args.kinds.sparse).multi_vector(args.kinds.multi_vector);
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

/// What a row of this run has in it.
fn form(args: &EmbedArgs, client: &Client) -> Result<Form, Failure> {
    let info = client.info();
    if info.dimensions.is_none() && info.model_type == ModelType::Embedding && !args.kinds.sparse {
        return Err(Failure::Usage(format!("`{}` has only sparse vectors: ask for them with --sparse", info.alias)));
    }
    let dimensions = info.dimensions.map_or(0, |all| args.dimensions.unwrap_or(all));
    Ok(Form { dimensions, kinds: args.kinds })
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
