//! Answers questions from a folder of Markdown: chunks by tokens, embeds, searches, reranks, and writes an answer with
//! citations, all in one process.
//!
//! ```sh
//! cargo run --release -p gllm --example rag -- docs "How do I set the folder of the models?"
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Parser;
use gllm::{Client, Message, Result};

/// Answers a question from a folder of Markdown files.
#[derive(Parser)]
struct Arguments {
    /// The folder, with its subfolders.
    folder: PathBuf,
    /// What is asked.
    question: String,
    /// Makes vectors of texts.
    #[arg(long, default_value = "all-MiniLM-L6-v2")]
    embedder: String,
    /// Sorts what the search finds; `none` keeps the order of the search.
    #[arg(long, default_value = "ms-marco-MiniLM-L-6-v2")]
    reranker: String,
    /// Writes the answer.
    #[arg(long, default_value = "qwen2.5-coder-0.5b-instruct")]
    generator: String,
    /// Most tokens of a chunk, as the embedder counts them.
    #[arg(long, default_value_t = 200)]
    chunk_tokens: usize,
    /// Chunks that the search finds.
    #[arg(long, default_value_t = 20)]
    found: usize,
    /// Chunks that the answer is written from.
    #[arg(long, default_value_t = 3)]
    cited: usize,
}

/// A part of a file.
struct Chunk {
    path: PathBuf,
    /// The last heading before it.
    heading: String,
    text: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let embedder = Client::new(&arguments.embedder)?;
    let mut chunks = Vec::new();
    for path in markdown_files(&arguments.folder)? {
        chunks.extend(chunks_of(&path, &embedder, arguments.chunk_tokens)?);
    }
    eprintln!("{} chunks", chunks.len());

    let mut best = search(&embedder, &chunks, &arguments.question)?;
    best.truncate(arguments.found);
    if arguments.reranker != "none" {
        best = rerank(&arguments.reranker, &best, &arguments.question)?;
    }
    best.truncate(arguments.cited);

    let generator = Client::new(&arguments.generator)?;
    let mut answer = generator
        .chat(conversation(&best, &arguments.question))
        .temperature(0.0)
        .repetition_penalty(1.05)
        .max_new_tokens(150)
        .stream()?;
    for piece in &mut answer {
        print!("{}", piece?);
        io::stdout().flush()?;
    }
    println!("\n");
    for (index, chunk) in best.iter().enumerate() {
        println!("[{}] {} {}", index + 1, chunk.path.display(), chunk.heading);
    }
    Ok(())
}

fn markdown_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(markdown_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Paragraphs, as many together as there is room for, none of them across a heading.
fn chunks_of(path: &Path, embedder: &Client, most: usize) -> Result<Vec<Chunk>> {
    let text = fs::read_to_string(path)?;
    let mut chunks: Vec<Chunk> = Vec::new();
    let (mut heading, mut tokens, mut is_new) = (String::new(), 0, true);
    for paragraph in text.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        if paragraph.starts_with('#') {
            paragraph.lines().next().unwrap_or_default().clone_into(&mut heading);
            is_new = true;
        }
        let more = embedder.count_tokens(paragraph)?;
        if let Some(chunk) = chunks.last_mut().filter(|_| !is_new && tokens + more <= most) {
            chunk.text.push_str("\n\n");
            chunk.text.push_str(paragraph);
            tokens += more;
        } else {
            chunks.push(Chunk { path: path.into(), heading: heading.clone(), text: paragraph.into() });
            tokens = more;
        }
        is_new = false;
    }
    Ok(chunks)
}

/// The chunks, the nearest to the question first.
fn search<'a>(embedder: &Client, chunks: &'a [Chunk], question: &str) -> Result<Vec<&'a Chunk>> {
    let texts = chunks.iter().map(|chunk| chunk.text.as_str()).chain([question]);
    let vectors = embedder.embeddings(texts).generate()?.embeddings;
    let Some((asked, vectors)) = vectors.split_last() else { return Ok(Vec::new()) };
    let similarity = |vector: &[f32]| vector.iter().zip(&asked.embedding).map(|(a, b)| a * b).sum::<f32>();
    let mut scored: Vec<(f32, &Chunk)> =
        vectors.iter().map(|vector| similarity(&vector.embedding)).zip(chunks).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(scored.into_iter().map(|(_, chunk)| chunk).collect())
}

/// The chunks, those first that answer the question best.
fn rerank<'a>(model: &str, found: &[&'a Chunk], question: &str) -> Result<Vec<&'a Chunk>> {
    let texts = found.iter().map(|chunk| chunk.text.as_str());
    let ranking = Client::new(model)?.rerank(question, texts).generate()?;
    Ok(ranking.results.into_iter().map(|result| found[result.index]).collect())
}

fn conversation(sources: &[&Chunk], question: &str) -> [Message; 2] {
    let rules = "You answer questions about documentation from the sources that you are given, and from nothing else. You \
                 answer in full sentences and name the sources you use, such as [2].";
    let sources = sources.iter().enumerate().map(|(index, chunk)| format!("[{}]\n{}\n\n", index + 1, chunk.text));
    let sources = sources.collect::<Vec<_>>().concat();
    let ask = "Answer in one or two sentences, then give the number of the source.";
    [Message::system(rules), Message::user(format!("{sources}{question} {ask}"))]
}
