//! Vectors out: a form behind the trait [`Rows`], and the file or stream that it goes to.
//!
//! Invariants: nothing is created or replaced before the first vectors are there, so that a mistake in the command line
//! costs no file. A form that can be resumed is written in place; a JSON document has its name only once it is whole.

mod json;
mod jsonl;
mod npy;
mod row;
mod summary;
mod text;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process;

use gllm::{Embedding, Error, Truncated, Usage};

use crate::args::{EmbedArgs, Format, KindArgs};
use crate::console::stdout_failure;
use crate::exit::Failure;
use crate::resume::{self, Done};

/// A form of output.
trait Rows {
    /// Writes the vectors of a text; called in the order of the texts.
    fn row(&mut self, embedding: &Embedding) -> io::Result<()>;

    /// Hears that a text was cut.
    fn cut(&mut self, _truncated: Truncated) {}

    /// Hands on what is held back.
    fn flush(&mut self) -> io::Result<()>;

    /// Writes what follows the last row, and flushes.
    fn finish(&mut self, _summary: &Summary) -> io::Result<()> {
        self.flush()
    }
}

/// What a row of a run has in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Length of the embedding; 0 where the model has none.
    pub(crate) dimensions: usize,
    /// What is there beside it.
    pub(crate) kinds: KindArgs,
}

/// What is known at the end of a run.
#[derive(Debug)]
pub(crate) struct Summary {
    /// The model's name.
    pub(crate) model: String,
    /// Tokens of all texts.
    pub(crate) usage: Usage,
}

/// Where the vectors go.
pub(crate) struct Output {
    format: Format,
    /// Whether a text may have other vectors than its embedding.
    has_more: bool,
    /// `None` is standard output.
    path: Option<PathBuf>,
    /// Where a document grows until it is whole.
    staged: Option<Staged>,
    /// `None` until there is something to write.
    rows: Option<Box<dyn Rows>>,
}

impl Output {
    /// The output that the command line names. It isn't touched yet.
    pub(crate) fn new(args: &EmbedArgs) -> Result<Self, Failure> {
        let format = if args.json { Format::Json } else { args.format };
        let path = args.output.clone().filter(|path| path != Path::new("-"));
        let has_more = args.kinds.sparse || args.kinds.multi_vector;
        let output = Self { format, has_more, path, staged: None, rows: None };
        let problem = match &output.path {
            _ if format == Format::Npy && has_more => {
                Some("--format npy holds one vector a text: --sparse and --multi-vector go with --format json or jsonl")
            }
            None if format == Format::Npy => Some("--format npy needs --output FILE: its header is written last"),
            None if args.resume => Some("--resume needs --output FILE"),
            Some(_) if args.resume && format == Format::Text && has_more => {
                Some("--resume with --sparse or --multi-vector goes with --format jsonl: text only sums them up")
            }
            Some(_) if args.resume && !output.is_resumable() => {
                Some("--resume goes with --format jsonl, npy or text: a JSON document can't be continued")
            }
            Some(path) if args.input.as_deref().is_some_and(|input| is_same_file(input, path)) => {
                Some("--input and --output are the same file")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(Failure::Usage(problem.to_owned()));
        }
        output.check_folder().map_err(|error| output.failure(&error))?;
        Ok(output)
    }

    /// Finds out early that there is no place for the file.
    fn check_folder(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => fs::metadata(parent).map(drop),
            None => Ok(()),
        }
    }

    /// Whether a later run can go on with what this one writes.
    pub(crate) fn is_resumable(&self) -> bool {
        let in_rows = match self.format {
            Format::Json => false,
            Format::Jsonl | Format::Npy => true,
            Format::Text => !self.has_more,
        };
        self.path.is_some() && in_rows
    }

    /// Keeps the complete rows of an earlier run, and says how many they are.
    pub(crate) fn resume(&mut self, form: Form) -> Result<usize, Failure> {
        let Some(path) = self.path.as_ref().filter(|path| path.exists()) else { return Ok(0) };
        if !path.is_file() {
            return Err(Failure::Usage(format!("--resume needs a file, and `{}` is none", path.display())));
        }
        let done = match self.format {
            Format::Json => Done::default(),
            Format::Jsonl => resume::scan_lines(path, |row, line| jsonl::is_row(row, line, form))?,
            Format::Npy => npy::scan(path, form.dimensions)?,
            Format::Text => resume::scan_lines(path, |_, line| text::is_row(line, form.dimensions))?,
        };
        if done.rows > 0 {
            let file = reopen(path, done.bytes).map_err(|error| self.failure(&error))?;
            self.rows = Some(match self.format {
                Format::Npy => Box::new(npy::Npy::resume(file, done.rows, form.dimensions)),
                _ => self.lines(file),
            });
        }
        Ok(done.rows)
    }

    /// Writes the vectors of a text; called in the order of the texts.
    pub(crate) fn row(&mut self, embedding: &Embedding) -> Result<(), Failure> {
        if self.rows.is_none() {
            self.rows = Some(self.create(embedding.embedding.len()).map_err(|error| self.failure(&error))?);
        }
        self.write(|rows| rows.row(embedding))
    }

    /// Hears that a text was cut.
    pub(crate) fn cut(&mut self, truncated: Truncated) {
        if let Some(rows) = &mut self.rows {
            rows.cut(truncated);
        }
    }

    /// Hands on what is held back, so that readers see it and a later run can go on from here.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.write(|rows| rows.flush())
    }

    /// Ends the output.
    pub(crate) fn finish(mut self, summary: &Summary) -> Result<(), Failure> {
        self.write(|rows| rows.finish(summary))?;
        // Closed before it is renamed: some systems want that.
        self.rows = None;
        if let Some(staged) = &self.staged {
            fs::rename(&staged.from, &staged.to).map_err(|error| self.failure(&error))?;
        }
        self.staged = None;
        Ok(())
    }

    fn write(&mut self, action: impl FnOnce(&mut dyn Rows) -> io::Result<()>) -> Result<(), Failure> {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        action(rows.as_mut()).map_err(|error| self.failure(&error))
    }

    fn create(&mut self, dimensions: usize) -> io::Result<Box<dyn Rows>> {
        let Some(path) = &self.path else { return Ok(self.lines(io::stdout())) };
        match self.format {
            Format::Npy => Ok(Box::new(npy::Npy::create(File::create(path)?, dimensions)?)),
            // A device or a pipe can't be replaced.
            Format::Json if path.is_file() || !path.exists() => {
                let staged = self.staged.insert(Staged::beside(path)?);
                let file = File::create(&staged.from)?;
                Ok(self.lines(file))
            }
            _ => Ok(self.lines(File::create(path)?)),
        }
    }

    /// The forms that are written from the front to the back.
    fn lines(&self, sink: impl Write + 'static) -> Box<dyn Rows> {
        let sink = BufWriter::new(sink);
        match self.format {
            Format::Json => Box::new(json::Json::new(sink)),
            Format::Jsonl => Box::new(jsonl::Jsonl(sink)),
            Format::Text | Format::Npy if self.has_more => Box::new(summary::SummaryLines(sink)),
            Format::Text | Format::Npy => Box::new(text::Text(sink)),
        }
    }

    fn failure(&self, error: &io::Error) -> Failure {
        match &self.path {
            None => stdout_failure(error),
            Some(path) => Error::io("cannot write", path, error).into(),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(staged) = self.staged.take() {
            // If it can't be deleted, a hidden file stays; there is nobody left to tell.
            let _ = fs::remove_file(staged.from);
        }
    }
}

/// A file that gets its name when it is whole.
struct Staged {
    from: PathBuf,
    to: PathBuf,
}

impl Staged {
    /// A hidden file beside `path`, or beside what it links to.
    fn beside(path: &Path) -> io::Result<Self> {
        let to = if path.exists() { path.canonicalize()? } else { path.to_owned() };
        let name = to.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let from = to.with_file_name(format!(".{name}.{}.partial", process::id()));
        Ok(Self { from, to })
    }
}

/// The file, cut to this many bytes, ready to be continued.
fn reopen(path: &Path, bytes: u64) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.set_len(bytes)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b && a.is_file())
}
